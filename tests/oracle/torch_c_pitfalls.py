# SPDX-License-Identifier: Apache-2.0
"""test-timeout: 120
What a C program does wrong with accel/torch.h is an error of one line, with every libtorch of the
build; the state of the random numbers is byte by byte Python's."""
import pathlib
import subprocess
import tempfile
import zipfile
from typing import Tuple

import torch
from safetensors.torch import load_file, save_file

import _torch_models
from _torch_build import BUILD, versions


class Mlp(_torch_models.Mlp):
    @torch.jit.export
    def times(self, x, factor: float) -> Tuple[torch.Tensor, Tuple[torch.Tensor, int]]:
        return x * factor, (x, 3)

    @torch.jit.export
    def throws(self) -> torch.Tensor:
        raise RuntimeError("on purpose")


class Odd(torch.nn.Module):
    """channels-last weights, a buffer that is not persistent, an index, a layer that is not used."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 2).to(memory_format=torch.channels_last)
        self.table, self.spare = torch.nn.Embedding(5, 4), torch.nn.Linear(2, 2)
        self.register_buffer("mask", torch.full((4,), 2.0), persistent=False)

    def forward(self, x):
        return (self.conv(x).mean((2, 3)) * self.mask).square().mean()

    @torch.jit.export
    def look_up(self, rows):
        return self.table(rows)

    @torch.jit.export
    def elsewhere(self):
        return self.mask.to("cuda")


def prepare(folder):
    torch.manual_seed(0)
    model = Mlp()
    torch.jit.script(model).save(folder / "mlp.pt")
    (folder / "bad.pt").write_bytes(b"PK\3\4 this is no archive" * 9)
    (folder / "text.pt").write_text("this is no archive")
    (folder / "cut.pt").write_bytes((folder / "mlp.pt").read_bytes()[:-300])
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("readme", "no archive of torch's")
    torch.save(model.state_dict(), folder / "state_dict.pt")
    odd = Odd()
    torch.jit.script(odd).save(folder / "odd.pt")
    save_file({name: value.contiguous() for name, value in odd.state_dict().items()}, folder / "odd.safetensors")
    weights = model.state_dict()
    save_file(weights, folder / "mlp.safetensors")
    save_file({name: value for name, value in weights.items() if name != "fc2.weight"}, folder / "part.safetensors")
    save_file(weights | {"fc1.bias": torch.zeros(34)}, folder / "wrong.safetensors")


def check_odd(folder):
    """The loss of what C trained, as stock PyTorch computes it, and what Python trains."""
    found, model = float((folder / "odd.loss").read_text()), Odd()
    image = torch.sin(torch.arange(48, dtype=torch.float32)).reshape(1, 3, 4, 4)
    archive = torch.jit.load(folder / "odd.out.pt")
    assert abs(archive(image).item() - found) <= 1e-5 * found
    model.load_state_dict(load_file(folder / "odd.safetensors"))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    for _ in range(10):
        model(image).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert abs(model(image).item() - found) <= 1e-4 * found, (model(image).item(), found)


def main():
    for version in versions("program-torch-pitfalls"):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            prepare(folder)
            run = subprocess.run([BUILD / f"bin/program-torch-pitfalls-{version}"], cwd=folder,
                                 capture_output=True, text=True, timeout=60)
            assert run.returncode == 0, f"libtorch {version}: {run.stderr}"
            print(run.stdout.strip())
            check_odd(folder)
            torch.manual_seed(7)
            assert (folder / "rng.bin").read_bytes() == bytes(torch.get_rng_state().tolist())


if __name__ == "__main__":
    main()
