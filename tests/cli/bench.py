# SPDX-License-Identifier: Apache-2.0
# test-timeout: 180
"""The benchmarks run, and say what they should; no time is judged. The rows that need no large
peer run in full, with tiny sizes; peers are pointed at where there are none, and are missing."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(os.environ["ACCEL_SOURCE_DIR"])
BUILD = pathlib.Path(os.environ["ACCEL_BUILD_DIR"])
LINE = re.compile(r"(\S+)  ours=(-?[\d.e+-]+)  peer=(-|-?[\d.e+-]+)  ratio=(-|-?[\d.e+-]+x)  aim=(\S+)"
                  r"  \((.+)\)  (aim met|aim missed|peer missing: .+)")


def bench(*arguments, **more):
    run = subprocess.run([sys.executable, SOURCE / "bench/run", "--build", BUILD, *arguments], text=True,
                         capture_output=True, stdin=subprocess.DEVNULL, timeout=170,
                         env={**os.environ, **more})
    return run.returncode, run.stdout, run.stderr


def test_list_and_help():
    code, out, _ = bench("--list")
    rows = [line.split()[0] for line in out.splitlines()]
    assert code == 0 and "all-reduce-64MB" in rows and len(rows) == len(set(rows)) > 5, out
    code, out, _ = bench("--help")
    assert code == 0 and "--quick" in out and "ratio says" in out, out
    code, _, err = bench("--only", "no-such-row")
    assert code == 2 and "no-such-row" in err, err


def test_rows(folder):
    """The arms of ours run; a Python environment that is not there is a missing peer."""
    target = folder / "bench.json"
    rows = ["four-lines", "log", "log-online", "loader", "loader-decode", "8-ranks", "bf16-step", "sync+adamw"]
    if (BUILD / "examples/words").exists() and len(os.sched_getaffinity(0)) > 1:
        rows.append("words-scaling")
    scratch = folder / "scratch"
    scratch.mkdir()
    code, out, err = bench("--quick", "--oracle", folder / "none", "--environment", folder / "none", "--json",
                           target, *(word for row in rows for word in ("--only", row)), TMPDIR=str(scratch))
    assert code == 0, out + err
    assert list(scratch.iterdir()) == [], "nothing is left behind"
    head, *lines, summary, _ = out.splitlines()
    assert head.startswith("bench: accel ") and re.match(r"bench: \d+ comparisons, ", summary), out
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), [line for line, match in zip(lines, found) if not match]
    assert {match.group(1).split("/")[0].removesuffix("+clip") for match in found} == set(rows), out
    for match in found:
        missing = match.group(7).startswith("peer missing: ")
        peers = (match.group(1) == "log-online/stock"
                 or match.group(1).split("/")[0].removesuffix("+clip") in (
                     "log", "loader", "loader-decode", "sync+adamw"))
        assert missing == peers, match.group()
        assert float(match.group(2)) > 0 or match.group(1).startswith("four-lines"), match.group()
    records(target, found)


def records(target, found):
    """bench.json says the same as the lines, and bench/table makes a table of it."""
    data = json.loads(target.read_text())
    assert data["machine"]["cores"] > 0 and data["quick"] is True and data["failed"] == [], data
    assert [r["name"] for r in data["results"]] == [match.group(1) for match in found]
    for record in data["results"]:
        assert record["spread"]["ours"]["samples"] > 0, record
        if record["peer"] is not None:
            more = "/s" in record["unit"]
            better = record["ours"] / record["peer"] if more else record["peer"] / record["ours"]
            assert abs(record["ratio"] - better) < 1e-9 * better, record
    page = target.with_suffix(".md")
    page.write_text("# Page\n<!-- bench -->\nold\n<!-- /bench -->\nend\n")
    subprocess.run([sys.executable, SOURCE / "bench/table", "--json", target, page], check=True)
    text = page.read_text()
    assert "old" not in text and text.endswith("<!-- /bench -->\nend\n"), text
    assert text.count("\n| `") == len(found), text


def test_programs_by_hand():
    """Without the driver a program has one turn and prints its samples."""
    for command, count in ((["memory", 4096, 3, 2, "plain"], 3), (["memory", 4096, 3, 2, "streaming"], 3),
                           (["memory", 4096, 3, 2, "step"], 3),
                           (["allreduce", 1000, 2, 4, "ordinary"], 4), (["allreduce", 1000, 2, 4, "shared"], 4)):
        words = [str(word) for word in [BUILD / "bench" / command[0], *command[1:]]]
        run = subprocess.run(words, text=True, capture_output=True, timeout=60)
        assert run.returncode == 0 and len(run.stdout.split()) == count, (words, run.stdout, run.stderr)
    run = subprocess.run([BUILD / "bench/allreduce", "x"], text=True, capture_output=True, timeout=60)
    assert run.returncode == 2 and "number" in run.stderr, run.stderr


def test_our_failure_is_one(folder):
    """A build whose programs do not run: said, and exit 1."""
    (folder / "broken/bench").mkdir(parents=True)
    (folder / "broken/bin").mkdir()
    (folder / "broken/bin/accel").symlink_to(BUILD / "bin/accel")
    run = subprocess.run([sys.executable, SOURCE / "bench/run", "--build", folder / "broken", "--quick", "--only",
                          "four-lines"], text=True, capture_output=True, timeout=60)
    assert run.returncode == 1 and "four-lines  could not run: " in run.stdout, run.stdout + run.stderr


if __name__ == "__main__":
    if not (BUILD / "bench").is_dir():
        print("skipped: built without ACCEL_BUILD_BENCH")
        sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="accel-test-") as name:
        test_list_and_help()
        test_rows(pathlib.Path(name))
        test_programs_by_hand()
        test_our_failure_is_one(pathlib.Path(name))
    print("bench: 4 tests")
