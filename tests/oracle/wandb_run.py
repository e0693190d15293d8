# SPDX-License-Identifier: Apache-2.0
# test-timeout: 120
"""Runs by themselves, record by record as the stock client writes them: define_metric, the summary,
steps and commits, changes of the configuration and of the run, saved files, a forgotten finish."""
import json
import math
import os
import re
import subprocess
import sys
import tempfile

import _wandb_log as log

BUILD, SOURCE = os.environ["ACCEL_BUILD_DIR"], os.environ["ACCEL_SOURCE_DIR"]
PROGRAM = os.path.join(BUILD, "bin", "program-wandb_api")


def metrics(run):
    run.define_metric("epoch")
    run.define_metric("loss", step_metric="epoch", summary="min,max,mean,last,first")
    run.define_metric("acc", summary="max")
    run.define_metric("none", summary="none")
    run.define_metric("mean", summary="MEAN")
    run.define_metric("minf", summary="min,first")
    run.define_metric("hid", hidden=True)
    for i in range(3):
        run.log({"loss": 1.0 - i * .25, "epoch": i, "acc": i * .5, "none": i, "hid": i, "other": i,
                 "mean": i, "minf": i})
    run.log({"loss": math.nan, "acc": math.nan})
    run.log({"acc": math.inf, "minf": -math.inf, "mean": math.inf})
    run.log({"loss": 7, "minf": 1 << 62})
    run.log({"loss": "text", "acc": True, "minf": None, "mean": [1, 2]})
    run.log({"loss": 8, "acc": 2, "mean": 3, "minf": {"a": 1}})


def words(run):
    names = ["mean", "min", "first", "last", "max", "LAST", "none,min"]
    for i, name in enumerate(names):
        run.define_metric(f"x{i}", summary=name)
    for value in ("txt", None, True, 9007199254740993, 0.1, [1], math.nan, None):
        run.log({f"x{i}": value for i in range(len(names))})


def globs(run):
    run.define_metric("n.*", summary="max")
    run.define_metric("lit*", summary="min")
    run.define_metric("a\\.b*", summary="min")
    run.define_metric("train/*", step_metric="train/step", summary="mean")
    run.log({"n": {"a": 1, "b": {"c": 2}}, "lit.dot": 5, "n.b.c": 9, "lit": {"x": 1}, "a.bc": 3,
             "a": {"bc": 4}, "_lit": 1})
    run.log({"train/a": 1, "train/step": 5})
    run.log({"train/a": 2, "train/b": 5})
    run.define_metric("train/a", summary="max", overwrite=True)
    run.define_metric("train/a", summary="mean")
    run.log({"train/a": 2})
    run.define_metric("train/a", overwrite=True)
    run.log({"train/a": 3})
    run.define_metric("n.b.c", summary="last")
    run.define_metric("lit\\.dot", summary="max")
    run.log({"n": {"a": 1, "b": {"c": 2}}, "lit.dot": 6})
    run.define_metric("n", summary="min")
    run.log({"n": {"b": {"c": 3}}})
    run.log({"n": 5})
    run.define_metric("_x", summary="max")
    run.define_metric("_y*", summary="max")
    run.log({"_x": 1, "_y1": 2, "e": {"": {"b": 3}}, "": 5})


def steps(run):
    run.define_metric("a", step_metric="s", step_sync=False)
    run.define_metric("b", step_metric="s")
    run.define_metric("c.d", step_metric="e.f")
    run.define_metric("g", step_metric="_step")
    run.define_metric("x", step_metric="big")
    run.log({"s": 1, "a": 1, "b": 1, "e": {"f": 5}})
    run.log({"a": 2})
    run.log({"b": 2})
    run.log({"s": "txt", "b": 3})
    run.log({"b": 4})
    run.log({"c": {"d": 1}})
    run.log({"g": 1})
    run.log({"x": 1})
    run.log({"big": 1000000})
    run.log({"x": 1})
    run.log({"big": 1 << 60})
    run.log({"x": 1})
    run.log({"b": 5}, step=20)
    run.log({"s": 9}, step=20)
    run.log({"b": 6}, step=21)
    run.define_metric("k", step_sync=True)
    run.define_metric("k", step_metric="s")
    run.log({"k": 1})
    run.log({"s": math.nan})
    run.log({"k": 1})
    run.define_metric("late", step_metric="other")
    run.log({"late": 1})


def summary(run):
    run.log({"a": 1, "n": {"x": 1, "y": 2}})
    run.define_metric("z", summary="max,min")
    run.log({"z": 1})
    run.summary["z"] = 77
    run.log({"z": 0.5})
    run.define_metric("z", summary="mean,last")
    run.log({"z": 3})
    run.summary["n"] = {"x": 5}
    run.summary["n.x"] = 6
    run.summary["new"] = {"a": {"b": 1}}
    run.log({"n": {"x": 8}})
    del run.summary["new"]["a"]["b"]
    run.summary.update({"p": 1, "q": {"r": math.nan}, "inf": math.inf, "t": (1, 2), "none": None,
                        "txt": "é"})
    del run.summary["p"]
    del run.summary["nope"]
    run.log({"z": 2})


def commits(run):
    run.log({"a": 1}, commit=False)
    run.log({"b": 2})
    run.log({"c": 2}, step=5, commit=True)
    run.log({"d": 1})
    run.log({"e": 1}, step=6, commit=False)
    run.log({"f": 1}, commit=False)
    run.log({"g": 1}, step=3)
    run.log({"l": 1}, step=4, commit=True)
    run.log({"h": 1}, step=8, commit=False)
    run.log({}, commit=True)
    run.log({"i": 1}, step=9)
    print(f"step {run.step}")


