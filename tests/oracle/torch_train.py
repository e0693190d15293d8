# SPDX-License-Identifier: Apache-2.0
"""test-timeout: 120
What C++ trains through accel/torch.hpp is what Python trains: the same initial weights, read from
the program's file, the same batches by formula, torch.optim.AdamW, 20 steps; on 1, 2 and 4
processes and with every libtorch of the build."""
import os
import pathlib
import subprocess
import sys
import tempfile

import torch

BUILD = pathlib.Path(os.environ["ACCEL_BUILD_DIR"])
PARTS, ROWS, STEPS = 4, 3, 20
SKIPPED = 77


def wave(shape, phase):
    return torch.sin(torch.arange(torch.Size(shape).numel(), dtype=torch.float64) * 0.7 + phase).reshape(shape)


class Mlp(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(7, 33), torch.nn.Linear(33, 5)

    def batch(self, phase):
        return wave((ROWS, 7), phase), wave((ROWS, 5), phase + 1)

    def loss(self, x, y):
        return torch.nn.functional.mse_loss(self.fc2(torch.tanh(self.fc1(x))), y)


class Cnn(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(1, 6, 3, bias=False), torch.nn.BatchNorm2d(6)
        self.fc = torch.nn.Linear(216, 4)

    def batch(self, phase):
        return wave((ROWS, 1, 8, 8), phase), wave((ROWS, 4), phase + 1)

    def loss(self, x, y):
        return torch.nn.functional.mse_loss(self.fc(torch.tanh(self.norm(self.conv(x))).flatten(1)), y)


class Gpt(torch.nn.Module):
    VOCABULARY, WIDTH, HEADS, LENGTH = 19, 16, 2, 6

    def __init__(self):
        super().__init__()
        width = self.WIDTH
        self.token, self.position = torch.nn.Embedding(self.VOCABULARY, width), torch.nn.Embedding(self.LENGTH, width)
        self.norm1, self.norm2 = torch.nn.LayerNorm(width), torch.nn.LayerNorm(width)
        self.qkv, self.out = torch.nn.Linear(width, 3 * width, bias=False), torch.nn.Linear(width, width)
        self.up, self.down = torch.nn.Linear(width, 4 * width), torch.nn.Linear(4 * width, width)

    def batch(self, phase):
        def tokens(p):
            return ((wave((ROWS, self.LENGTH), p) + 1) * (self.VOCABULARY // 2)).long()
        return tokens(phase), tokens(phase + 1)

    def loss(self, tokens, following):
        mask = torch.ones(self.LENGTH, self.LENGTH).triu(1).bool()
        x = self.token(tokens) + self.position(torch.arange(self.LENGTH))
        q, k, v = self.qkv(self.norm1(x)).view(-1, self.LENGTH, 3, self.HEADS, self.WIDTH // self.HEADS).permute(
            2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) / (self.WIDTH // self.HEADS) ** 0.5
        seen = torch.softmax(scores.masked_fill(mask, -1e9), -1) @ v
        x = x + self.out(seen.transpose(1, 2).reshape(-1, self.LENGTH, self.WIDTH))
        x = x + self.down(torch.nn.functional.gelu(self.up(self.norm2(x))))
        logits = x @ self.token.weight.T
        return torch.nn.functional.cross_entropy(logits.reshape(-1, self.VOCABULARY), following.reshape(-1))


def train(module, dtype):
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2, weight_decay=0.1)
    for step in range(STEPS):
        for part in range(PARTS):
            x, y = (t.to(dtype) if t.is_floating_point() else t for t in module.batch(step * PARTS + part))
            (module.loss(x, y) / PARTS).backward()
        optimizer.step()
        optimizer.zero_grad()


def difference(module, values):
    largest = max(p.abs().max().item() for p in module.parameters())
    return max((p - values[n]).abs().max().item() for n, p in module.named_parameters()) / largest


def compare(folder):
    for name, kind, dtype, allowed in (("mlp", Mlp, torch.float64, 1e-11), ("mlp32", Mlp, torch.float32, 1e-6),
                                       ("cnn", Cnn, torch.float64, 1e-11), ("gpt", Gpt, torch.float64, 1e-11)):
        module = kind().to(dtype)
        # written by our own program
        before, after = (torch.load(folder / f"{name}.{when}", weights_only=False) for when in ("before", "after"))
        module.load_state_dict(before, strict=False)  # but for running statistics
        train(module, dtype)
        with torch.no_grad():
            found = difference(module, after)
            moved = difference(module, before)
        print(f"{name}: {found:.2g}, of {moved:.2g} that training moved")
        assert found <= allowed < moved, (name, found, allowed, moved)


def main():
    programs = sorted(BUILD.glob("bin/test-torch-train-*"))
    if not programs:
        print("skipped: no libtorch in this build")
        sys.exit(SKIPPED)
    for program in programs:
        for ranks in (1, 2, 4):
            with tempfile.TemporaryDirectory(prefix="accel-torch-") as folder:
                subprocess.run([BUILD / "bin" / "accel", "launch", "-n", str(ranks), program, "--train", folder],
                               check=True, timeout=100)
                print(f"{program.name} on {ranks}:")
                compare(pathlib.Path(folder))


if __name__ == "__main__":
    main()
