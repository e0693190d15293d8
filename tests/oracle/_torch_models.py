# SPDX-License-Identifier: Apache-2.0
"""What the tests of PyTorch in C and C++ train, as stock PyTorch has it: the models, data and
training of tests/torch/models.hpp. Every parameter has a gradient that is not zero by structure, or
Adam would turn rounding into steps."""
import torch

STEPS, PARTS, ROWS = 20, 4, 3


def wave(shape, phase):
    return torch.sin(torch.arange(torch.Size(shape).numel(), dtype=torch.float64) * 0.7 + phase).reshape(shape)


class Mlp(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(7, 33), torch.nn.Linear(33, 5)

    def forward(self, x):
        return self.fc2(torch.tanh(self.fc1(x)))

    def loss(self, x, y):
        return torch.nn.functional.mse_loss(self(x), y)

    @staticmethod
    def batch(phase):
        return wave((ROWS, 7), phase), wave((ROWS, 5), phase + 1)


class Cnn(torch.nn.Module):
    def __init__(self):
        super().__init__()
        # no bias, which the mean would take out
        self.conv, self.norm = torch.nn.Conv2d(1, 6, 3, bias=False), torch.nn.BatchNorm2d(6)
        self.fc = torch.nn.Linear(216, 4)

    def forward(self, x):
        return self.fc(torch.tanh(self.norm(self.conv(x))).flatten(1))

    def loss(self, x, y):
        return torch.nn.functional.mse_loss(self(x), y)

    @staticmethod
    def batch(phase):
        return wave((ROWS, 1, 8, 8), phase), wave((ROWS, 4), phase + 1)


class Gpt(torch.nn.Module):
    """One block. The head's weight is the embedding's; no bias of keys, whose gradient is zero."""

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

    def loss(self, tokens, following):
        return self(tokens, following)

    @staticmethod
    def batch(phase):
        def tokens(at):
            return ((wave((ROWS, 6), at) + 1) * 9).long()
        return tokens(phase), tokens(phase + 1)


KINDS = {"mlp": Mlp, "cnn": Cnn, "gpt": Gpt}
# by how much of the largest parameter 20 steps may differ
ALLOWED = {torch.float64: 1e-11, torch.float32: 1e-6}


def name_of(kind, dtype):
    return f"{kind}-{str(dtype).removeprefix('torch.')}"


def batch_of(model, step, part):
    """In the model's type."""
    dtype = next(model.parameters()).dtype
    return [t.to(dtype) if t.is_floating_point() else t for t in model.batch(step * PARTS + part)]


def train(model):
    """Eager, on one process."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    for step in range(STEPS):
        for part in range(PARTS):
            (model.loss(*batch_of(model, step, part)) / PARTS).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def difference(model, values):
    """max |a - b| / max |a| of the parameters."""
    with torch.no_grad():
        largest = max(p.abs().max().item() for p in model.parameters())
        return max((p - values[n]).abs().max().item() for n, p in model.named_parameters()) / largest
