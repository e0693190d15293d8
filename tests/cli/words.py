# SPDX-License-Identifier: Apache-2.0
# test-timeout: 300
"""examples/words: its gradients are right, it learns the same on any number of processes and
without accel, and says what it should."""
import difflib
import math
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

from _gate import SOURCE
from _jobs import environment
from _launch import ACCEL, BUILD, HANG, Job, check, contains, equal, main

WORDS = f"{BUILD}/examples/words"
PLAIN = f"{BUILD}/examples/words-plain"
LIST = "/usr/share/dict/words"
SMALL = ["--layers", "2", "--width", "32", "--heads", "2", "--progress", "lines"]
LENGTH = 16


def run(program, *options, ranks=0, code=0, cwd=None, mode="disabled", **variables):
    """(stdout, stderr) of the program, alone or under the launcher."""
    launcher = [ACCEL, "launch", "--no-prefix", "-n", str(ranks)] if ranks else []
    with tempfile.TemporaryDirectory() as directory:
        result = subprocess.run([*launcher, program, *map(str, options)], cwd=cwd or directory,
                                env=environment(HOME=directory, WANDB_MODE=mode, **variables),
                                text=True, capture_output=True, timeout=HANG, stdin=subprocess.DEVNULL)
    equal(code, result.returncode, f"{program} {options}: {result.stdout}{result.stderr}")
    return result.stdout, result.stderr


def curve(output):
    """Losses of the steps that were printed, then those of validation."""
    steps = re.findall(r"^step (\d+) of .* loss (\d+\.\d+)", output, re.MULTILINE)
    epochs = re.findall(r"^epoch (\d+): validation loss (\d+\.\d+)", output, re.MULTILINE)
    check(len(steps) > 2 and len(epochs) > 0, f"no curve in {output}")
    return {("step", s): float(x) for s, x in steps} | {("epoch", e): float(x) for e, x in epochs}


def check_close(first, second, tolerance, what):
    equal(first.keys(), second.keys(), what)
    for key, loss in first.items():
        check(abs(loss - second[key]) <= tolerance, f"{what}: {key}: {loss} and {second[key]}")


def is_for_validation(word):
    """The split that text.c makes, computed here again."""
    code = 2166136261
    for byte in bytes(ord(c) - 96 for c in word).ljust(LENGTH, b"\0"):
        code = (code ^ byte) * 16777619 % 2 ** 32
    return (code >> 8) % 10 == 0


def split(path):
    with open(path, encoding="utf-8") as file:
        words = sorted({w.lower() for w in file.read().split()
                        if re.fullmatch("[A-Za-z]{1,%d}" % (LENGTH - 1), w)})
    return [w for w in words if not is_for_validation(w)], [w for w in words if is_for_validation(w)]


def witten_bell(train, valid, n):
    """Nats per character of an interpolated n-gram."""
    counts = {}
    for word in train:
        text = "^" * (n - 1) + word + "$"
        for at in range(n - 1, len(text)):
            for k in range(n):
                after = counts.setdefault(text[at - k:at], {})
                after[text[at]] = after.get(text[at], 0) + 1
    nats, characters = 0.0, 0
    for word in valid:
        text = "^" * (n - 1) + word + "$"
        for at in range(n - 1, len(text)):
            p = 1 / 27
            for k in range(n):
                after = counts.get(text[at - k:at], {})
                if after:
                    p = (after.get(text[at], 0) + len(after) * p) / (sum(after.values()) + len(after))
            nats -= math.log(p)
            characters += 1
    return nats / characters


def test_gradients():
    result = subprocess.run([f"{BUILD}/bin/program-words_gradients"], text=True, check=True,
                            capture_output=True, timeout=HANG)
    rows = [line.split() for line in result.stdout.splitlines()]
    equal(2 + 2 * 6 + 2, len(rows), "parameters")
    for name, _, difference, largest in rows:
        check(float(largest) > 1e-3, f"{name}: has no gradient")
        check(float(difference) < 1e-6 * float(largest) + 1e-8, f"{name}: off by {difference}")


def test_any_number_of_processes():
    options = [*SMALL, "--steps", "60", "--batch", "48"]
    alone, _ = run(WORDS, *options)
    for ranks in (2, 3, 4):
        output, _ = run(WORDS, *options, ranks=ranks)
        check_close(curve(alone), curve(output), 2e-4, f"1 and {ranks} processes")


