# SPDX-License-Identifier: Apache-2.0
# test-timeout: 180
"""The same runs, once by the plugin in C and once by the stock client in Python: the logs must
be equal field by field, apart from the documented list."""
import json
import math
import os
import signal
import subprocess
import sys
import tempfile

import _wandb_log as log

BUILD, SOURCE = os.environ["ACCEL_BUILD_DIR"], os.environ["ACCEL_SOURCE_DIR"]
PROGRAM = os.path.join(BUILD, "bin", "program-wandb_run")


def rows(wandb, directory, _):
    run = wandb.init(
        project="my_project", entity="my-wandb-team", dir=directory, name="a run", id="rows1",
        group="g", job_type="jt", notes="some\nnotes", tags=["t1", "té"], resume="allow",
        config={"a": {"b": 1, "c": [1, 2.0, "x"]}, "drop": 1}, config_exclude_keys=["drop"])
    run.config.update({
        "dropout": 0.1, "learning_rate": 1e-2, "none": None, "inf": math.inf, "one": 1.0,
        "tiny": 1e-5, "tinier": 1.5e-7, "big": 1e16, "e15": 1e15, "list": [1e22, 0.1, math.nan],
        "nest": {"nan": math.nan, "t": (1, 2)}, "s": "é\n\"<>&\x01", "b": True, "nan": math.nan,
        "large": 2**64 - 1}, allow_val_change=True)
    print("a line of the program's, for the console", flush=True)
    for i in range(3):
        run.log({"train_loss": 1.12 - i * 0.1, "valid_loss": 0.8}, step=i)
    run.log({"late": 1}, step=1)
    run.log({"list": [1.0, math.nan, math.inf, 1e6, 123456.0, 1234567.5, {"a": 1.0, "b": None}],
             "s": "é\n\"<>&", "neg": -0.0, "u": 1 << 63, "none": None,
             "d": {"a": None, "b": True, "deep": {"x": 2.5}}, "m": 1e6, "k": 123456.0,
             "e-4": 0.0001, "e-5": 0.00001, "f32": 0.10000000149011612, "e20": 1e20, "empty": "",
             "ninf": -math.inf, "a.b": 1, "a/b": 2, "i": -2**63}, step=10)
    run.log({"y": 1, "m": 2.5, "d": {"deep": 7}}, step=10)
    run.log({}, step=12)
    run.log({"joined": 3})
    run.log({"counted": 1})
    run.log({})
    run.log({"counted": 2})
    run.summary.update({"best": 0.5, "nest": {"a": 1}, "z": math.nan})
    run.log({"last": 1}, step=20)
    run.finish(3)


def seed(wandb, directory, file):
    run = wandb.init(project="my_project", entity="my-wandb-team", dir=directory)
    run.config.update({"dropout": 0.1, "learning_rate": 1e-2}, allow_val_change=True)
    for step in range(3):
        run.log({"train_loss": 1.12, "valid_loss": 0.8}, step=step)
    artifact = wandb.Artifact("some_artifact", "dataset", "words", {"k": 1})
    artifact.add_file(file, name="d/g.txt", policy="immutable")
    artifact.add_file(file, name="f.txt")
    artifact.add_reference("https://127.0.0.1:1/b/k", name="k", checksum=False)
    run.log_artifact(artifact, aliases=["best"])
    run.finish()


def environment(home):
    kept = {key: value for key, value in os.environ.items()
            if not key.startswith(("WANDB_", "XDG_", "SLURM_"))}
    return {**kept, "HOME": home, "WANDB_DATA_DIR": os.path.join(home, "data"),
            "WANDB_MODE": "offline", "SLURM_JOB_ID": "17",
            "TMPDIR": home}


REMOTE = "https://me:secret@example.org/r.git"


def git_init(directory):
    date = "2026-01-02T03:04:05Z"
    for command in (["init", "-q"], ["remote", "add", "origin", REMOTE],
                    ["-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-q", "--allow-empty",
                     "-m", "x"]):
        subprocess.run(["git", "-C", directory, *command], check=True,
                       env={**os.environ, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date})


def run_both(name, base):
    """Both runs, each in a folder of its own below a git work tree: (stock, ours) results."""
    results = []
    file = os.path.join(base, "file.txt")
    with open(file, "w", encoding="utf-8") as stream:
        stream.write("hello")
    for side, command in (("stock", [sys.executable, __file__, name]), ("ours", [PROGRAM, name])):
        directory = os.path.join(base, side)
        os.mkdir(directory)
        git_init(directory)
        done = subprocess.run([*command, directory, file], cwd=directory, env=environment(base),
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=120)
        if done.returncode:
            sys.exit(f"{side} {name}: exit {done.returncode}\n{done.stderr}")
        results.append((directory, done.stderr))
    return results


