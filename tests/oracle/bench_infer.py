# SPDX-License-Identifier: Apache-2.0
"""test-timeout: 240
The benchmark of inference runs with tiny sizes: its arms give the same answers, and its lines are there
for every peer. No time is judged."""
import os
import pathlib
import subprocess
import sys
import tempfile

SOURCE, BUILD = pathlib.Path(os.environ["ACCEL_SOURCE_DIR"]), pathlib.Path(os.environ["ACCEL_BUILD_DIR"])
SKIPPED = 77


def bench(scratch, **more):
    command = [sys.executable, SOURCE / "bench/run", "--build", BUILD, "--oracle", pathlib.Path(sys.prefix), "--quick",
               "--only", "torch-infer"]
    return subprocess.run([str(word) for word in command], text=True, capture_output=True, stdin=subprocess.DEVNULL,
                          timeout=230, env={**os.environ, "TMPDIR": str(scratch), **more})


def main():
    if not (BUILD / "bench/torch_infer_cpp").exists():
        print("skipped: no libtorch 2.13, or built without ACCEL_BUILD_BENCH")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory(prefix="accel-bench-infer-") as scratch:
        run = bench(scratch)
        assert run.returncode == 0, run.stdout + run.stderr
        left = [name for name in os.listdir(scratch) if name.startswith("accel")]  # torchrun leaves its logs
        assert not left, left
    lines = [line.split("  ") for line in run.stdout.splitlines()[1:-1]]
    print(run.stdout)
    for what, peers in (("throughput", 2), ("memory", 2), ("first-answer", 2), ("weights", 1)):
        for language in ("c", "c++"):
            found = [words for words in lines if words[0] == f"torch-infer/{what}/2/{language}"]
            assert len(found) == peers, (what, language, run.stdout)
            assert all("peer missing" not in words[-1] and words[3] != "ratio=-" for words in found), found


if __name__ == "__main__":
    main()
