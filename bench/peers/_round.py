# SPDX-License-Identifier: Apache-2.0
"""programs/round.h for the peers that are Python: the driver says when to measure."""
import os
import time


def open_pipe(path, access, mode):
    """Without the driver, which has both ends open, this fails or gives the end at once, where an
    ordinary open would wait for ever."""
    pipe = os.open(path, access | os.O_NONBLOCK)
    os.set_blocking(pipe, True)
    return open(pipe, mode)


class Turns:
    """for _ in Turns(rank): ...; turns.sample(seconds)"""

    def __init__(self, rank):
        folder = os.environ["BENCH_DIR"]
        self.samples = []
        self.out = open_pipe(f"{folder}/out", os.O_WRONLY, "w") if rank == 0 else None
        self.go = open_pipe(f"{folder}/go.{rank}", os.O_RDONLY, "r")

    def __iter__(self):
        while self.go.readline() == "go\n":
            self.samples = []
            yield
            if self.out:
                print(*(f"{s:.9g}" for s in self.samples), file=self.out, flush=True)

    def sample(self, seconds):
        self.samples.append(seconds)


def measure_allreduce(turns, tensor, reduce, barrier, samples, inner):
    """In each turn `samples` times the mean of `inner` calls; the first call is warm-up."""
    for _ in turns:
        tensor.zero_()
        reduce()
        for _ in range(samples):
            barrier()
            start = time.monotonic()
            for _ in range(inner):
                reduce()
            turns.sample((time.monotonic() - start) / inner)
