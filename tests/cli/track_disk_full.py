# SPDX-License-Identifier: Apache-2.0
"""A disk that fills up: one clear line, the program ends by itself with the error, and what was
written is readable. The full disk is a limit on the size of files."""
import json, os, pathlib, subprocess, tempfile

PROGRAM = pathlib.Path(os.environ["ACCEL_BUILD_DIR"]) / "bin" / "program-track_rows"
LIMIT = 20_000
ROWS = 1000


def run(journal):
    with tempfile.TemporaryDirectory() as directory:
        shared = pathlib.Path(directory) / "progress"
        shared.write_bytes(bytes(16))
        done = subprocess.run([PROGRAM, directory, journal, shared, str(ROWS), "0", str(LIMIT)],
                              capture_output=True, text=True, timeout=60)
        logged = int.from_bytes(shared.read_bytes()[:8], "little")
        (folder,) = pathlib.Path(directory).glob("rows/run-*")
        history = (folder / "history.jsonl").read_text()
        assert json.loads((folder / "config.json").read_text()) == {"rows": ROWS}
    assert done.returncode == 1, done
    assert len(history) == LIMIT, len(history)
    rows = [json.loads(line) for line in history.split("\n")[:-1]]
    assert [row["_step"] for row in rows] == list(range(len(rows)))
    assert len(rows) > 50, len(rows)
    return logged, len(rows), done.stderr.splitlines()


# async: training goes on, the error comes once at once and as the result of accel_end_training
logged, written, lines = run("async")
assert logged == ROWS, logged
said = [line for line in lines if line.startswith("accel: ")]
assert len(said) == 1, lines
assert "tracker 'jsonl'" in said[0] and "history.jsonl: cannot write: File too large" in said[0], said
assert "accel_end_training" in lines[-1] and "File too large" in lines[-1], lines

# sync: the call whose row is not in the file says so
logged, written, lines = run("sync")
assert logged == written, (logged, written)
assert "accel_log" in lines[0] and "File too large" in lines[0], lines
