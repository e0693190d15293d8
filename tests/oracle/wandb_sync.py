# SPDX-License-Identifier: Apache-2.0
# test-timeout: 240
"""Offline runs of the stock client and of ours, each synced by the stock client and by ours: what
the server knows then must be the same four times."""
import os
import sys
import tempfile

import _wandb_client as client
import _wandb_state as state
from _wandb_server import Server

SCENARIOS = ["scalars", "nested_config", "config_types", "steps", "values", "define_metric",
             "summary", "exit_code", "identity", "images", "histogram", "table", "html", "audio",
             "artifact", "dedup", "saved_files", "console", "wide", "large"]
NAMES = [*SCENARIOS, "segments"]


def play(command, base, side):
    """All scenarios offline, each in a folder of its own: the folders."""
    folder = os.path.join(base, side)
    os.mkdir(folder)
    client.run([*command, *NAMES], folder, client.environment(folder))
    return [os.path.join(folder, name) for name in NAMES]


def sync(command, base, folders):
    """The masked state of a server that all the runs were synced to."""
    logs = [path for folder in folders for path in client.logs(folder)]
    with Server() as server:
        words = client.run([*command, *map(os.path.dirname, logs)], base,
                           client.environment(base, server), timeout=200)
        found = state.compared(server)
    for log in logs:
        if os.path.exists(log + ".synced"):
            os.remove(log + ".synced")
        else:
            found["problems"].append(f"{log} is not marked as synced: {words}")
    return found


def main():
    players, syncs = client.players(), client.syncs()
    problems, first = [], None
    with tempfile.TemporaryDirectory() as base:
        for side in players:
            folders = play(players[side], base, side)
            for by in syncs:
                found = sync(syncs[by], base, folders)
                problems += [f"{side}'s runs, synced by {by}: {problem}"
                             for problem in found["problems"]]
                first = first or found
                problems += [f"synced by {by}: {line}" for line in
                             state.differences(first, found, names=("stock", side))]
    if len(first["runs"]) != len(NAMES):
        problems.append(f"{len(first['runs'])} runs arrived, not {len(NAMES)}")
    print("\n".join(problems) or f"{len(NAMES)} runs of {', '.join(players)} synced by "
          f"{', '.join(syncs)}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
