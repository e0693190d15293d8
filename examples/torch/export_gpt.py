# SPDX-License-Identifier: Apache-2.0
"""The GPT of gpt.hpp in Python: the same operations and the same names. As a program it writes what
gpt_c.c trains: gpt.pt, a TorchScript archive, and its weights, gpt.safetensors.

    python3 export_gpt.py FOLDER [length=64] [layers=3] [width=96] [heads=4] [seed=1]"""
import pathlib
import sys

import torch
from safetensors.torch import save_file
from torch import nn

BYTES = 256


class Block(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attention(self, x: torch.Tensor, future: torch.Tensor):
        rows, length, width = x.shape
        parts = self.qkv(x).view(rows, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        scores = parts[0] @ parts[1].transpose(-2, -1) / float(width // self.heads) ** 0.5
        seen = scores.masked_fill(future, float("-inf")).softmax(-1) @ parts[2]
        return self.out(seen.transpose(1, 2).reshape(rows, length, width))

    def forward(self, x: torch.Tensor, future: torch.Tensor):
        x = x + self.attention(self.norm1(x), future)
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class Gpt(nn.Module):
    def __init__(self, length: int = 64, layers: int = 3, width: int = 96, heads: int = 4, seed: int = 1):
        super().__init__()
        torch.manual_seed(seed)
        self.token, self.position = nn.Embedding(BYTES, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.token.weight, 0, 0.1)
        nn.init.normal_(self.position.weight, 0, 0.1)

    def forward(self, bytes: torch.Tensor):
        count = bytes.shape[1]
        future = torch.ones(count, count, dtype=torch.bool).triu(1)
        x = self.token(bytes) + self.position(torch.arange(count))
        for block in self.blocks:
            x = block(x, future)
        return nn.functional.linear(self.norm(x), self.token.weight)


def main():
    folder = pathlib.Path(sys.argv[1])
    options = {name: int(value) for name, value in (word.split("=") for word in sys.argv[2:])}
    model = Gpt(**options)
    torch.jit.script(model).save(folder / "gpt.pt")
    save_file(model.state_dict(), folder / "gpt.safetensors")


if __name__ == "__main__":
    main()