def test_bf16_and_accumulation_reach_the_same_loss():
    """Within what another order of the words makes of it."""
    def loss(output):
        return curve(output)["epoch", "1"]
    options = [*SMALL, "--steps", "250", "--batch", "48"]
    fp32, _ = run(WORDS, *options)
    noise = max(abs(loss(fp32) - loss(run(WORDS, *options, "--seed", seed)[0])) for seed in (2, 3))
    for ranks in (0, 2):
        bf16, _ = run(WORDS, *options, ranks=ranks, ACCELERATE_MIXED_PRECISION="bf16")
        check(curve(bf16) != curve(fp32), "bf16 computes in float32")
        check(abs(loss(bf16) - loss(fp32)) < max(noise, 0.01), f"{loss(bf16)} is not {loss(fp32)}")
    parts, _ = run(WORDS, *SMALL, "--steps", "1000", "--batch", "12", "--accumulate", "4", ranks=2)
    check(abs(loss(parts) - loss(fp32)) < max(noise, 0.03), f"{loss(parts)} is not {loss(fp32)}")
    check(loss(fp32) < witten_bell(*split(LIST), 2) - 0.01, "nothing learnt")
    _, error = run(PLAIN, "--accumulate", "2", code=2)
    contains("without accel", error)


def test_rounds_the_batch_up():
    output, _ = run(WORDS, "--layers", "1", "--width", "8", "--progress", "lines", "--epochs", "1",
                    "--batch", "1000", ranks=3)
    train, _ = split(LIST)
    contains(f" of {len(train) // 1002} ", output)


def test_the_same_without_accel():
    """With every word in every batch the order does not matter: equal to rounding. With the
    batches that each makes of its own order: nearly."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "few.txt"
        path.write_text("\n".join(split(LIST)[0][::200] + split(LIST)[1][::200]))
        every = ["--batch", len(split(path)[0]), "--steps", "12", *SMALL, path]
        check_close(curve(run(WORDS, *every)[0]), curve(run(PLAIN, *every)[0]), 1e-4, "whole batches")
    options = [*SMALL, "--steps", "250", "--batch", "48"]
    accel, plain = (curve(run(program, *options)[0])["epoch", "1"] for program in (WORDS, PLAIN))
    check(abs(accel - plain) < 0.05, f"validation {accel} with accel, {plain} without")
    check(max(accel, plain) < witten_bell(*split(LIST), 2) - 0.01, f"{accel}, {plain}: nothing learnt")


def test_without_accel_links_no_accel():
    linked = subprocess.run(["ldd", PLAIN], text=True, capture_output=True, check=True).stdout
    contains("openblas", linked)
    check("accel" not in linked, linked)


def test_counts_beside_it():
    """On a part of the list, that counting in Python does not take long."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "part.txt"
        path.write_text("\n".join(sum(split(LIST), [])[::6]))
        output, _ = run(PLAIN, *SMALL, "--steps", "3", "--inventions", "0", path)
        trigram, four = re.search(r"a trigram has ([\d.]+), a 4-gram ([\d.]+)", output).groups()
        for n, found in ((3, trigram), (4, four)):
            check(abs(witten_bell(*split(path), n) - float(found)) < 1e-4, f"{n}-gram: {found}")


def test_inventions_are_new():
    output, _ = run(WORDS, *SMALL, "--steps", "40", "--inventions", "7")
    words = re.search(r"not in the list: (.*)", output).group(1).split()
    known = set().union(*split(LIST))
    equal(7, len(words))
    for word in words:
        check(re.fullmatch("[a-z]{4,15}", word) and word not in known, word)


