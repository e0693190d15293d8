# SPDX-License-Identifier: Apache-2.0
"""test-timeout: 300
The benchmarks of PyTorch's GPT run with all of their peers, and say what they should; no time is
judged. Arms that compute different things are refused."""
import os
import pathlib
import re
import subprocess
import sys
import types

SOURCE, BUILD = pathlib.Path(os.environ["ACCEL_SOURCE_DIR"]), pathlib.Path(os.environ["ACCEL_BUILD_DIR"])
SKIPPED = 77
LINE = re.compile(r"(\S+)  ours=([\d.e+]+)  peer=([\d.e+]+)  ratio=[\d.e+-]+x  aim=\S+  \((.+)\)  aim (?:met|missed)")


def test_rows():
    run = subprocess.run([sys.executable, SOURCE / "bench/run", "--quick", "--build", BUILD, "--oracle",
                          pathlib.Path(sys.executable).parents[1], "--only", "torch-gpt", "--only", "torch-overlap"],
                         text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=280)
    assert run.returncode == 0, run.stdout + run.stderr
    lines = run.stdout.splitlines()[1:-1]
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found) if not match]
    names = [match.group(1) for match in found]
    rows = [f"torch-gpt-tiny/{what}/{language}" for what in ("steps", "memory", "first-step")
            for language in ("c", "c++")]
    assert names == [row for row in rows for _ in range(2)] + ["torch-overlap"], names
    for match in found:
        assert float(match.group(2)) > 0 and float(match.group(3)) > 0, match.group()
        memory = re.search(r"ranks alone: (\d+) and (\d+) MB", match.group(4))
        assert bool(memory) == ("/memory/" in match.group(1)), match.group()
        assert not memory or min(int(size) for size in memory.groups()) > 20, "two processes with libtorch"


def test_other_losses_are_refused():
    sys.path.insert(0, str(SOURCE / "bench"))
    import rows_torch
    from arms import Missing

    def refusal(*losses):
        arms = {str(number): types.SimpleNamespace(losses=list(own)) for number, own in enumerate(losses)}
        try:
            rows_torch.check_losses(rows_torch.TINY, arms)
        except Missing as reason:
            return str(reason)
        return None

    assert refusal((4.1, 3.9), (4.1, 3.9001)) is None
    assert "differ after turn 1" in refusal((4.1, 3.9), (4.1, 3.8))
    assert "differ after turn 0" in refusal((4.1, 3.9), (float("nan"), 3.9))
    assert "nothing was learnt" in refusal((4.1, 4.2), (4.1, 4.2))


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    if not (BUILD / "bench/torch_gpt").exists():
        print("skipped: built without libtorch 2.13, or without ACCEL_BUILD_BENCH")
        sys.exit(SKIPPED)
    test_other_losses_are_refused()
    test_rows()
    print("bench_torch: 2 tests")