def the_end(stderr):
    """The part of the last words that does not name folders."""
    lines = stderr.splitlines()
    start = lines.index("wandb: Run history:") if "wandb: Run history:" in lines else 0
    return lines[start:lines.index("wandb: You can sync this run to the cloud by running:")]


def check_records(name, base, used):
    (stock_dir, stock_err), (our_dir, our_err) = run_both(name, base)
    stock, ours = log.find_log(stock_dir), log.find_log(our_dir)
    stock_log = json.loads(json.dumps(log.read(stock)).replace(stock_dir, "DIR"))
    our_log = json.loads(json.dumps(log.read(ours)).replace(our_dir, "DIR"))
    differences, met = log.compare(stock_log, our_log)
    used |= met
    if the_end(stock_err) != the_end(our_err):
        words = ["last words", *the_end(stock_err), "ours", *the_end(our_err)]
        differences.append("\n".join(words))
    if "\033" in our_err:
        differences.append("control characters on a stderr that is no terminal")
    a, b = (json.loads(log.inspect(path, "--summary", "--json")) for path in (stock, ours))
    for key in ("state", "project", "step", "config", "name", "tags"):
        if a.get(key) != b.get(key):
            differences.append(f"leet inspect {key}: stock {a.get(key)!r}, ours {b.get(key)!r}")
    count = len(log.inspect(ours, "--json").splitlines())
    if count != len(our_log):
        differences.append(f"stock's reader sees {count} of {len(our_log)} records")
    with open(ours, "rb") as file:
        if b"secret" in file.read():
            differences.append("the remote's password is in the log")
    return [f"{name}: {line}" for line in differences]


def check_killed(base):
    """All rows that a later step had closed are there, for the stock reader too."""
    done = subprocess.run([PROGRAM, "killed", base], cwd=base, env=environment(base), timeout=60,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if done.returncode != -signal.SIGKILL:
        return [f"killed: exit {done.returncode}"]
    path = log.find_log(base)
    steps = [fields["history.item[_step]"] for kind, fields in log.read(path) if kind == "history"]
    if steps != [str(step) for step in range(99)]:
        return [f"killed: steps {steps}"]
    seen = json.loads(log.inspect(path, "--summary", "--json"))
    return [] if seen["step"] == 98 else [f"killed: stock's reader sees {seen}"]


def check_many(base):
    """A log of many blocks, with a record longer than one."""
    subprocess.run([PROGRAM, "many", base], cwd=base, env=environment(base), timeout=60, check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    path = log.find_log(base)
    rows_read = [fields for kind, fields in log.read(path) if kind == "history"]
    if len(rows_read) != 2001 or os.path.getsize(path) < 10 * log.BLOCK:
        return [f"many: {len(rows_read)} rows, {os.path.getsize(path)} bytes"]
    for step, fields in enumerate(rows_read[:2000]):
        if float(fields["history.item[x]"]) != math.sqrt(step):
            return [f"many: step {step} is {fields}"]
    if len(log.inspect(path, "--json").splitlines()) != len(log.read(path)):
        return ["many: stock's reader sees another number of records"]
    return []


def main():
    if not os.path.exists(os.path.join(BUILD, "lib", "accel", "libaccel-tracker-wandb.so")):
        print("skipped: the plugin was not built")
        return 77
    problems, used = [], set()
    with tempfile.TemporaryDirectory() as base:
        for index, check in enumerate((
                lambda where: check_records("rows", where, used),
                lambda where: check_records("seed", where, used), check_killed, check_many)):
            where = os.path.join(base, str(index))
            os.mkdir(where)
            problems += check(where)
    problems += [f"not met: the explained difference {name}"
                 for name in set(log.EXPLAINED) - used]
    documented = log.documented_differences(SOURCE)
    if documented != set(log.EXPLAINED):
        problems.append(f"docs/wandb.md and the test explain other differences: "
                        f"{documented ^ set(log.EXPLAINED)}")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    if len(sys.argv) > 3:
        import wandb
        {"rows": rows, "seed": seed}[sys.argv[1]](wandb, sys.argv[2], sys.argv[3])
    else:
        sys.exit(main())