def test_other_texts():
    """Case does not matter; what is no word of a-z is left out, and repeats count once."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "text.txt"
        words = [a + b + "a" for a in "bcdfghjklmnp" for b in ("a", "e", "i", "o", "u", "an", "er", "il", "op", "un")]
        path.write_text("don't x-ray 42 " + "a" * 200 + " " + " ".join(words) + "\n" +
                        " ".join(words).upper())
        train, valid = split(path)
        equal(len(words), len(train) + len(valid))
        output, _ = run(WORDS, *SMALL, "--batch", "10", "--epochs", "2", path)
        contains(f" of {len(train) // 10 * 2} ", output)
        path.write_text("three words only")
        _, error = run(WORDS, path, code=1)
        equal(1, error.count("\n"), error)
        contains(f"{path}: 3 different words", error)


def test_bad_values():
    for options, expected in (
            (["--epochs", "0"], "--epochs '0': expected a whole number from 1"),
            (["--epochs", "3x"], "--epochs '3x'"), (["--batch", "-1"], "--batch '-1'"),
            (["--batch", ""], "--batch ''"), (["--steps", "99999999999999999999"], "--steps '9999"),
            (["--lr", "nan"], "--lr 'nan': expected a number above 0"), (["--lr", "0.1.2"], "--lr"),
            (["--seed", "one"], "--seed 'one'"), (["--heads", "5"], "--heads 5 does not divide"),
            (["--progress", "fast"], "bar or lines"), (["--layers", "1e9"], "--layers '1e9'"),
            (["--frobnicate"], "--frobnicate"), (["a.txt", "b.txt"], "b.txt"),
            (["--batch", "90000"], "--batch 90000: /usr/share/dict/words has only")):
        for program in (WORDS, PLAIN):
            output, error = run(program, *options, code=2)
            equal(1, error.count("\n"), f"{options}: {error}")
            contains(expected, error)
            equal("", output)
    for path, why in (("/none/words.txt", "No such file"), ("/", "directory")):
        _, error = run(WORDS, path, code=1)
        equal(1, error.count("\n"), error)
        contains(why, error)


def test_help():
    output, _ = run(WORDS, "--help")
    for option in re.findall(r'\{"([a-z]+)", [01], NULL', (SOURCE / "examples/words/words.c").read_text()):
        contains(f"--{option}", output)
    check(max(map(len, output.splitlines())) <= 100, "the help is too wide")


def test_progress():
    """Lines in a pipe, without control characters; a bar when asked for, of rank 0 alone."""
    options = ["--steps", "20", "--batch", "20", "--layers", "1", "--width", "16"]
    output, error = run(WORDS, *options, ranks=2)
    check(not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", output + error), f"control characters in {output!r}")
    equal(1, len(re.findall("^step 1 of 20 ", output, re.MULTILINE)))
    output, _ = run(WORDS, *options, "--progress", "bar", ranks=2)
    contains("100% |" + "#" * 30 + "| loss ", output)


def logs_below(directory):
    return list(pathlib.Path(directory).glob("wandb/offline-run-*/run-*.wandb"))


def check_readable(directory):
    """The run is one that `accel report` reads, with what was logged in it."""
    logs = logs_below(directory)
    equal(1, len(logs), "runs")
    for name in (b"train_loss", b"words_per_second", b"width"):
        check(name in logs[0].read_bytes(), f"{name} is not in {logs[0]}")
    if os.path.exists(f"{BUILD}/libexec/accel/accel-report"):
        subprocess.run([ACCEL, "report", str(logs[0].parent), "-o", f"{directory}/report.html"],
                       check=True, capture_output=True, timeout=HANG)


def test_run_is_tracked():
    with tempfile.TemporaryDirectory() as directory:
        output, error = run(WORDS, *SMALL, "--steps", "30", ranks=2, cwd=directory, mode="offline")
        check_readable(directory)
        for text in ("valid_loss", "wandb sync"):
            contains(text, output + error)


def test_interrupted():
    with tempfile.TemporaryDirectory() as directory:
        job = Job("-n", "2", WORDS, "--steps", "1000000", *SMALL, cwd=directory,
                  env={"HOME": directory, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"})
        job.await_lines(1)
        until = time.monotonic() + HANG
        while not any(b"train_loss" in log.read_bytes() for log in logs_below(directory)):
            check(time.monotonic() < until, "nothing is logged")
            time.sleep(0.02)
        job.process.send_signal(signal.SIGINT)
        code, _, error = job.finish()
        equal(128 + signal.SIGINT, code, error)
        check_readable(directory)


def branches(text):
    """The program without accel, and with it."""
    plain, accel, state = [], [], None
    for line in text.splitlines():
        if re.match(r"#if(n?)def WORDS_WITHOUT_ACCEL", line):
            state = "plain" if line.startswith("#ifdef") else "accel"
        elif state and line == "#else":
            state = {"plain": "accel", "accel": "plain"}[state]
        elif state and line == "#endif":
            state = None
        else:
            if state != "accel":
                plain.append(line)
            if state != "plain":
                accel.append(line)
    return plain, accel


def test_guide_shows_the_difference():
    text = (SOURCE / "examples/words/words.c").read_text()
    loop = re.search(r"^static void train_epoch.*?^}\n", text, re.DOTALL | re.MULTILINE).group()
    lines = list(difflib.unified_diff(*branches(loop), lineterm="", n=100))[3:]
    shown = "```diff\n" + "\n".join(line.rstrip() for line in lines) + "\n```"
    page = (SOURCE / "docs/guide/words.md").read_text()
    check(shown in page, f"docs/guide/words.md does not show:\n{shown}")


if __name__ == "__main__":
    if not os.path.exists(WORDS):
        print("skipped: examples/words was not built: libopenblas-dev")
        raise SystemExit(77)
    main(globals())
