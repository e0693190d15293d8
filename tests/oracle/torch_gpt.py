# SPDX-License-Identifier: Apache-2.0
"""test-timeout: 300
The small GPT of the examples, in C++ and in C, on one and on two processes: it learns to write better
than letters by their frequencies; equal weights and equal batches give equal losses, wherever the
model came from and on however many processes; Python reads what was trained, and judges it alike."""
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import torch
from safetensors.torch import load_file

SOURCE, BUILD = pathlib.Path(os.environ["ACCEL_SOURCE_DIR"]), pathlib.Path(os.environ["ACCEL_BUILD_DIR"])
EXAMPLES = BUILD / "examples"
TEXT = SOURCE / "LICENSE"
LENGTH, BATCH, EPOCHS, SAMPLE = 32, 16, 12, 40
SIZE = {"length": LENGTH, "layers": 2, "width": 32, "heads": 2}
FACTOR = 0.8  # of what frequencies alone take, for the text that it learns from
EARLY = 20    # steps after which rounding has not grown yet
SKIPPED = 77


def launch(ranks, program, *arguments):
    return [str(word) for word in (BUILD / "bin/accel", "launch", "--no-prefix", "-n", ranks, "--",
                                   EXAMPLES / program, *arguments)]


def options(**changed):
    found = {**SIZE, "batch": BATCH, "epochs": EPOCHS, "lr": 0.01, "sample": SAMPLE, "prompt": "You ", **changed}
    return [word for name, value in found.items() for word in (f"--{name}", str(value))] + [TEXT]


def rows(folder):
    """What the tracker wrote: the losses of the steps, and the bits of the epochs."""
    written, = folder.glob("runs/gpt/*/history.jsonl")
    found = [json.loads(line) for line in written.read_text().splitlines()]
    return ([row["train_loss"] for row in found if "train_loss" in row],
            [row["bits_per_byte"] for row in found if "bits_per_byte" in row])


def check_output(text, epochs, last):
    lines = text.split("\n", epochs)
    assert len(lines) == epochs + 1 and all(" bits per byte" in line for line in lines[:epochs]), text
    assert f"{last:.3f}"[:-1] in lines[epochs - 1], (last, lines[epochs - 1])
    assert lines[epochs].startswith("You ") and len(lines[epochs]) == 4 + SAMPLE + 1, lines[epochs]


def run(name, ranks, program, **changed):
    """Losses and bits of a run in a folder of its own."""
    folder = pathlib.Path(name)
    folder.mkdir()
    result = subprocess.run(launch(ranks, program, *options(**changed)), cwd=folder, check=True,
                            stdout=subprocess.PIPE, timeout=200, env={**os.environ, "WANDB_MODE": "offline"})
    losses, bits = rows(folder)
    epochs = changed.get("epochs", EPOCHS)
    assert len(bits) == epochs and len(losses) % epochs == 0, (len(losses), bits)
    check_output(result.stdout.decode("latin-1"), epochs, bits[-1])
    print(f"{name}: loss {losses[0]:.4f} to {losses[-1]:.4f}, {bits[-1]:.4f} bits per byte held out")
    return losses, bits


def split_text():
    text = TEXT.read_bytes()
    train = len(text) - len(text) // 10
    return text[:train], text[train:]


def unigram(counted, judged):
    """Bits per byte of `judged` by the frequencies of `counted`, each byte once more."""
    counts = [counted.count(byte) + 1 for byte in range(256)]
    return -sum(math.log2(counts[byte] / sum(counts)) for byte in judged) / len(judged)


