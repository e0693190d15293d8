# SPDX-License-Identifier: Apache-2.0
# test-timeout: 180
"""`accel report`: the page holds what was logged, whatever state the log is in; nothing of it is
markup; names that stand for no run are one clear line."""
import glob
import math
import os
import pathlib
import random
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import zlib

from _jobs import environment
from _launch import check, contains, equal, main
from _report import ACCEL, BUILD, Page, page_of, report, self_contained

PROGRAM = str(BUILD / "bin" / "program-report_run")
PLUGIN = BUILD / "lib" / "accel" / "libaccel-tracker-wandb.so"
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
ROWS = 400
BLOCK = 32768


def make_run(folder, rows=ROWS, how="end"):
    """Returns the .wandb log and the folder of JSON lines."""
    run = subprocess.run([PROGRAM, folder, str(rows), how], capture_output=True, timeout=100,
                         check=False, env=environment(HOME=str(folder), WANDB_SILENT="true",
                                                      WANDB__DISABLE_STATS="true"))
    equal(-signal.SIGKILL if how == "killed" else 0, run.returncode, run.stderr)
    log, = glob.glob(f"{folder}/wandb/offline-run-*/*.wandb")
    lines, = glob.glob(f"{folder}/lines/report/run-*")
    return pathlib.Path(log), pathlib.Path(lines)


def check_metrics(run, rows=ROWS):
    history = run["history"]
    equal({"train/loss", HOSTILE, "nest.deep.er", "odd"}, set(history))
    loss = history["train/loss"]
    equal(rows, len(loss))
    for i, (step, seconds, value) in enumerate(loss):
        spike = 1000 if i == rows // 2 else 0
        equal(2 * i, step)
        check(0 <= seconds < 100, "time since the start")
        check(math.isclose(value, 1 / (i + 1) + spike, rel_tol=1e-9), value)
    check(all(math.isclose(v, math.sqrt(i), rel_tol=1e-9)
              for i, (_, _, v) in enumerate(history["nest.deep.er"])), "dictionaries nest")
    equal([(2 * rows, "NaN"), (2 * rows + 1, "-Infinity")], [(s, v) for s, _, v in history["odd"]])


def check_facts(run):
    equal({"lr": 0.1, "layers": [1, 2], "optimizer": {"name": "adamw", "eps": 1e-8},
           "hostile": HOSTILE}, run["config"])
    equal(("both", "report", 0), (run["id"], run["project"], run["exit_code"]))
    summary = run["summary"]
    equal("words", summary["text"])
    equal((ROWS - 1) ** 0.5, summary["nest"]["deep"]["er"])
    artifact, = run["artifacts"]
    equal(("weights", "model", HOSTILE), tuple(artifact[k] for k in ("name", "type", "description")))
    equal(os.path.getsize(PROGRAM), artifact["size"])
    equal("program", artifact["entries"][0]["path"])
    equal([], run["warnings"])


def test_both_formats():
    with tempfile.TemporaryDirectory() as folder:
        log, lines = make_run(folder)
        page = page_of(log, lines)
        self_contained(page)
        for run in page.runs:
            check_metrics(run)
            check_facts(run)
        wandb = page.runs[0]
        equal((HOSTILE, ["one", "two"]), (wandb["name"], wandb["tags"]))
        equal(os.uname().nodename, wandb["environment"]["host"])
        equal([folder, str(ROWS), "end"], wandb["environment"]["args"])
        equal(os.path.realpath(PROGRAM), os.path.realpath(wandb["environment"]["program"]))


def test_what_stands_for_a_run():
    with tempfile.TemporaryDirectory() as folder:
        log, lines = make_run(folder, 3)
        for names in ([log], [log.parent], [f"{folder}/wandb/latest-run"], [f"{folder}/wandb"],
                      [log, log.parent, f"{folder}/wandb"]):
            equal([str(log)], [run["source"] for run in page_of(*names).runs], names)
        for name in (lines, lines / "history.jsonl", lines / "run.json", lines.parent):
            equal([str(lines)], [run["source"] for run in page_of(name).runs], name)
        equal(2, len(page_of(folder).runs), "a folder that holds runs")
        os.chdir(lines)
        equal([str(lines)], [run["source"] for run in page_of("history.jsonl").runs])
        os.chdir("/")


def test_a_killed_run():
    with tempfile.TemporaryDirectory() as folder:
        for run in page_of(*make_run(folder, how="killed")).runs:
            check_metrics_but_last(run)
            check("exit_code" not in run, "it has no end")


