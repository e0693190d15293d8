# SPDX-License-Identifier: Apache-2.0
"""test-timeout: 240
The examples in C on scikit-learn's handwritten digits: a CNN exported from Python learns them on one
and on two processes; stock PyTorch reads what was trained; and four processes that have the
weights once answer in order what Python answers."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file

SOURCE, BUILD = pathlib.Path(os.environ["ACCEL_SOURCE_DIR"]), pathlib.Path(os.environ["ACCEL_BUILD_DIR"])
WANTED = 0.97
SKIPPED = 77


def launch(ranks, folder, program, *arguments):
    command = [BUILD / "bin/accel", "launch", "-n", str(ranks), "--", BUILD / "examples" / program, *arguments]
    return subprocess.run(command, cwd=folder, check=True, text=True, stdout=subprocess.PIPE, timeout=200).stdout


def check_training(folder, ranks):
    found = [float(number) for number in re.findall(r"accuracy ([\d.]+)", launch(ranks, folder, "torch-digits_c"))]
    print(f"{ranks} processes: accuracy {found[-1]}")
    assert len(found) == 30 and found[-1] >= WANTED, found
    digits, model = load_file(folder / "digits.safetensors"), torch.jit.load(folder / "trained.pt").eval()
    images, labels = digits["images"], digits["labels"]
    test = len(images) * 4 // 5
    with torch.no_grad():
        answers = model(images).argmax(1)
    accuracy = (answers[test:] == labels[test:]).float().mean().item()
    assert abs(accuracy - found[-1]) < 1e-4, (accuracy, found[-1])
    weights = load_file(folder / "trained.safetensors")
    for name, value in model.state_dict().items():
        assert torch.equal(value, weights[name]), name
    return answers.tolist()


def main():
    if not (BUILD / "examples/torch-digits_c").exists():
        print("skipped: no libtorch in this build")
        sys.exit(SKIPPED)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="accel-digits-") as name:
        folder = pathlib.Path(name)
        subprocess.run([sys.executable, SOURCE / "examples/torch/export_digits.py", folder], check=True)
        for ranks in (1, 2):
            answers = check_training(folder, ranks)
        output = launch(4, folder, "torch-infer_c", "trained.pt", "digits.safetensors")
        assert [int(label) for label in re.findall(r'"label": (\d)', output)] == answers, output[:200]
        print("4 processes answer as Python does")


if __name__ == "__main__":
    main()
