# SPDX-License-Identifier: Apache-2.0
"""programs/loader.c with torch's DataLoader: torch_loader.py SAMPLES LENGTH BATCH WORKERS"""
import sys
import time

import torch
from torch.utils.data import DataLoader, Dataset

from _round import Turns

samples, length, batch_size, workers = map(int, sys.argv[1:5])
torch.set_num_threads(1)


class Text(Dataset):
    def __init__(self):
        self.tokens = (torch.arange(samples + length + 1) % 50257).to(torch.int32)

    def __len__(self):
        return samples

    def __getitem__(self, index):
        return self.tokens[index:index + length], self.tokens[index + 1:index + 1 + length]


loader = DataLoader(Text(), batch_size=batch_size, shuffle=True, num_workers=workers,
                    persistent_workers=workers > 0)


def epoch():
    rows = total = 0
    start = time.monotonic()
    for tokens, target in loader:
        rows += len(tokens)
        total += tokens.sum() + target.sum()
    turns.sample(time.monotonic() - start)
    assert rows == samples and int(total) > 0


turns = Turns(0)
for _ in turns:
    epoch()
