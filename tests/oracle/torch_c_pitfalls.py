# SPDX-License-Identifier: Apache-2.0
"""test-timeout: 120
What a C program does wrong with accel/torch.h is an error of one line, with every libtorch of the
build; the state of the random numbers is byte by byte Python's."""
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Tuple

import torch
from safetensors.torch import save_file

BUILD = pathlib.Path(os.environ["ACCEL_BUILD_DIR"])
SKIPPED = 77


class Mlp(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(7, 33), torch.nn.Linear(33, 5)

    def forward(self, x):
        return self.fc2(torch.tanh(self.fc1(x)))

    @torch.jit.export
    def times(self, x, factor: float) -> Tuple[torch.Tensor, Tuple[torch.Tensor, int]]:
        return x * factor, (x, 3)

    @torch.jit.export
    def throws(self) -> torch.Tensor:
        raise RuntimeError("on purpose")


def prepare(folder):
    torch.manual_seed(0)
    model = Mlp()
    torch.jit.script(model).save(folder / "mlp.pt")
    (folder / "bad.pt").write_bytes(b"PK\3\4 this is no archive" * 9)
    weights = model.state_dict()
    save_file(weights, folder / "mlp.safetensors")
    save_file({name: value for name, value in weights.items() if name != "fc2.weight"}, folder / "part.safetensors")
    save_file(weights | {"fc1.bias": torch.zeros(34)}, folder / "wrong.safetensors")


def main():
    programs = sorted(BUILD.glob("bin/program-torch-pitfalls-*"))
    if not programs:
        print("skipped: built without libtorch")
        sys.exit(SKIPPED)
    for program in programs:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            prepare(folder)
            run = subprocess.run([program], cwd=folder, capture_output=True, text=True, timeout=60)
            assert run.returncode == 0, f"{program}: {run.stderr}"
            print(run.stdout.strip())
            torch.manual_seed(7)
            assert (folder / "rng.bin").read_bytes() == bytes(torch.get_rng_state().tolist())


if __name__ == "__main__":
    main()
