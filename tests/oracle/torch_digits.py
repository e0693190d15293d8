# SPDX-License-Identifier: Apache-2.0
"""test-timeout: 180
The examples on scikit-learn's handwritten digits: the loop of libtorch alone, and the same with the
four lines on one and on two processes, learn them, and the tracker has the accuracy."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SOURCE, BUILD = pathlib.Path(os.environ["ACCEL_SOURCE_DIR"]), pathlib.Path(os.environ["ACCEL_BUILD_DIR"])
WANTED = 0.97
SKIPPED = 77


def run(*command, cwd):
    output = subprocess.run(command, cwd=cwd, check=True, text=True, stdout=subprocess.PIPE, timeout=150).stdout
    found = [float(number) for number in re.findall(r"epoch \d+: accuracy ([\d.]+)", output)]
    assert len(found) == 16, output
    print(" ".join(map(str, command)), found[-1])
    assert found[-1] >= WANTED, found
    return found


def logged(folder):
    """What the tracker wrote, on one process only."""
    rows = [json.loads(line) for path in folder.rglob("*.jsonl") for line in path.read_text().splitlines()]
    return [row["accuracy"] for row in rows if "accuracy" in row]


def main():
    programs = [BUILD / "examples" / f"torch-{name}" for name in ("digits_plain", "digits")]
    if not all(program.exists() for program in programs):
        print("skipped: no libtorch in this build")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory(prefix="accel-digits-") as name:
        folder = pathlib.Path(name)
        subprocess.run([sys.executable, SOURCE / "examples/torch/digits.py", "digits.bin"], cwd=folder, check=True)
        assert (folder / "digits.bin").stat().st_size == 1797 * 65
        run(programs[0], cwd=folder)
        for ranks in ("1", "2"):
            own = folder / ranks
            own.mkdir()
            found = run(BUILD / "bin/accel", "launch", "-n", ranks, programs[1], folder / "digits.bin", cwd=own)
            written = logged(own)
            assert len(written) == 16 and abs(written[-1] - found[-1]) < 1e-4, (written, found)


if __name__ == "__main__":
    main()
