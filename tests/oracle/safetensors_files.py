# SPDX-License-Identifier: Apache-2.0
"""Files of the stock safetensors are read and written again to the same bytes; files that stock
refuses are refused."""
import json
import os
import pathlib
import random
import struct
import subprocess
import tempfile

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

PROGRAM = f"{os.environ['ACCEL_BUILD_DIR']}/bin/program-safetensors"
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int32, torch.int64,
          torch.uint8, torch.bool]


def copy(source, target):
    return subprocess.run([PROGRAM, str(source), str(target)], capture_output=True, text=True,
                          timeout=30)


def check_round_trips(folder):
    rng = random.Random(3)
    for case in range(30):
        tensors = {}
        for index in range(rng.randrange(0, 12)):
            shape = [rng.choice([0, 1, 2, 3, 7]) for _ in range(rng.randrange(0, 5))]
            tensors[rng.choice(["w", "ä.b", "layer/", "x y"]) + str(index)] = (
                torch.randn(shape) * 50).to(rng.choice(DTYPES))
        save_file(tensors, folder / "in", metadata={"format": "pt"})
        done = copy(folder / "in", folder / "out")
        assert done.returncode == 0, done.stderr
        assert (folder / "in").read_bytes() == (folder / "out").read_bytes(), (case, tensors)
        loaded = load_file(folder / "out")
        assert loaded.keys() == tensors.keys()
        assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


def refused_by_stock(path):
    try:
        with safe_open(path, framework="pt"):
            return False
    except SafetensorError:
        return True


def check_garbage(folder):
    """Random damage: whatever stock refuses to open, we refuse, and never crash."""
    rng = random.Random(11)
    save_file({"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(4, dtype=torch.uint8)},
              folder / "good", metadata={"format": "pt"})
    good = (folder / "good").read_bytes()
    length = struct.unpack("<Q", good[:8])[0]
    refused = 0
    for _ in range(300):
        damaged = bytearray(good)
        if rng.random() < 0.3:
            del damaged[rng.randrange(len(damaged)):]
        for _ in range(rng.randrange(0, 4)):
            if damaged:
                damaged[rng.randrange(min(len(damaged), 8 + length))] = rng.randrange(256)
        (folder / "bad").write_bytes(damaged)
        done = copy(folder / "bad", folder / "out")
        assert done.returncode in (0, 1) and "Sanitizer" not in done.stderr, (damaged, done)
        if refused_by_stock(folder / "bad"):
            refused += 1
            assert done.returncode == 1, (bytes(damaged), done)
    assert refused > 100, refused


def check_index(folder):
    header = json.dumps({"a": {"dtype": "F32", "shape": [1] * 9, "data_offsets": [0, 4]}}).encode()
    (folder / "deep").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    done = copy(folder / "deep", folder / "out")
    assert done.returncode == 1 and "9 dimensions" in done.stderr, done


with tempfile.TemporaryDirectory() as name:
    check_round_trips(pathlib.Path(name))
    check_garbage(pathlib.Path(name))
    check_index(pathlib.Path(name))
