# SPDX-License-Identifier: Apache-2.0
# test-timeout: 180
"""The same binary under the stock torchrun, twice at once, and under stock accelerate launch."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["ACCEL_SOURCE_DIR"], "tests", "cli"))
from _jobs import REPORT, environment, expect_world  # noqa: E402


def torchrun(size, port):
    return [sys.executable, "-m", "torch.distributed.run", "--no-python", f"--nproc_per_node={size}",
            f"--master_port={port}", REPORT]


def main():
    port = 20000 + os.getpid() % 20000
    expect_world(torchrun(3, port), 3)
    jobs = [subprocess.Popen(torchrun(2, port + 1 + k), env=environment(), text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE) for k in range(2)]
    for job in jobs:
        output, errors = job.communicate(timeout=100)
        assert job.returncode == 0 and output.count('"size": 2') == 2, output + errors
    expect_world([sys.executable, "-m", "accelerate.commands.launch", "--no_python", "--cpu",
                  "--num_processes", "1", REPORT], 1)
    print("ok")


if __name__ == "__main__":
    main()
