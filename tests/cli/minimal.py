# SPDX-License-Identifier: Apache-2.0
# test-timeout: 240
"""The README's program on real words: it learns more than a bigram knows, the same on any
number of processes, and leaves a run."""
import glob
import math
import os
import re
import subprocess
import tempfile

from _jobs import BUILD, environment

WORDS = "/usr/share/dict/words"
MINIMAL = f"{BUILD}/examples/minimal"


def split(path):
    """As the program does: words of a-z; each tenth is for validation."""
    with open(path, encoding="utf-8") as file:
        words = [w for w in (line.rstrip("\n") for line in file) if re.fullmatch("[a-z]+", w)]
    return [w for k, w in enumerate(words) if k % 10], words[::10]


def bigram_loss(train, valid):
    """Of the best guess from one letter before: counts, each plus one."""
    counts = {}
    for word in train:
        for pair in zip("^" + word, word + "$"):
            counts[pair] = counts.get(pair, 0) + 1
    totals = {}
    for (before, _), count in counts.items():
        totals[before] = totals.get(before, 0) + count
    losses = [-math.log((counts.get(pair, 0) + 1) / (totals[pair[0]] + 27))
              for word in valid for pair in zip("^" + word, word + "$")]
    return sum(losses) / len(losses)


def validation_losses(command, directory):
    run = subprocess.run(command, cwd=directory, env=environment(HOME=directory), text=True,
                         capture_output=True, timeout=200)
    assert run.returncode == 0, run.stdout + run.stderr
    return [float(x) for x in re.findall(r"validation loss ([0-9.]+)", run.stdout)]


def main():
    with tempfile.TemporaryDirectory() as directory:
        alone = validation_losses([MINIMAL, WORDS, "1"], directory)
        runs = glob.glob(f"{directory}/wandb/offline-run-*/run-*.wandb")
        assert len(runs) == 1 and os.path.getsize(runs[0]) > 100000, runs
        two, three = (validation_losses([f"{BUILD}/bin/accel", "launch", "-n", str(n), MINIMAL,
                                         WORDS, "1"], directory) for n in (2, 3))
        bigram = bigram_loss(*split(WORDS))
        print(f"validation loss: 1 process {alone}, 2 {two}, 3 {three}; bigram {bigram:.4f}")
        assert len(alone) == len(two) == len(three) == 1
        assert alone[0] < bigram - 0.2
        assert abs(two[0] - alone[0]) < 1e-4 and abs(three[0] - alone[0]) < 1e-4
        missing = subprocess.run([MINIMAL, f"{directory}/none.txt"], cwd=directory, text=True,
                                 capture_output=True, env=environment(), timeout=60)
        assert missing.returncode == 1 and missing.stderr.count("\n") == 1, missing.stderr
        assert "none.txt" in missing.stderr
    print("ok")


if __name__ == "__main__":
    main()
