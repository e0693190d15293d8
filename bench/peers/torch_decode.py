# SPDX-License-Identifier: Apache-2.0
"""programs/decode.c with torch's DataLoader: torch_decode.py PATH BATCH WORKERS"""
import mmap
import sys
import time
import zlib

import torch
from torch.utils.data import DataLoader, Dataset

from _round import Turns

batch_size, workers = map(int, sys.argv[2:4])
torch.set_num_threads(1)


class Images(Dataset):
    """The same file, mapped, and the same work: zlib inflates, bytes become -1 to 1."""

    def __init__(self, path):
        self.path, self.file = path, None
        with open(path, "rb") as file:
            self.samples = int.from_bytes(file.read(8), "little")
            self.offsets = torch.frombuffer(bytearray(file.read(8 * (self.samples + 1))),
                                            dtype=torch.int64).tolist()

    def __len__(self):
        return self.samples

    def __getitem__(self, index):
        if self.file is None:  # in the worker
            with open(self.path, "rb") as file:
                self.file = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        pixels = zlib.decompress(self.file[self.offsets[index]:self.offsets[index + 1]])
        image = torch.frombuffer(pixels, dtype=torch.uint8).view(3, 64, 64)
        return image.to(torch.float32).mul_(1 / 127.5).sub_(1)


loader = DataLoader(Images(sys.argv[1]), batch_size=batch_size, shuffle=True, num_workers=workers,
                    persistent_workers=workers > 0)


def epoch():
    rows, total = 0, 0.0
    start = time.monotonic()
    for images in loader:
        rows += len(images)
        total += images[:, 0, 0, 0].sum().item()
    turns.sample(time.monotonic() - start)
    assert rows == len(loader.dataset) and -rows <= total <= rows


turns = Turns(0)
for _ in turns:
    epoch()
