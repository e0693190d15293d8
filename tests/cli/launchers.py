# SPDX-License-Identifier: Apache-2.0
# test-timeout: 180
"""One binary under every launcher: alone, accel launch, Open MPI, MPICH, and the variables
that Slurm and a hand-written script set."""
import os
import shutil
import subprocess
import sys

from _jobs import BUILD, REPORT, environment, expect_world

OPEN_MPI = ["mpirun.openmpi", "--oversubscribe", "--allow-run-as-root"]


def by_hand(size, variables):
    """Start the ranks as a script would: rank r with variables(r). Their output, and codes."""
    ranks = [subprocess.Popen([REPORT], env=environment(**variables(r)), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True) for r in range(size)]
    outputs = [rank.communicate(timeout=60)[0] for rank in ranks]
    return outputs, [rank.returncode for rank in ranks]


def slurm(rank):
    return {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "3",
            "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank), "SLURM_NODEID": "0",
            "SLURM_STEP_TASKS_PER_NODE": "3"}


def plain(rank):
    return {"RANK": str(rank), "WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(20000 + os.getpid() % 10000)}


def two_jobs_at_once():
    """Two mpiruns at the same time do not meet each other's ranks."""
    jobs = [subprocess.Popen([*OPEN_MPI, "-n", "2", REPORT], env=environment(),
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)]
    for job in jobs:
        output, errors = job.communicate(timeout=60)
        assert job.returncode == 0 and output.count('"size": 2') == 2, output + errors


def main():
    expect_world([REPORT], 1)
    for size in (1, 3):
        expect_world([f"{BUILD}/bin/accel", "launch", "-n", str(size), REPORT], size)
        if shutil.which("mpirun.openmpi"):
            expect_world([*OPEN_MPI, "-n", str(size), REPORT], size)
        if shutil.which("mpirun.mpich"):
            expect_world(["mpirun.mpich", "-n", str(size), REPORT], size)
    if shutil.which("mpirun.openmpi"):
        two_jobs_at_once()
        # The innermost launcher wins.
        expect_world([*OPEN_MPI, "-n", "1", f"{BUILD}/bin/accel", "launch", "-n", "2", REPORT], 2)
    for variables in (slurm, plain):
        outputs, codes = by_hand(3, variables)
        assert codes == [0, 0, 0] and all('"sum": 6' in text for text in outputs), outputs
    # A bare sbatch script is one process: no step, no world.
    expect_world([REPORT], 1, environment(SLURM_JOB_ID="1", SLURM_NTASKS="8", SLURM_PROCID="0"))
    # Two ranks are told of different worlds: both say so, in one line, and nobody hangs.
    outputs, codes = by_hand(2, lambda r: {**plain(r), "WORLD_SIZE": "23"[r]})
    assert codes == [1, 1] and all("was told of 3 processes, rank 0 of 2" in text and
                                   text.count("\n") == 1 for text in outputs), outputs
    missing = [name for name in ("mpirun.openmpi", "mpirun.mpich") if not shutil.which(name)]
    if missing:
        print(f"not there: {', '.join(missing)}")
        if os.environ.get("CI") == "true":
            sys.exit(1)
    print("ok")


if __name__ == "__main__":
    main()