def check_learned(losses, bits):
    train, held_out = split_text()
    epoch = losses[-(len(losses) // EPOCHS):]
    found, frequencies = sum(epoch) / len(epoch) / math.log(2), unigram(train, train)
    print(f"{found:.3f} bits per byte of the text that it learned, {bits[-1]:.3f} of the other; "
          f"frequencies take {frequencies:.3f} and {unigram(train, held_out):.3f}")
    assert found < FACTOR * frequencies, (found, frequencies)
    assert bits[-1] < unigram(train, held_out), bits
    assert losses[0] > math.log(256), losses[0]  # it knew nothing


def check_equal(one, other):
    """Losses and bits: the same to rounding, which training lets grow."""
    for a, b in zip(one[0][:EARLY], other[0][:EARLY], strict=True):
        assert abs(a - b) < 2e-5 * a, (one[0][:EARLY], other[0][:EARLY])
    assert len(one[0]) == len(other[0])
    assert abs(one[1][-1] - other[1][-1]) < 0.05 * one[1][-1], (one[1], other[1])


def check_in_python(state, bits):
    """The weights in stock PyTorch take as many bits for the text that was held out."""
    sys.path.insert(0, str(SOURCE / "examples/torch"))
    from export_gpt import Gpt
    model = Gpt(**SIZE)
    model.load_state_dict(state)
    text = torch.tensor(list(split_text()[1]))
    windows = (len(text) - 1) // LENGTH
    with torch.no_grad():
        logits = model(text[:windows * LENGTH].view(windows, LENGTH)).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, text[1:windows * LENGTH + 1]).item()
    assert abs(loss / math.log(2) - bits[-1]) < 1e-4, (loss / math.log(2), bits[-1])


def check_interrupt(program):
    """^C ends a run in order: the step, the text, the tracker."""
    folder = pathlib.Path("interrupted")
    folder.mkdir()
    process = subprocess.Popen(launch(2, program, *options(epochs=10000)), cwd=folder, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 100
    while not any(path.stat().st_size for path in folder.glob("runs/gpt/*/history.jsonl")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=100)[0].decode("latin-1")
    assert process.returncode == 130, process.returncode
    losses, bits = rows(folder)
    assert losses and bits, (losses, bits)
    check_output(output, len(bits), bits[-1])
    print(f"^C ended {program} after {len(losses)} steps, with {bits[-1]:.4f} bits per byte")


def check_command_line():
    for program in ("torch-gpt", "torch-gpt_c"):
        usage = subprocess.run([EXAMPLES / program, "--help"], check=True, text=True, stdout=subprocess.PIPE).stdout
        assert usage.startswith(f"Usage: {program}") and ("--archive" in usage) == (program == "torch-gpt_c"), usage
        for wrong, said in ((["--batch", "0x"], "'0x': expected a whole number from 1"),
                            (["--heads", "5"], "--heads 5 does not divide"),
                            (["--lr", "-1"], "expected a number above 0"), (["--depth", "1"], "--depth")):
            result = subprocess.run([EXAMPLES / program, *wrong], text=True, stderr=subprocess.PIPE)
            assert result.returncode == 2 and said in result.stderr, result


def main():
    if not (EXAMPLES / "torch-gpt").exists():
        print("skipped: no libtorch in this build")
        sys.exit(SKIPPED)
    torch.set_num_threads(1)
    check_command_line()
    with tempfile.TemporaryDirectory(prefix="accel-gpt-") as name:
        os.chdir(name)
        subprocess.run([sys.executable, SOURCE / "examples/torch/export_gpt.py", ".",
                        *(f"{word}={value}" for word, value in SIZE.items())], check=True)
        archive, weights = (pathlib.Path(f"gpt.{kind}").resolve() for kind in ("pt", "safetensors"))
        cpp = run("cpp-1", 1, "torch-gpt", save="trained.safetensors")
        check_learned(*cpp)
        check_in_python(load_file("cpp-1/trained.safetensors"), cpp[1])
        check_equal(cpp, run("cpp-2", 2, "torch-gpt", log_with="jsonl,wandb"))
        assert any(b"bits_per_byte" in path.read_bytes() for path in pathlib.Path("cpp-2/wandb").rglob("*.wandb"))
        check_equal(cpp, run("library-2", 2, "torch-gpt_c"))
        script = run("archive-1", 1, "torch-gpt_c", archive=archive, save="trained.safetensors")
        check_learned(*script)
        check_in_python(load_file("archive-1/trained.safetensors"), script[1])
        check_equal(script, run("weights-2", 2, "torch-gpt_c", library=EXAMPLES / "libgpt.so", weights=weights))
        for program in ("torch-gpt", "torch-gpt_c"):
            run(f"{program}-bf16", 2, program, mixed_precision="bf16", accumulate=2, epochs=2)
        check_interrupt("torch-gpt")
        os.chdir(SOURCE)


if __name__ == "__main__":
    main()
