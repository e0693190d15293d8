# SPDX-License-Identifier: Apache-2.0
# test-timeout: 240
"""The shuffle is torch.randperm's, the epoch's order is SeedableRandomSampler's, and a rank's
batches are those of accelerate's own prepare_data_loader, for the versions installed here."""
import os
import random
import subprocess

import accelerate
import torch
from accelerate.data_loader import SeedableRandomSampler, prepare_data_loader
from torch.utils.data import DataLoader

PROGRAM = os.path.join(os.environ["ACCEL_BUILD_DIR"], "bin", "program-data_shuffle")


def run(*arguments):
    command = [PROGRAM] + [str(argument) for argument in arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def order(seed, epoch, samples):
    return [int(line) for line in run("order", seed, epoch, samples)]


def check_randperm():
    for samples in (0, 1, 2, 3, 10, 624, 625, 5000, 100003):
        for seed in (0, 1, 42, 2**31 + 5, 2**32 - 1, 2**32 + 7, 67280421310721):
            expected = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
            assert order(seed, 0, samples) == expected.tolist(), (samples, seed)


def check_sampler():
    for samples, seed in ((17, 3), (1000, 42), (4096, 67280421310721)):
        sampler = SeedableRandomSampler(range(samples), data_seed=seed)
        for epoch in range(3):  # the sampler advances by itself
            assert order(seed, epoch, samples) == list(sampler), (samples, seed, epoch)
        sampler.set_epoch(7)
        assert order(seed, 7, samples) == list(sampler), (samples, seed)


def check_default_seed():
    torch.manual_seed(67280421310721)  # as at the start of every program
    sampler = SeedableRandomSampler(range(100))
    assert order(67280421310721, 0, 100) == list(sampler)


def upstream_batches(samples, seed, epoch, batch_size, processes, flags):
    """Each rank's batches, as the prepared loader's sampler cuts them."""
    result = []
    for rank in range(processes):
        loader = DataLoader(
            range(samples), batch_size=batch_size, drop_last="d" in flags,
            sampler=SeedableRandomSampler(range(samples), data_seed=seed))
        prepared = prepare_data_loader(
            loader, device=torch.device("cpu"), num_processes=processes, process_index=rank,
            split_batches="s" in flags, even_batches="e" in flags, rng_types=[],
            put_on_device=False)
        prepared.set_epoch(epoch)
        result.append([batch.tolist() for batch in prepared])
    return result


def our_batches(*arguments):
    result = []
    for line in run("batches", *arguments):
        if line.startswith("rank"):
            result.append([])
        else:
            result[-1].append([int(word) for word in line.split()])
    return result


def check_loaders():
    choose = random.Random(1)
    for _ in range(60):
        processes = choose.randint(2, 4)
        flags = "".join(letter for letter in "sde" if choose.random() < 0.5)
        batch_size = choose.randint(1, 4) * (processes if "s" in flags else 1)
        case = (choose.randint(1, 60), choose.randint(0, 2**33), choose.randint(0, 3),
                batch_size, processes, flags or "-")
        assert our_batches(case[1], case[2], case[0], *case[3:]) == upstream_batches(*case), case


check_randperm()
check_sampler()
check_default_seed()
check_loaders()
print(f"equal to torch {torch.__version__} and accelerate {accelerate.__version__}")
