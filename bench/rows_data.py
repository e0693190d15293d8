# SPDX-License-Identifier: Apache-2.0
"""The comparisons of data loaders."""
import os
import random
import struct
import zlib

from arms import Arm, Comparison
from rows import AHEAD, HERE, Aim, compare


def loader(bench):
    """the data loader with a callback against torch's DataLoader"""
    samples, length, batch = bench.number(20000, 500), 256, 32

    def rate(seconds):
        return samples / seconds / 1e3

    with Comparison(bench.rounds) as c:
        c.add("accel", bench.ours("accel", 1, "loader", samples, length, batch))
        for workers in (2, 0):
            c.add_peer(f"torch DataLoader, {workers} workers", Arm(
                "DataLoader", [bench.oracle / "bin" / "python", HERE / "peers" / "torch_loader.py", samples,
                               length, batch, workers]))
        c.run()
        for workers in (2, 0):
            yield compare(c, "loader", "accel", f"torch DataLoader, {workers} workers", "k samples/s",
                          rate, aim=AHEAD, more_is_better=True, version=bench.torch_version(),
                          settings=f"{samples} samples of 2 x {length} tokens, batches of {batch}, shuffled; "
                                   "ours: one thread that reads ahead")


def photograph(choose):
    """Slopes with noise: deflates to about a third, and is slow to inflate."""
    start = choose.randrange(256)
    return bytes((start + x // 3 + choose.randrange(4)) % 256 for x in range(3 * 64 * 64))


def drawing(choose):
    """A few strokes on a white ground: deflates to a few per cent, and is quick to inflate."""
    pixels = bytearray(b"\xff" * (3 * 64 * 64))
    for _ in range(12):
        start, length = choose.randrange(len(pixels) - 64), choose.randrange(8, 64)
        pixels[start:start + length] = bytes([choose.randrange(256)]) * length
    return bytes(pixels)


def image_file(bench, samples, make):
    """Pictures of 3 x 64 x 64 bytes as programs/decode.c reads them."""
    path, choose = bench.scratch / f"{make.__name__}s", random.Random(1)
    packed = [zlib.compress(make(choose), 6) for _ in range(64)]
    offsets, at = [], 8 * (samples + 2)
    for number in range(samples + 1):
        offsets.append(at)
        at += len(packed[number % len(packed)])
    with open(path, "wb") as file:
        file.write(struct.pack(f"<{samples + 2}q", samples, *offsets))
        file.writelines(packed[number % len(packed)] for number in range(samples))
    return path


def loader_decode(bench):
    """the data loader with samples that are decoded, 2 workers on both sides"""
    samples, batch = bench.number(20000, 300), 64

    def rate(seconds):
        return samples / seconds / 1e3

    for make in (drawing, photograph):
        path = image_file(bench, samples, make)
        with Comparison(bench.rounds) as c:
            c.add("accel", bench.ours("accel", 1, "decode", path, batch, 2))
            c.add_peer("torch DataLoader, 2 workers", Arm(
                "DataLoader",
                [bench.oracle / "bin" / "python", HERE / "peers" / "torch_decode.py", path, batch, 2]))
            c.run()
            yield compare(c, f"loader-decode/{make.__name__}s", "accel", "torch DataLoader, 2 workers",
                          "k samples/s", rate, aim=Aim("ratio", ">=", 5.0, ">=5x"), more_is_better=True,
                          version=bench.torch_version(),
                          settings=f"{samples} samples of 3 x 64 x 64 bytes, inflated by zlib and made "
                                   f"float32, batches of {batch}, shuffled; 2 workers")


def loader_records(bench):
    """records from the page cache against a bare copy of the mapped file"""
    record, batch = 12288, 64
    size = bench.number(256 << 20, 4 << 20) // record * record
    path = bench.scratch / "records"
    with open(path, "wb") as file:
        block = os.urandom(1 << 20)
        for _ in range(size // len(block) + 1):
            file.write(block)
        file.truncate(size)

    def rate(seconds):
        return size / seconds / 1e9

    with Comparison(bench.rounds) as c:
        c.add("accel", bench.ours("accel", 1, "records", "loader", path, record, batch))
        c.add("memcpy", bench.ours("memcpy", 1, "records", "copy", path, record, batch))
        c.run()
        yield compare(c, "loader-records", "accel", "memcpy", "GB/s", rate, more_is_better=True,
                      settings=f"{size >> 20} MiB in records of {record} bytes, in the page cache, batches of "
                               f"{batch}, shuffled; ours: one worker; memcpy: of the mapped file, one thread")


ROWS = {"loader": loader, "loader-decode": loader_decode, "loader-records": loader_records}
