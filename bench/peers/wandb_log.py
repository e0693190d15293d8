# SPDX-License-Identifier: Apache-2.0
"""programs/log.c with the stock client, in the mode of WANDB_MODE: wandb_log.py FOLDER SAMPLES"""
import sys
import time

import wandb

from _round import Turns

samples, step = int(sys.argv[2]), 0
run = wandb.init(project="bench", dir=sys.argv[1],
                 settings=wandb.Settings(silent=True, console="off"))
turns = Turns(0)
for _ in turns:
    for _ in range(samples):
        x = 1 / (step + 1)
        start = time.monotonic()
        run.log({"loss": x, "accuracy": 1 - x, "learning_rate": 1e-3 * x, "grad_norm": 3 * x}, step=step)
        turns.sample(time.monotonic() - start)
        step += 1
run.finish()