def changes(run):
    run.name = "new name"
    run.notes = "my notes"
    run.tags = ("a", "b")
    run.mark_preempting()
    run.config.update({"x": 1, "y": {"a": 1}})
    run.config.update({"x": 2}, allow_val_change=True)
    try:
        run.config.update({"x": 3})
        print("changed")
    except Exception:
        pass
    run.config.setdefaults({"x": 9, "w": 1})
    run.log({"a": 1})
    print(f"name {run.name}\nnotes {run.notes}\n"
          f"config {json.dumps(dict(run.config), separators=(',', ':'))}")


def files(run):
    run.save("sub/*.txt")
    run.save("sub/deep/../f.txt", base_path="sub", policy="now")
    run.save("nomatch*")
    run.save("g.txt", policy="end")
    try:
        run.save("../x")
        print("climbed")
    except Exception:
        pass


def forgotten(run):
    run.log({"a": 1})
    run.log({"a": 2}, step=7)
    sys.exit(3)


SCENARIOS = (metrics, words, globs, steps, summary, commits, changes, files, forgotten)

# An update of the run does not repeat the configuration, which stock repeats as it was at first.
REPEATED = re.compile(r"record (?!2 )\d+ \(run\) run\.config\.update\[.*, ours None")


def environment(home):
    kept = {key: value for key, value in os.environ.items()
            if not key.startswith(("WANDB_", "XDG_", "SLURM_"))}
    return {**kept, "HOME": home, "WANDB_DATA_DIR": os.path.join(home, "data"), "TMPDIR": home,
            "WANDB_MODE": "offline", "WANDB_CONSOLE": "off",
            "WANDB_DISABLE_GIT": "true"}


def run_one(side, name, base):
    directory = os.path.join(base, side)
    os.makedirs(os.path.join(directory, "sub"))
    for file in ("sub/f.txt", "g.txt"):
        with open(os.path.join(directory, file), "w", encoding="utf-8") as stream:
            stream.write(file)
    command = [sys.executable, __file__] if side == "stock" else [PROGRAM]
    done = subprocess.run([*command, name, directory], cwd=directory, env=environment(base),
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    if done.returncode != (3 if name == "forgotten" else 0):
        sys.exit(f"{side} {name}: exit {done.returncode}\n{done.stderr}")
    return directory, done


def saved(directory):
    """What lies below files/, with where its links lead; stock's own files apart."""
    top = os.path.join(os.path.dirname(log.find_log(directory)), "files")
    found = {}
    for folder, _, names in os.walk(top):
        for name in set(names) - {"requirements.txt"}:
            path = os.path.join(folder, name)
            link = os.readlink(path) if os.path.islink(path) else None
            found[os.path.relpath(path, top)] = link and os.path.relpath(link, directory)
    return found


def said(stderr):
    """The run's last words, without the names of folders; warnings too."""
    lines = stderr.splitlines()
    start = lines.index("wandb: Run history:") if "wandb: Run history:" in lines else len(lines)
    end = [i for i, line in enumerate(lines) if "You can sync this run" in line]
    late = [line for line in lines[:start] if "less than the current step" in line]
    return late[:1] + lines[start:end[0] if end else start]


def compare(stock, ours):
    return [line for line in log.compare(stock, ours)[0]
            if not REPEATED.match(line) and not line.startswith("system metrics")]


def read(directory):
    """The log; saved files are compared, and stock's requirements.txt is not."""
    records = json.loads(json.dumps(log.read(log.find_log(directory))).replace(directory, "DIR"))
    return [("saved" if kind == "files" else kind, fields) for kind, fields in records
            if fields.get("files.files.0.path") != "requirements.txt"]


def ended_at_exit(records):
    """Stock tells a finish() of the program's from its own at exit; here that is one."""
    return [(kind, {path: value for path, value in fields.items() if path != "_info.stream_id"})
            for kind, fields in records if kind in ("history", "exit", "summary")]


def check(name, base):
    (stock_dir, stock), (our_dir, ours) = (run_one(side, name, base) for side in ("stock", "ours"))
    logs = [read(stock_dir), read(our_dir)]
    if name == "forgotten":  # and what it says then goes to stdout
        differences = compare(*map(ended_at_exit, logs))
        return [f"{name}: {line}" for line in differences]
    differences = compare(*logs)
    if stock.stdout != ours.stdout:
        differences.append(f"stock prints {stock.stdout!r}, ours {ours.stdout!r}")
    if saved(stock_dir) != saved(our_dir):
        differences.append(f"files: stock {saved(stock_dir)}, ours {saved(our_dir)}")
    if said(stock.stderr) != said(ours.stderr):
        differences.append("\n".join(["last words", *said(stock.stderr), "ours",
                                      *said(ours.stderr)]))
    return [f"{name}: {line}" for line in differences]


def self_test(base):
    """Two scenarios are not each other: the comparison can fail."""
    a, b = (log.read(log.find_log(os.path.join(base, name, "ours"))) for name in ("metrics", "words"))
    return [] if log.compare(a, b)[0] else ["the comparison finds metrics and words equal"]


def main():
    if not os.path.exists(os.path.join(BUILD, "lib", "accel", "libaccel-tracker-wandb.so")):
        print("skipped: the plugin was not built")
        return 77
    problems = []
    with tempfile.TemporaryDirectory() as base:
        for scenario in SCENARIOS:
            where = os.path.join(base, scenario.__name__)
            os.mkdir(where)
            problems += check(scenario.__name__, where)
        problems += self_test(base)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    if len(sys.argv) > 2:
        import wandb
        started = wandb.init(project="p", dir=sys.argv[2], config={"start": 1})
        globals()[sys.argv[1]](started)
        started.finish()
    else:
        sys.exit(main())
