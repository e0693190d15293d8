# SPDX-License-Identifier: Apache-2.0
# test-timeout: 300
"""The same scenarios by the stock client and by ours, each against a server of its own that
fails now and then in the same way; what the server knows at the end must be equal."""
import os
import signal
import subprocess
import sys
import tempfile
import time

import _wandb_client as client
import _wandb_state as state
from _wandb_runs import HISTORY
from _wandb_server import Server


def fault(endpoint, **what):
    return {"endpoint": endpoint, **what}


SCENARIOS = {
    "scalars": [],
    "accelerated": [],
    "nested_config": [fault("graphql", operation="UpsertBucket", times=2, status=409)],
    "config_types": [fault("graphql", operation="UpsertBucket", times=3, status=500)],
    "steps": [fault("file_stream", times=5, status=500)],
    "values": [fault("file_stream", times=2, cut="after")],
    "define_metric": [fault("file_stream", times=1, status=429, headers={"Retry-After": "1"})],
    "summary": [fault("any", times=6, delay=0.5)],
    "exit_code": [fault("file_stream", times=2, cut="request")],
    "identity": [fault("graphql", operation="UpsertBucket", times=1, cut="after", skip=1)],
    "resume_allow": [fault("file_stream", times=1, cut="answer")],
    "resume_must": [fault("graphql", operation="RunResumeStatus", times=1, status=503)],
    "resume_never": [],
    "resume_auto": [],
    "images": [fault("put", times=2, status=503)],
    "histogram": [fault("file_stream", times=2, cut="before")],
    "table": [fault("graphql", operation="CreateRunFiles", times=2, status=500)],
    "html": [fault("put", times=2, cut="after")],
    "audio": [fault("put", times=1, cut="request")],
    "artifact": [fault("graphql", operation="CreateArtifactFiles", times=2, status=502)],
    "dedup": [fault("graphql", operation="CommitArtifact", times=1, cut="after")],
    "use": [fault("graphql", operation="CreateArtifactManifest", times=1, status=429,
                  headers={"Retry-After": "0.2"})],
    "saved_files": [fault("graphql", operation="CreateRunFiles", times=2, cut="before")],
    "console": [fault("file_stream", times=1, drip=200)],
    "wide": [fault("file_stream", times=3, status=504)],
    "large": [fault("file_stream", times=1, cut="request")],
    "many": [fault("file_stream", times=2, status=429, headers={"Retry-After": "0.5"})],
}


def play_killed(command, folder, environment, arrived):
    """The first process is killed when its rows have arrived; the second runs to its end."""
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 100
    while time.monotonic() < limit and process.poll() is None and not arrived():
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return client.run(command, folder, environment)


def rows(server):
    return sum(run.count(HISTORY) for run in server.runs.all.values())


def play(name, command, base, side):
    """The masked state after a scenario, with its outcome."""
    folder = os.path.join(base, side, name)
    os.makedirs(folder)
    with Server() as server:
        for order in SCENARIOS[name]:
            server.inject(**order)
        environment = client.environment(folder, server)
        if name == "resume_auto":
            environment["WANDB__FILE_STREAM_TRANSMIT_INTERVAL"] = "1"
            play_killed([*command, name], folder, environment, lambda: rows(server) == 5)
        else:
            client.run([*command, name], folder, environment)
        found = state.compared(server)
        found["unmet"] = [vars(left) for left in server.faults.ordered]
    found["outcome"] = client.outcome(folder)
    return found


def check(name, found):
    problems = []
    for side, result in found.items():
        problems += [f"{name}: {side}: {line}" for line in result["problems"]]
        problems += [f"{name}: {side}: a fault was not met: {fault}" for fault in result["unmet"]]
    if not any(run["history"] for run in found["stock"]["runs"].values()):
        problems.append(f"{name}: stock logged nothing")
    if "ours" in found:
        problems += [f"{name}: {line}" for line in
                     state.differences(found["stock"], found["ours"])]
    return problems


def main(names):
    players = client.players()
    with tempfile.TemporaryDirectory() as base:
        jobs = [(name, side) for name in names for side in players]
        results = client.in_parallel([
            lambda name=name, side=side: play(name, players[side], base, side)
            for name, side in jobs])
    found = dict(zip(jobs, results))
    problems = []
    for name in names:
        problems += check(name, {side: found[name, side] for side in players})
    print("\n".join(problems) or f"{len(names)} scenarios, {' and '.join(players)}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(SCENARIOS)))
