# SPDX-License-Identifier: Apache-2.0
"""The custom tracker of examples/ writes what it was given."""
import csv, os, pathlib, subprocess, tempfile

PROGRAM = pathlib.Path(os.environ["ACCEL_BUILD_DIR"]) / "examples" / "custom_tracker"

with tempfile.TemporaryDirectory() as directory:
    subprocess.run([PROGRAM, directory], check=True, timeout=60)
    with open(pathlib.Path(directory) / "losses.rank0.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 100, len(rows)
    for step, row in enumerate(rows):
        assert row[1:3] == [str(step), "loss"] and abs(float(row[3]) * (1 + step) - 1) < 1e-8, row

    missing = subprocess.run([PROGRAM, directory + "/missing"], capture_output=True, text=True,
                             timeout=60)
    assert missing.returncode == 1, missing
    (line,) = missing.stderr.splitlines()
    assert "tracker 'csv': cannot create " in line and "No such file" in line, line
