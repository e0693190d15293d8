# SPDX-License-Identifier: Apache-2.0
"""test-timeout: 120
What C++ trains through accel/torch.hpp, by its optimizer or torch's, is what Python trains: the same
initial weights, read from the program's file, the same batches by formula, torch.optim.AdamW, 20
steps; on 1, 2 and 4 processes and with every libtorch of the build."""
import pathlib
import subprocess
import tempfile

import torch

from _torch_build import BUILD, versions
from _torch_models import ALLOWED, KINDS, difference, name_of, train


def read(path):
    return torch.load(path, weights_only=False)  # written by our own program


def trained(folder, expected):
    """(the initial values, what Python makes of them) of each model; computed once."""
    for kind in KINDS:
        for dtype in ALLOWED:
            name = name_of(kind, dtype)
            if name not in expected:
                before = read(folder / f"{name}.before")
                model = KINDS[kind]().to(dtype)
                model.load_state_dict(before, strict=False)  # but for running statistics
                expected[name] = before, train(model), ALLOWED[dtype]
    return expected


def compare(folder, expected):
    for name, (before, model, allowed) in trained(folder, expected).items():
        for optimizer in ("ours", "torch"):
            found = difference(model, read(folder / f"{name}.{optimizer}"))
            moved = difference(model, before)
            print(f"  {name} {optimizer}: {found:.2g}, of {moved:.2g} that training moved")
            assert found <= allowed < moved, (name, optimizer, found, allowed, moved)


def main():
    torch.set_num_threads(1)
    expected = {}
    for version in versions("test-torch-train"):
        program = BUILD / f"bin/test-torch-train-{version}"
        for ranks in (1, 2, 4):
            with tempfile.TemporaryDirectory(prefix="accel-torch-") as folder:
                subprocess.run([BUILD / "bin" / "accel", "launch", "-n", str(ranks), program, "--train", folder],
                               check=True, timeout=100)
                print(f"{program.name} on {ranks}:", flush=True)
                compare(pathlib.Path(folder), expected)


if __name__ == "__main__":
    main()
