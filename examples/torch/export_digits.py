# SPDX-License-Identifier: Apache-2.0
"""Write what digits_c.c and infer_c.c work on: scikit-learn's handwritten digits, a small CNN as a
TorchScript archive, and its weights.

    python3 export_digits.py FOLDER"""
import pathlib
import sys

import torch
from safetensors.torch import save_file, save_model
from sklearn.datasets import load_digits


class Cnn(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(1, 32, 3, padding=1), torch.nn.BatchNorm2d(32), torch.nn.ReLU(),
            torch.nn.Conv2d(32, 64, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
            torch.nn.Flatten(), torch.nn.Linear(64 * 16, 128), torch.nn.ReLU(), torch.nn.Dropout(0.3),
            torch.nn.Linear(128, 10))

    def forward(self, x):
        if self.training:  # a pixel to any side: what is learned does not depend on the place
            x = torch.roll(x, [int(torch.randint(-1, 2, (1,))), int(torch.randint(-1, 2, (1,)))], [2, 3])
        return self.layers(x)


def main():
    folder = pathlib.Path(sys.argv[1])
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).div(16).reshape(-1, 1, 8, 8)
    save_file({"images": images.contiguous(), "labels": torch.tensor(digits.target, dtype=torch.int64)},
              folder / "digits.safetensors")
    torch.manual_seed(0)
    model = Cnn()
    torch.jit.script(model).save(folder / "cnn.pt")
    save_model(model, folder / "cnn.safetensors")


if __name__ == "__main__":
    main()
