# SPDX-License-Identifier: Apache-2.0
"""The comparison of a whole training program with itself on more processes."""
import os
import random
import re
import statistics
import subprocess

from arms import Missing, environment
from rows import Aim, Result, spread


def word_list(bench):
    """Syllables end to end: as long as words are, and not hard to learn."""
    choose, path = random.Random(1), bench.scratch / "words.txt"
    syllables = [first + second for first in "bdfgklmnprst" for second in "aeiou"]
    words = {"".join(choose.choices(syllables, k=choose.randrange(1, 6))) for _ in range(20000)}
    path.write_text("\n".join(sorted(words)) + "\n")
    return path


def words_per_second(bench, ranks, steps, batch, path):
    program = bench.build / "examples" / "words"
    if not program.exists():
        raise Missing(f"{program} is not there; it needs OpenBLAS")
    command = [bench.build / "bin" / "accel", "launch", "-n", ranks, "--no-prefix", program, "--steps", steps,
               "--batch", batch * ranks, "--inventions", 0, "--progress", "lines", path]
    run = subprocess.run([str(word) for word in command], text=True, capture_output=True, timeout=300,
                         stdin=subprocess.DEVNULL, cwd=bench.scratch,
                         env=environment(WANDB_MODE="disabled", OPENBLAS_NUM_THREADS="1"))
    found = re.search(r"^trained on .*: (\d+) words/s$", run.stdout, re.MULTILINE)
    if run.returncode != 0 or not found:
        raise Missing((run.stderr.strip().splitlines() or [f"exit {run.returncode}"])[-1][:160])
    return float(found.group(1))


def words_scaling(bench):
    """examples/words on 2 processes against 1, the same words a process"""
    steps, batch = bench.number(150, 5), bench.number(240, 24)
    if len(os.sched_getaffinity(0)) < 2:
        raise Missing("there is one core only")
    path, rates = word_list(bench), {1: [], 2: []}
    for _ in range(bench.rounds):
        for ranks, found in rates.items():
            found.append(words_per_second(bench, ranks, steps, batch, path))
    middle = {ranks: statistics.median(found) for ranks, found in rates.items()}
    yield Result("words-scaling", "words/s", middle[2], "twice that of 1 process", 2 * middle[1],
                 Aim("ratio", ">=", 0.9, ">=0.9x"), more_is_better=True,
                 settings=f"training of a GPT, {steps} steps of {batch} words a process, clipping, AdamW, cosine, "
                          "accel_log; as the program prints it",
                 spread={"ours": spread(rates[2], float), "peer": spread(rates[1], lambda rate: 2 * rate)})


ROWS = {"words-scaling": words_scaling}
