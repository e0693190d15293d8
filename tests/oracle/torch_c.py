# SPDX-License-Identifier: Apache-2.0
"""test-timeout: 240
What a C program trains through accel/torch.h is what Python trains: TorchScript archives that stock
PyTorch wrote, 20 steps of AdamW on the same global batches, on 1, 2 and 4 processes and with every
libtorch of the build. The weights it writes are read by stock safetensors and PyTorch, and give the
same outputs."""
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_model, save_file

BUILD = pathlib.Path(os.environ["ACCEL_BUILD_DIR"])
STEPS, PARTS, ROWS = 20, 4, 3
SKIPPED = 77


def wave(*shape):
    count = torch.Size(shape).numel()
    return torch.sin(torch.arange(count, dtype=torch.float64) * 0.7).reshape(shape)


class Mlp(torch.nn.Module):
    LOSS = "mse"

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(7, 33), torch.nn.Linear(33, 5)

    def forward(self, x):
        return self.fc2(torch.tanh(self.fc1(x)))

    @staticmethod
    def data():
        return wave(STEPS, PARTS, ROWS, 7), wave(STEPS, PARTS, ROWS, 5)


class Cnn(torch.nn.Module):
    LOSS = "mse"

    def __init__(self):
        super().__init__()
        # no bias, which the mean would take out
        self.conv, self.norm = torch.nn.Conv2d(1, 6, 3, bias=False), torch.nn.BatchNorm2d(6)
        self.fc = torch.nn.Linear(216, 4)

    def forward(self, x):
        return self.fc(torch.tanh(self.norm(self.conv(x))).flatten(1))

    @staticmethod
    def data():
        return wave(STEPS, PARTS, ROWS, 1, 8, 8), wave(STEPS, PARTS, ROWS, 4)


class Gpt(torch.nn.Module):
    """The head's weight is the embedding's; no bias of keys, whose gradient would be rounding alone."""
    LOSS = "module"

    def __init__(self):
        super().__init__()
        self.token, self.position = torch.nn.Embedding(19, 16), torch.nn.Embedding(6, 16)
        self.norm1, self.norm2 = torch.nn.LayerNorm(16), torch.nn.LayerNorm(16)
        self.qkv, self.out = torch.nn.Linear(16, 48, bias=False), torch.nn.Linear(16, 16)
        self.up, self.down = torch.nn.Linear(16, 64), torch.nn.Linear(64, 16)
        self.head = torch.nn.Linear(16, 19, bias=False)
        self.head.weight = self.token.weight
        self.register_buffer("mask", torch.ones(6, 6).triu(1).bool())

    def forward(self, tokens, following):
        x = self.token(tokens) + self.position(torch.arange(6))
        q, k, v = self.qkv(self.norm1(x)).view(-1, 6, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        seen = torch.softmax((q @ k.transpose(-1, -2) / 8 ** 0.5).masked_fill(self.mask, -1e9), -1) @ v
        x = x + self.out(seen.transpose(1, 2).reshape(-1, 6, 16))
        x = x + self.down(torch.nn.functional.gelu(self.up(self.norm2(x))))
        return torch.nn.functional.cross_entropy(self.head(x).reshape(-1, 19), following.reshape(-1))

    @staticmethod
    def data():
        tokens = ((wave(STEPS, PARTS, ROWS, 7) + 1) * 9).long()
        return tokens[..., :-1].contiguous(), tokens[..., 1:].contiguous()


def make(kind, dtype):
    torch.manual_seed(3)
    return kind().to(dtype)


def batches(kind, dtype):
    x, y = kind.data()
    return (x.to(dtype), y.to(dtype)) if x.is_floating_point() else (x, y)


def loss_of(model, x, y):
    return torch.nn.functional.mse_loss(model(x), y) if model.LOSS == "mse" else model(x, y)


def train(kind, dtype):
    model, (x, y) = make(kind, dtype), batches(kind, dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    for step in range(STEPS):
        for part in range(PARTS):
            (loss_of(model, x[step, part], y[step, part]) / PARTS).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def run(version, size, folder, loss):
    command = [BUILD / f"bin/program-torch-train-{version}", "model.pt", "data.safetensors", loss, str(PARTS),
               "out.safetensors", "out.pt"]
    if size > 1:
        command[:0] = [BUILD / "bin/accel", "launch", "-n", str(size), "--"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"{version} {size}: {done.stdout}{done.stderr}"
    return done.stdout


def difference(expected, found):
    largest = max(p.abs().max() for p in expected.parameters())
    return max((p - q).abs().max() for p, q in zip(expected.parameters(), found.parameters())) / largest


def check(kind, dtype, version, size, expected, folder):
    tolerance = 1e-11 if dtype == torch.float64 else 1e-6
    what = f"{kind.__name__} {dtype} libtorch {version} processes {size}"
    run(version, size, folder, kind.LOSS)
    found = kind().to(dtype)
    missing, unexpected = load_model(found, folder / "out.safetensors")
    assert not missing and not unexpected, f"{what}: {missing} {unexpected}"
    distance = difference(expected, found)
    assert distance <= tolerance, f"{what}: parameters differ by {distance:.3g}; allowed {tolerance}"
    x, y = (t[0, 0] for t in batches(kind, dtype))
    archive = torch.jit.load(folder / "out.pt")
    assert torch.equal(loss_of(found.eval(), x, y), loss_of_archive(archive.eval(), kind, x, y)), what
    assert len(list(archive.parameters())) == len(list(found.parameters())), what


def loss_of_archive(archive, kind, x, y):
    return archive(x, y) if kind.LOSS == "module" else torch.nn.functional.mse_loss(archive(x), y)


def main():
    torch.set_num_threads(1)
    versions = sorted(path.name.rsplit("-", 1)[1] for path in BUILD.glob("bin/program-torch-train-*"))
    if not versions:
        print("skipped: built without libtorch")
        sys.exit(SKIPPED)
    for kind in (Mlp, Cnn, Gpt):
        for dtype in (torch.float64, torch.float32) if kind is Mlp else (torch.float64,):
            with tempfile.TemporaryDirectory() as folder:
                folder = pathlib.Path(folder)
                torch.jit.script(make(kind, dtype)).save(folder / "model.pt")
                x, y = batches(kind, dtype)
                save_file({"x": x, "y": y}, folder / "data.safetensors")
                expected = train(kind, dtype)
                for version in versions:
                    for size in (1, 2, 4):
                        check(kind, dtype, version, size, expected, folder)
                        print(f"{kind.__name__} {dtype} libtorch {version}: {size} processes", flush=True)


if __name__ == "__main__":
    main()