def check_metrics_but_last(run):
    """W&B's row of the last step is still open when the process dies."""
    run["history"]["odd"] = [(2 * ROWS, 0, "NaN"), (2 * ROWS + 1, 0, "-Infinity")]
    check_metrics(run)


def test_truncated_anywhere():
    with tempfile.TemporaryDirectory() as folder:
        log, lines = make_run(folder)
        whole, some = log.read_bytes(), random.Random(1)
        for size in [7, 8, 20, BLOCK - 1, BLOCK, BLOCK + 3] + [some.randrange(7, len(whole)) for _ in range(10)]:
            log.write_bytes(whole[:size])
            code, out, err = report("-o", "-", log)
            equal(0, code, err)
            run, = Page(out).runs
            loss = run["history"].get("train/loss", [])
            equal([2 * i for i in range(len(loss))], [step for step, _, _ in loss])
            equal("".join(f"accel report: warning: {log}: {w}\n" for w in run["warnings"]), err)
        history = (lines / "history.jsonl").read_bytes()
        (lines / "history.jsonl").write_bytes(history[:len(history) // 2 + 5])
        run, = page_of(lines).runs
        check(100 < len(run["history"]["train/loss"]) < ROWS, "what was written before")
        contains("ends within a line", run["warnings"][0])


def test_damaged_logs():
    with tempfile.TemporaryDirectory() as folder:
        log, _ = make_run(folder, 3000)
        whole, some = log.read_bytes(), random.Random(2)
        check(len(whole) > 5 * BLOCK, "several blocks")
        broken = bytearray(whole)
        broken[2 * BLOCK + 100] ^= 1
        log.write_bytes(broken)
        run, = page_of(log).runs
        loss = run["history"]["train/loss"]
        check(2000 < len(loss) < 3000 and loss[-1][0] == 5998, "one block is lost, what follows is not")
        contains("the log is damaged in 1 places", run["warnings"][0])
        for _ in range(30):
            broken = bytearray(whole)
            for _ in range(some.choice([1, 10, 1000])):
                at = some.randrange(7, len(broken))
                broken[at:at + 8] = some.randbytes(8)
            log.write_bytes(broken)
            code, out, err = report("-o", "-", log)
            equal((0, 1), (code, len(Page(out).runs)), err)
            contains("damaged", err)
        log.write_bytes(whole[:7] + some.randbytes(200000))
        equal(0, report("-o", "-", log)[0])
        log.write_bytes(whole[:7] + b"\x00\x00\x00\x00\xff\xff\x01" * 20000)
        equal(0, report("-o", "-", log)[0])


def record(*fields):
    """A framed record of one chunk, of fields (number, bytes)."""
    def message(fields):
        return b"".join(bytes([(number << 3 | 2) & 127 | 128, number >> 4, len(data)]) + data
                        for number, data in fields)
    payload = message([(fields[0], message(fields[1:]))])
    return struct.pack("<IHB", zlib.crc32(b"\x01" + payload), len(payload), 1) + payload


def test_text_that_is_no_text():
    with tempfile.TemporaryDirectory() as folder:
        log = pathlib.Path(folder) / "run-x.wandb"
        log.write_bytes(b":W&B\xe1\xbe\x00" + record(17, (1, b"x"), (8, b"a\xff\xc0\xafb\xe2\x82")) +
                        record(13, (3, b"\x1b[31mred\x1b[0m\n10%\r100%\r\n\xf0\x9f")) +
                        record(13, (3, b"\x98\x80\n")) + record(3, (1, b"\n\x01k\x82\x01\x05{\"a\":")))
        run, = page_of(log).runs
        equal("a\ufffd\ufffd\ufffdb\ufffd\ufffd", run["name"])
        equal("red\n100%\n\U0001f600\n", run["console"]["head"], "put together before it is read")
        equal({"k": '{"a":'}, run["summary"], "no JSON is text")


def test_no_logs():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name).resolve()
        (folder / "none.wandb").write_bytes(b"")
        (folder / "noise.wandb").write_bytes(b"\x00garbage" * 100)
        (folder / "empty").mkdir()
        (folder / "broken").mkdir()
        (folder / "broken" / "history.jsonl").write_text('{"a": 1}\nnoise\n{"a": 2, "a b": [1]}\n[3]\n')
        cases = {
            "gone": f"{folder}/gone: no such run\n",
            "none.wandb": f"{folder}/none.wandb: no W&B log: it does not begin with ':W&B'\n",
            "noise.wandb": f"{folder}/noise.wandb: no W&B log: it does not begin with ':W&B'\n",
            "empty": f"{folder}/empty: no runs in this folder: no *.wandb log and no history.jsonl\n",
        }
        for name, line in cases.items():
            equal((1, "", f"accel report: {line}"), report("-o", folder / "r.html", folder / name))
        check(not (folder / "r.html").exists(), "no page of nothing")
        (folder / "broken" / "run.json").write_text('{"id": 3, "name": [1], "exit_code": "x", "tags": 1}')
        (folder / "broken" / "artifacts.jsonl").write_text('{"name": "a", "aliases": 3, "entries": [1, {}]}')
        run, = page_of(folder).runs
        equal(("broken", False, False, False), (run["id"], *(k in run for k in ("name", "exit_code", "tags"))))
        equal([{"name": "a", "aliases": [], "entries": [{}], "count": 1, "size": 0}], run["artifacts"])
        equal([1, 2], [value for _, _, value in run["history"]["a"]])
        contains("2 lines are no JSON objects", "".join(run["warnings"]))


def test_many_points_are_thinned_out():
    with tempfile.TemporaryDirectory() as folder:
        log, lines = make_run(folder, 60000)
        for run in page_of(log, lines).runs:
            loss = run["history"]["train/loss"]
            check(10000 < len(loss) <= 21000, len(loss))
            equal((0, 2 * 59999), (loss[0][0], loss[-1][0]))
            check((2 * 30000, 1000) in [(s, round(v)) for s, _, v in loss], "the spike is kept")
            check(all(a[0] < b[0] for a, b in zip(loss, loss[1:])), "in order")


def test_output():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        log, _ = make_run(folder, 2)
        equal((0, "report.html\n", ""), report(log, cwd=folder))
        first = (folder / "report.html").read_text()
        check(first.startswith("<!doctype html>") and first.endswith("</html>\n"), "whole")
        mask = os.umask(0)
        os.umask(mask)
        equal(0o666 & ~mask, (folder / "report.html").stat().st_mode & 0o777)
        target = folder / "a b.html"
        target.write_text("old")
        equal((0, f"{target}\n", ""), report(f"--output={target}", log))
        equal(first[:15], target.read_text()[:15])
        before = sorted(os.listdir(folder))
        code, out, err = report("-o", folder / "no" / "r.html", log)
        equal((1, "", f"accel report: {folder}/no/r.html: cannot write: No such file or directory\n"),
              (code, out, err))
        with open("/dev/full", "wb") as full:
            run = subprocess.run([ACCEL, "report", "-o", "-", log], stdout=full,
                                 stderr=subprocess.PIPE, timeout=60, check=False)
        equal((1, b"accel report: cannot write to standard output\n"), (run.returncode, run.stderr))
        equal(1, report("-o", "/dev/full", log)[0])
        equal(before, sorted(os.listdir(folder)), "nothing is left aside")


def test_arguments():
    contains("no run given", report()[2])
    equal(2, report()[0])
    contains("unknown option --frobnicate", report("--frobnicate")[2])
    equal((2, "", "accel report: -o needs a value\n"), report("-o"))
    equal(2, report("-o", "", "x")[0])
    code, out, err = report("--help")
    equal((0, ""), (code, err))
    contains("Usage: accel report", out)
    page = (pathlib.Path(os.environ["ACCEL_SOURCE_DIR"]) / "man/accel.1").read_text()
    contains(".Ss accel report", page, "the manual has it")
    for option in re.findall(r"--[a-z-]+", out):
        contains(option, page.replace("Fl Fl ", "--"))


def test_without_the_program():
    """The tool alone: one line that names the packages."""
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/bin")
        shutil.copy(ACCEL, f"{folder}/bin/accel")
        run = subprocess.run([f"{folder}/bin/accel", "report", "x"], capture_output=True, text=True,
                             timeout=60, check=False,
                             env={**os.environ, "LD_LIBRARY_PATH": str(BUILD / "lib")})
        equal(1, run.returncode)
        equal(1, run.stderr.count("\n"))
        contains("libprotobuf-c-dev", run.stderr)


if __name__ == "__main__":
    if not PLUGIN.exists() or not list(BUILD.glob("libexec/accel/accel-report")):
        print("skipped: the W&B plugin or accel-report was not built")
        raise SystemExit(77)
    main(globals())
