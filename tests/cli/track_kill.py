# SPDX-License-Identifier: Apache-2.0
# test-timeout: 120
"""A program that logs rows is killed at random moments. With journal "sync" no row is missing
whose accel_log() had returned; with "async" at most those of the last moments. What is in the
file are whole lines, but perhaps the last."""
import json, mmap, os, pathlib, random, struct, subprocess, sys, tempfile, time

PROGRAM = pathlib.Path(os.environ["ACCEL_BUILD_DIR"]) / "bin" / "program-track_rows"
KILLS = 20
# The promise is 100 ms. A test does not judge times: it allows ten times as much.
WINDOW_US = 1_000_000


def read_rows(text):
    lines = text.split("\n")
    torn = lines.pop()  # "" after a whole last line
    return [json.loads(line) for line in lines], torn


def kill_once(journal, pause_us, rng):
    with tempfile.TemporaryDirectory() as directory:
        shared = pathlib.Path(directory) / "progress"
        shared.write_bytes(bytes(16))
        child = subprocess.Popen([PROGRAM, directory, journal, shared, str(10**9), str(pause_us)],
                                 stderr=subprocess.PIPE, text=True)
        with open(shared, "r+b") as file, mmap.mmap(file.fileno(), 16) as memory:
            started = time.monotonic()
            while struct.unpack("qq", memory[:])[0] == 0:
                if child.poll() is not None or time.monotonic() - started > 30:
                    child.kill()
                    sys.exit(f"{journal}: the program logged nothing (exit {child.wait()})")
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.4))
            child.kill()
            complaints = child.communicate()[1]
            returned, returned_us = struct.unpack("qq", memory[:])
        (history,) = pathlib.Path(directory).glob("rows/run-*/history.jsonl")
        rows, torn = read_rows(history.read_text())
    assert complaints == "", complaints
    assert [row["_step"] for row in rows] == list(range(len(rows))), "a row is missing in between"
    if torn:
        assert not torn.endswith("}"), torn
    if journal == "sync":
        assert len(rows) >= returned, f"sync: {returned} rows returned, {len(rows)} written"
    else:
        last = rows[-1]["_timestamp"] * 1e6 if rows else returned_us - WINDOW_US
        assert len(rows) >= returned or returned_us - last <= WINDOW_US, (
            f"async: the file ends {returned_us - last:.0f} us before the kill")
    return returned, len(rows)


def main():
    seed = int(os.environ.get("TEST_SEED", random.randrange(2**32)))
    rng = random.Random(seed)
    print(f"TEST_SEED={seed}")
    for journal in ("sync", "async"):
        for i in range(KILLS):
            returned, written = kill_once(journal, rng.choice((0, 100, 2000)), rng)
            print(f"{journal} {i}: {returned} returned, {written} written")


main()
