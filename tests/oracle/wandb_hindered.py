# SPDX-License-Identifier: Apache-2.0
# test-timeout: 240
"""A W&B server that is silent, fails, refuses or answers a byte a second is never in the way: all
rows are logged, memory stays flat, the run ends within its limit, and a later sync completes it
with nothing missing or doubled. No speed is judged here: `make bench` does. TEST_ALL=1 for more."""
import os
import sys
import tempfile
import time

import _wandb_client as client
from _wandb_server import Server

ROWS, BYTES = 10_000, 6000
PROGRAM = [os.path.join(client.BUILD, "bin", "program-wandb_pressure"), str(ROWS), str(BYTES)]
LIMITS = {"WANDB_INIT_TIMEOUT": "2", "WANDB_FINISH_TIMEOUT": "2"}
# 57 MiB are logged. On their way at a time are at most 10 MiB, and a few copies of them.
GROWTH_MIB = 32
GUARD = 90  # seconds for a program that should take a few

# name: what the server does, from the start or once the run is known
HINDRANCES = {
    "silent from the start": (True, lambda server: server.inject("any", times=None, silent=True)),
    "silent later": (False, lambda server: server.inject("any", times=None, silent=True)),
    "failing from the start": (True, lambda server: server.inject("any", times=None, status=500)),
    "failing later": (False, lambda server: server.inject("any", times=None, status=503)),
    "refusing from the start": (True, lambda server: server.refuse()),
    "a byte a second": (False, lambda server: server.inject("any", times=None, drip=1)),
    "cutting": (False, lambda server: server.inject("any", times=None, cut="before")),
    "forbidding": (False, lambda server: server.inject("file_stream", times=None, status=403)),
    "obeying without a word": (False, lambda server: server.inject(
        "any", times=None, silent=True, apply=True)),
    "not hindering": (True, lambda server: None),
}


if not os.environ.get("TEST_ALL"):
    for much_like_another in ("silent from the start", "failing from the start", "not hindering"):
        del HINDRANCES[much_like_another]


def once_known(server, hinder):
    """Orders the fault for what comes after the run's UpsertBucket has been answered."""
    def answered():
        return any(request.operation == "UpsertBucket" for request in server.requests)

    limit = time.monotonic() + GUARD
    while not answered() and time.monotonic() < limit:
        time.sleep(0.01)
    hinder(server)


def play(name, base):
    """Problems of one run under a hindrance."""
    at_once, hinder = HINDRANCES[name]
    folder = os.path.join(base, name.replace(" ", "_"))
    os.mkdir(folder)
    with Server() as server:
        environment = client.environment(folder, server, **LIMITS)
        if at_once:
            hinder(server)
            words = client.run(PROGRAM, folder, environment, timeout=GUARD)
        else:
            job = client.in_background(lambda: client.run(PROGRAM, folder, environment, GUARD))
            once_known(server, hinder)
            words = job.result()
        server.faults.clear()
        if "refusing" in name:
            server.accept()
        print(f"{name}: KiB resident {words.splitlines()[-1]}")
        problems = memory_problems(words)
        # stock's sync would not do: it sends all rows again, after those that had arrived
        client.run([*client.syncs()["ours"], "--include-online", *client.folders(folder)], folder,
                   client.environment(folder, server), timeout=GUARD)
        problems += state_problems(server)
    return [f"{name}: {problem}" for problem in problems]


def memory_problems(words):
    if os.environ.get("ACCEL_SANITIZE"):
        return []
    early, *later = map(int, words.splitlines()[-1].split())
    grown = (max(later) - early) // 1024
    return [f"memory grew by {grown} MiB"] if grown > GROWTH_MIB else []


def state_problems(server):
    run, found = server.state()["runs"][0], list(server.problems)
    if [row["i"] for row in run["history"]] != list(range(ROWS)):
        found.append(f"{len(run['history'])} rows arrived, of {ROWS}")
    if (run["state"], run["exitcode"]) != ("finished", 0):
        found.append(f"its state is {run['state']}, {run['exitcode']}")
    if run["summary"].get("i") != ROWS - 1:
        found.append(f"the summary ends at {run['summary'].get('i')}")
    return found


def main(names):
    if not os.path.exists(PROGRAM[0]):
        print("skipped: the plugin was not built")
        return 77
    with tempfile.TemporaryDirectory() as base:
        problems = sum(client.in_parallel([lambda name=name: play(name, base)
                                           for name in names]), [])
    print("\n".join(problems) or f"{len(names)} hindrances")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(HINDRANCES)))
