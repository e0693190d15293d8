# SPDX-License-Identifier: Apache-2.0
"""The schedule of a profile is torch.profiler's; the traces are Chrome's."""
import json
import os
import pathlib
import random
import re
import subprocess
import tempfile

import torch

BUILD = os.environ["ACCEL_BUILD_DIR"]
PROGRAM = f"{BUILD}/bin/program-profile"


def run(folder, *numbers, ranks=1):
    command = [f"{BUILD}/bin/accel", "launch", "-n", str(ranks), PROGRAM]
    done = subprocess.run([*command, *map(str, numbers), str(folder)], check=True,
                          capture_output=True, text=True, timeout=60)
    return re.sub(r"^\[ *\d+\] ", "", done.stdout, flags=re.M)


def torch_count(steps, skip_first, wait, warmup, active, repeat):
    """How often torch's profiler is ready with a trace, in a loop that does nothing else."""
    ready = []
    schedule = active and torch.profiler.schedule(
        skip_first=skip_first, wait=wait, warmup=warmup, active=active, repeat=repeat) or None
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU],
                                schedule=schedule, on_trace_ready=ready.append) as profile:
        for _ in range(steps):
            profile.step()
    return len(ready)


def check_schedule(folder):
    rng = random.Random(7)
    cases = [(5, 0, 0, 0, 0, 0), (10, 0, 1, 1, 1, 0), (11, 0, 1, 1, 1, 0), (12, 2, 1, 0, 3, 2)]
    cases += [(rng.randrange(1, 14), rng.randrange(3), rng.randrange(3), rng.randrange(3),
               rng.randrange(1, 4), rng.randrange(3)) for _ in range(12)]
    for case in cases:
        found = int(re.search(r"^ready (\d+)", run(folder, *case), re.M)[1])
        assert found == torch_count(*case), (case, found, torch_count(*case))


def check_traces(folder):
    """Two ranks, of which the last is slow: the first is seen to wait."""
    table = run(folder, 6, 0, 0, 0, 0, 0, ranks=2)
    waited = []
    for rank in range(2):
        trace = json.loads((folder / f"profile_{rank}.json").read_text())
        events = [event for event in trace["traceEvents"] if event["ph"] == "X"]
        names = [event["name"] for event in events]
        assert {event["pid"] for event in events} == {rank}
        for name in ("forward", "backward", "clip_grad_norm", "optimizer_step", "log",
                     "ProfilerStep"):
            assert names.count(name) == 6, (rank, name, names.count(name))
            assert re.search(rf"^{name} +6 ", table, re.M), table
        assert all(event["dur"] >= 0 for event in events)
        steps = [event for event in events if event["name"] == "ProfilerStep"]
        inside = [event for event in events if event["name"] != "ProfilerStep"]
        for event in inside:  # everything lies in a step, to the rounding of the text
            assert any(step["ts"] - 0.002 <= event["ts"] and event["ts"] + event["dur"] <=
                       step["ts"] + step["dur"] + 0.002 for step in steps), event
        waited.append(sum(event["dur"] for event in events if event["name"] == "wait"))
    assert waited[0] > 6 * 1000, f"rank 0 waits for the slow one: {waited} microseconds"


with tempfile.TemporaryDirectory() as name:
    check_schedule(pathlib.Path(name))
    check_traces(pathlib.Path(name) / "two")
