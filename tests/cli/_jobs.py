# SPDX-License-Identifier: Apache-2.0
"""Runs the program that reports who it is under a launcher, and checks what it says."""
import json
import os
import re
import subprocess

BUILD = os.environ["ACCEL_BUILD_DIR"]
REPORT = f"{BUILD}/bin/program-job_report"

# What a launcher of the surroundings may have left behind would be taken for ours.
FOREIGN = re.compile(r"^(RANK|WORLD_SIZE|LOCAL_RANK|LOCAL_WORLD_SIZE|MASTER_|ACCEL_JOB_ID|TORCHELASTIC_"
                     r"|OMPI_|PMIX_|PMI_|SLURM_)")


def environment(**more):
    clean = {k: v for k, v in os.environ.items() if not FOREIGN.match(k)}
    return {**clean, **more}


def reports(command, env=None):
    """The JSON lines of all ranks, in rank order."""
    run = subprocess.run(command, env=env or environment(), capture_output=True, text=True,
                         stdin=subprocess.DEVNULL, timeout=100)
    assert run.returncode == 0, f"{command}: exit {run.returncode}\n{run.stdout}{run.stderr}"
    found = [json.loads(line) for line in re.findall(r"\{.*\}", run.stdout)]
    return sorted(found, key=lambda report: report["rank"])


def expect_world(command, size, env=None):
    expected = [{"rank": r, "size": size, "local_rank": r, "sum": size * (size + 1) // 2}
                for r in range(size)]
    found = reports(command, env)
    assert found == expected, f"{command}: {found}"
