# SPDX-License-Identifier: Apache-2.0
# test-timeout: 120
"""A program that logs to W&B is killed at random moments, in both modes of the journal; its log is
synced by the stock client. Nothing may be missing beyond what the mode promises, and the run
ends as failed. TEST_KILLS=100 for more than a handful, TEST_SEED for the same again."""
import mmap
import os
import random
import struct
import subprocess
import sys
import tempfile
import time

import _wandb_client as client
import _wandb_log as log
from _wandb_server import Server

PROGRAM = os.path.join(client.BUILD, "bin", "program-track_rows")
KILLS = int(os.environ.get("TEST_KILLS", 3))  # in each mode
# What "async" promises is 100 ms; a test does not judge times, and allows ten times as much.
WINDOW_US = 1_000_000


def kill_once(folder, journal, pause, rng):
    """(rows that had been logged, when the last one was)"""
    shared = os.path.join(folder, "progress")
    with open(shared, "wb") as file:
        file.write(bytes(16))
    child = subprocess.Popen(
        [PROGRAM, folder, journal, shared, str(10 ** 9), str(pause)], cwd=folder,
        env=client.environment(folder, TRACKER="wandb"), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with open(shared, "r+b") as file, mmap.mmap(file.fileno(), 16) as memory:
        limit = time.monotonic() + 30
        while struct.unpack("qq", memory[:])[0] == 0:
            if child.poll() is not None or time.monotonic() > limit:
                child.kill()
                sys.exit(f"nothing was logged\n{child.communicate()[1]}")
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.5))
        child.kill()
        child.communicate()
        return struct.unpack("qq", memory[:])


def problems_of(run, journal, logged, logged_us):
    """What is wrong with the run as the server has it."""
    found = []
    rows = run["history"]
    if [row["_step"] for row in rows] != list(range(len(rows))):
        found.append("steps are missing or doubled")
    if any(row["loss"] != 1 / (row["_step"] + 1) or row["text"] != "some text" for row in rows):
        found.append("values are others")
    if run["state"] != "failed":
        found.append(f"its state is {run['state']}")
    if journal == "sync" and len(rows) < logged - 1:  # the last row was open
        found.append(f"{logged} rows were logged, {len(rows)} are there")
    if journal == "async" and len(rows) < logged - 1:
        last = rows[-1]["_timestamp"] * 1e6 if rows else 0
        if logged_us - last > WINDOW_US:
            found.append(f"the log ends {logged_us - last:.0f} us before the kill")
    return found


def main():
    if not os.path.exists(os.path.join(client.BUILD, "lib", "accel", "libaccel-tracker-wandb.so")):
        print("skipped: the plugin was not built")
        return 77
    seed = int(os.environ.get("TEST_SEED", random.randrange(2 ** 32)))
    print(f"TEST_SEED={seed}")
    rng, killed = random.Random(seed), {}
    with tempfile.TemporaryDirectory() as base, Server() as server:
        for journal in ("sync", "async"):
            for index in range(KILLS):
                folder = os.path.join(base, f"{journal}{index}")
                os.mkdir(folder)
                result = kill_once(folder, journal, rng.choice((100, 1000, 3000)), rng)
                path = log.find_log(folder)
                killed[os.path.basename(path)[4:-6]] = (path, journal, *result)
        client.run([client.WANDB, "sync", *[os.path.dirname(path) for path, *_ in killed.values()]],
                   base, client.environment(base, server))
        runs = {run["path"].rpartition("/")[2]: run for run in server.state()["runs"]}
        problems = [f"the server: {problem}" for problem in server.problems]
    for name, (path, journal, logged, logged_us) in killed.items():
        print(f"{journal}: {logged} logged, {len(runs[name]['history'])} arrived")
        problems += [f"{path}: {problem}"
                     for problem in problems_of(runs[name], journal, logged, logged_us)]
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
