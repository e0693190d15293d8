# SPDX-License-Identifier: Apache-2.0
# test-timeout: 240
"""Each rank's batches, step by step, and what gather_for_metrics collects, are those of stock
accelerate and torch's DataLoader in real processes: of map-style data, of streams that are sharded
or dispatched, of batches of varying size, and after skipping.

Where ours differs on purpose, what is compared is the real data instead:
- metrics after skipping, and of sharded streams, count no padding here, and do there;
- an epoch without steps is dispatched here, and raises there;
- of dispatched map-style data, skipping counts steps here, and the reader's batches there, of which a
  step takes as many as there are ranks: not asked for;
- ranks without data get empty batches here, which are not printed, where theirs have fewer steps."""
import json
import os
import random
import socket
import subprocess
import sys

PROGRAM = os.path.join(os.environ.get("ACCEL_BUILD_DIR", ""), "bin", "program-data_loaders")
CASES = 100


def configurations(processes):
    choose = random.Random(processes)
    for _ in range(CASES):
        kind = choose.choice(["map", "map", "stream", "batches"])
        flags = "".join(letter for letter in "sd" if choose.random() < 0.4)
        dispatches = kind != "batches" and choose.random() < 0.5
        if kind == "batches":
            flags = flags.replace("s", "")
        if dispatches:
            flags += "p"
        if dispatches or kind == "stream" or choose.random() < 0.6:
            flags += "e"  # they have no other choice there
        if kind == "map" and choose.random() < 0.5:
            flags += "h"
        batch_size = choose.randint(1, 4) * (processes if "s" in flags else 1)
        yield {"kind": kind, "samples": choose.randint(processes, 50), "batch_size": batch_size,
               "flags": flags or "-", "seed": choose.randint(0, 2**31),
               "skip": 0 if dispatches and kind == "map" else choose.choice([0, 0, 1, 2])}


# ---- stock, in a process of its own for each rank ----

def stock(rank, processes):
    import accelerate
    import torch
    from accelerate.data_loader import SeedableRandomSampler, prepare_data_loader, skip_first_batches
    from torch.utils.data import DataLoader, IterableDataset

    class Stream(IterableDataset):
        def __init__(self, samples):
            self.samples = samples

        def __iter__(self):
            return iter(range(self.samples))

    class Batches:
        def __init__(self, case):
            self.samples, self.seed, self.drop_last = case["samples"], case["seed"], "d" in case["flags"]

        def __iter__(self):
            at, batch = 0, 0
            while at < self.samples:
                size = 1 + (batch + self.seed) % 97 * 7 % 4
                yield list(range(at, min(at + size, self.samples)))
                at, batch = at + size, batch + 1

        def __len__(self):
            return sum(1 for _ in self)

    def loader_of(case):
        if case["kind"] == "batches":
            return DataLoader(range(case["samples"]), batch_sampler=Batches(case))
        options = {"batch_size": case["batch_size"], "drop_last": "d" in case["flags"]}
        if case["kind"] == "stream":
            return DataLoader(Stream(case["samples"]), **options)
        if "h" in case["flags"]:
            options["sampler"] = SeedableRandomSampler(range(case["samples"]), data_seed=case["seed"])
        return DataLoader(range(case["samples"]), **options)

    accelerator = accelerate.Accelerator(cpu=True)
    assert accelerator.num_processes == processes and accelerator.process_index == rank

    def run(case):
        flags = case["flags"]
        prepared = prepare_data_loader(
            loader_of(case), device=torch.device("cpu"), num_processes=processes, process_index=rank,
            split_batches="s" in flags, even_batches="e" in flags, dispatch_batches="p" in flags,
            put_on_device=True, rng_types=[])
        if case["skip"]:
            prepared = skip_first_batches(prepared, case["skip"])
        batches, metrics = [], []
        gathers = "e" in flags and case["kind"] != "batches"  # else they may wait for ever
        try:
            for batch in prepared:
                batches.append(batch.tolist())
                if gathers:
                    metrics += accelerator.gather_for_metrics(batch).tolist()
        except (ValueError, TypeError, UnboundLocalError):  # no batch at all
            batches = metrics = None
            accelerator.gradient_state.dataloader_references = [None]
        return {"batches": batches, "metrics": metrics if gathers else None}

    print(json.dumps([run(case) for case in configurations(processes)]))
    accelerator.end_training()


def start_stock(processes):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes),
             "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    # -P: modules of this file's folder must not hide stock ones
    return [subprocess.Popen([sys.executable, "-P", __file__, str(rank), str(processes)],
                             env=os.environ | world | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                             stdout=subprocess.PIPE, text=True) for rank in range(processes)]


# ---- ours ----

def ours(processes):
    lines = "".join(
        f"{case['kind']} {case['samples']} {case['batch_size']} {processes} {case['flags']} "
        f"{case['seed']} {case['skip']} {number % 4}\n"
        for number, case in enumerate(configurations(processes)))
    output = subprocess.run([PROGRAM], input=lines, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def check_metrics(case, processes, mine, theirs):
    """Every sample that was not skipped or dropped once, in the order of the epoch."""
    if "h" not in case["flags"] and case["kind"] != "batches":
        step = case["batch_size"] * (1 if "s" in case["flags"] else processes)
        samples = case["samples"] // step * step if "d" in case["flags"] else case["samples"]
        assert mine == list(range(min(case["skip"] * step, samples), samples)), (case, mine)
    padded = case["skip"] > 0 or (case["kind"] == "stream" and "p" not in case["flags"])
    if theirs is not None and not padded:
        assert mine == theirs, (case, mine, theirs)


def check(processes, results):
    compared = 0
    for case, mine, *theirs in zip(configurations(processes), ours(processes), *results):
        batches = [their["batches"] for their in theirs]
        if None in batches:
            assert not any(mine["ranks"]), (case, mine)
            continue
        assert mine["ranks"] == batches, (case, mine["ranks"], batches)
        check_metrics(case, processes, mine["metrics"], theirs[0]["metrics"])
        compared += 1
    assert compared > CASES * 0.9, compared
    return compared


def main():
    total = 0
    for processes in (2, 3):
        ranks = start_stock(processes)
        try:
            results = [json.loads(rank.communicate(timeout=200)[0]) for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
        assert all(rank.returncode == 0 for rank in ranks)
        total += check(processes, results)
    print(f"{total} configurations are equal")


if len(sys.argv) == 3:
    stock(int(sys.argv[1]), int(sys.argv[2]))
else:
    main()
