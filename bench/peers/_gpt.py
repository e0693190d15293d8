# SPDX-License-Identifier: Apache-2.0
"""The GPT that all arms of torch-gpt train, and what they read: as a program it writes that.

    _gpt.py FOLDER WIDTH LAYERS VOCABULARY CONTEXT ROWS

    FOLDER/weights.safetensors  the first weights
    FOLDER/gpt.pt               the same, with the module, as a TorchScript archive
    FOLDER/batches.safetensors  "tokens", int64 [batches, ranks, 2, ROWS, CONTEXT]: inputs, targets

The head is the token's embedding. Attention is torch's own operator: that of a user who wants speed,
and in all arms the same kernel. There is no dropout, so that the losses can be compared."""
import sys

import torch
import torch.nn.functional as F
from torch import nn

HEAD = 64
BATCHES, RANKS = 64, 2


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.head = HEAD
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        rows, length, width = x.size(0), x.size(1), x.size(2)
        parts = self.qkv(self.norm1(x)).view(rows, length, 3, width // self.head, self.head).permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(rows, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    def __init__(self, width, layers, vocabulary, context):
        super().__init__()
        self.token, self.position = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens, targets):
        x = self.token(tokens) + self.position.weight
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.token.weight)
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1))


def of_weights(weights):
    """The module that these weights are of."""
    vocabulary, width = weights["token.weight"].shape
    layers = sum(name.endswith(".qkv.weight") for name in weights)
    net = GPT(width, layers, vocabulary, len(weights["position.weight"]))
    net.load_state_dict(weights)
    return net


def write(folder, width, layers, vocabulary, context, rows):
    from safetensors.torch import save_file

    torch.manual_seed(1)
    net = GPT(width, layers, vocabulary, context)
    for module in net.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
    save_file(net.state_dict(), f"{folder}/weights.safetensors")
    torch.jit.script(net).save(f"{folder}/gpt.pt")
    # Few tokens are frequent: there is something to learn from the first step on.
    tokens = (torch.rand(BATCHES, RANKS, 2, rows, context) ** 3 * vocabulary).long()
    save_file({"tokens": tokens}, f"{folder}/batches.safetensors")


if __name__ == "__main__":
    write(sys.argv[1], *(int(word) for word in sys.argv[2:]))
