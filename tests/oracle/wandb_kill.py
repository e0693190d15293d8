# SPDX-License-Identifier: Apache-2.0
# test-timeout: 120
"""A program that logs to W&B is killed at random moments, in both modes of the journal, offline and
online; its log is synced by the stock client and by ours. Nothing may be missing beyond what the
mode promises, and the run ends as failed. TEST_KILLS=100 for more than a handful, TEST_SEED for
the same again."""
import mmap
import os
import random
import struct
import subprocess
import sys
import tempfile
import time

import _wandb_client as client
from _wandb_server import Server

PROGRAM = os.path.join(client.BUILD, "bin", "program-track_rows")
KILLS = int(os.environ.get("TEST_KILLS", 3))  # in each mode
# What "async" promises is 100 ms; a test does not judge times, and allows ten times as much.
WINDOW_US = 1_000_000


def kill_once(folder, journal, pause, rng, server):
    """(rows that had been logged, when the last one was)"""
    shared = os.path.join(folder, "progress")
    with open(shared, "wb") as file:
        file.write(bytes(16))
    child = subprocess.Popen(
        [PROGRAM, folder, journal, shared, str(10 ** 9), str(pause)], cwd=folder,
        env=client.environment(folder, server, TRACKER="wandb",
                               WANDB__FILE_STREAM_TRANSMIT_INTERVAL="1"), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with open(shared, "r+b") as file, mmap.mmap(file.fileno(), 16) as memory:
        limit = time.monotonic() + 30
        while struct.unpack("qq", memory[:])[0] == 0:
            if child.poll() is not None or time.monotonic() > limit:
                child.kill()
                sys.exit(f"nothing was logged\n{child.communicate()[1]}")
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 2.5 if server else 0.5))  # online some has been sent then
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
        last = rows[-1]["_timestamp"] * 1e6 if rows else logged_us
        if logged_us - last > WINDOW_US:
            found.append(f"the log ends {logged_us - last:.0f} us before the kill")
    return found


class Killed:
    """A run that was."""

    def __init__(self, base, mode, journal, rng, server):
        self.folder = tempfile.mkdtemp(dir=base)
        self.name = f"{mode}, journal {journal}"
        self.journal = journal
        self.result = kill_once(self.folder, journal, rng.choice((100, 1000, 3000)), rng, server)
        (self.log,) = client.logs(self.folder)
        self.id = os.path.basename(self.log)[4:-6]

    def problems(self, by, runs):
        found = problems_of(runs[self.id], self.journal, *self.result)
        print(f"{self.name}, {by}: {self.result[0]} logged, {len(runs[self.id]['history'])} there")
        return [f"{self.name}, synced by {by}: {problem}" for problem in found]


def sync(command, base, server, killed):
    """The runs on the server after a sync, by their ids."""
    client.run([*command, *[os.path.dirname(one.log) for one in killed]], base,
               client.environment(base, server))
    for one in killed:
        os.remove(one.log + ".synced")
    return {run["path"].rpartition("/")[2]: run for run in server.state()["runs"]}


def main():
    if not os.path.exists(os.path.join(client.BUILD, "lib", "accel", "libaccel-tracker-wandb.so")):
        print("skipped: the plugin was not built")
        return 77
    seed = int(os.environ.get("TEST_SEED", random.randrange(2 ** 32)))
    print(f"TEST_SEED={seed}")
    rng, problems = random.Random(seed), []
    with tempfile.TemporaryDirectory() as base, Server() as online:
        offline_runs = [Killed(base, "offline", journal, rng, None)
                        for journal in ("sync", "async") for _ in range(KILLS)]
        online_runs = [Killed(base, "online", journal, rng, online)
                       for journal in ("sync", "async") for _ in range(KILLS)]
        for by, command in client.syncs().items():
            with Server() as server:
                runs = sync(command, base, server, offline_runs)
                problems += server.problems
            problems += sum((one.problems(by, runs) for one in offline_runs), [])
        # stock's would send what had arrived again
        runs = sync([*client.syncs()["ours"], "--include-online"], base, online, online_runs)
        problems += online.problems
        problems += sum((one.problems("ours", runs) for one in online_runs), [])
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
