# SPDX-License-Identifier: Apache-2.0
"""test-timeout: 240
Inference at scale: any number of processes answer what Python answers, in order, and have the
weights once."""
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import zipfile

import torch
from safetensors.torch import save_file, save_model

from _torch_build import BUILD, versions

SOURCE = pathlib.Path(os.environ["ACCEL_SOURCE_DIR"])
sys.path.insert(0, str(SOURCE / "examples/torch"))
from export_digits import Cnn

HANG = 120  # seconds
WIDTH, LAYERS = 2048, 12  # 201 MB


def launch(ranks, program, *arguments, **more):
    command = [BUILD / "bin/accel", "launch", "-n", str(ranks), "--no-prefix", "--", program, *arguments]
    return subprocess.Popen([str(word) for word in command], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **more)


def finish(process, status=0):
    out, err = process.communicate(timeout=HANG)
    assert process.returncode == status, (process.returncode, out[-2000:], err[-2000:])
    return out, err


# ---- the weights are there once ----

def memory(pid):
    """Megabytes of the process's mappings by name, each page divided by those who have it; without
    programs and libraries, which other processes of the machine have as well."""
    found, name = {}, ""
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if match := re.match(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)", line):
            name = match[1]
        elif line.startswith("Pss:") and ".so" not in name and "/bin/" not in name:
            found[name] = found.get(name, 0) + int(line.split()[1]) / 1000
    return found


class Ranks:
    """The processes of programs/weights.c while their weights are there."""

    def __init__(self, version, folder, ranks, way, model):
        self.folder = folder / f"{way}.{model}.{ranks}.{version}"
        self.folder.mkdir()
        self.process = launch(ranks, BUILD / f"bin/program-torch-weights-{version}", way, folder / f"{model}.pt",
                              folder / f"{model}.safetensors", folder / "inputs.safetensors", self.folder)
        self.ready = [self.folder / f"ready.{rank}" for rank in range(ranks)]

    def __enter__(self):
        deadline = time.monotonic() + HANG
        while not all(path.exists() for path in self.ready):
            assert self.process.poll() is None and time.monotonic() < deadline, self.process.communicate()
            time.sleep(0.02)
        words = [path.read_text().split() for path in self.ready]
        self.sums = [float(word[1]) for word in words]
        self.memory = [memory(word[0]) for word in words]
        return self

    def __exit__(self, *exception):
        (self.folder / "go").touch()
        if exception[0]:
            self.process.kill()
        finish(self.process) if not exception[0] else self.process.communicate()

    def total(self):
        return sum(sum(found.values()) for found in self.memory)

    def of_files(self):
        """What lies in files and in memory that has no name but is shared."""
        return sum(size for found in self.memory for name, size in found.items()
                   if name.endswith((".pt", ".safetensors")) or "memfd" in name)


def make_weights(folder, name, width, layers):
    torch.manual_seed(7)
    model = torch.nn.Sequential(*(torch.nn.Linear(width, width) for _ in range(layers)))
    torch.jit.script(model).save(folder / f"{name}.pt")
    save_model(model, str(folder / f"{name}.safetensors"))
    return model


def check_memory(version, folder, every_way):
    model = make_weights(folder, "big", WIDTH, LAYERS)
    make_weights(folder, "small", WIDTH, 1)
    inputs = torch.randn(2, WIDTH)
    save_file({"input": inputs}, folder / "inputs.safetensors")
    with torch.no_grad():
        wanted = model(inputs).double().sum().item()
    rest = sum(p.nbytes for p in list(model.parameters())[2:]) / 1e6  # big has so much more than small

    bases = {}

    def measure(ranks, way):
        if ranks not in bases:
            with Ranks(version, folder, ranks, "mmap", "small") as small:
                bases[ranks] = small.total(), small.of_files()
        with Ranks(version, folder, ranks, way, "big") as big:
            assert all(abs(total - wanted) < 1e-3 * max(1, abs(wanted)) for total in big.sums), (big.sums, wanted)
            found = big.total() - bases[ranks][0], big.of_files() - bases[ranks][1]
        print(f"{version}, {way}, {ranks} ranks: weights of {rest:.0f} MB take {found[0]:.0f} MB, "
              f"{found[1]:.0f} MB of them in files and shared memory", flush=True)
        return found

    if every_way:
        everything, _ = measure(4, "read")
        assert everything > 3.5 * rest, "each process has its own: else this test can show nothing"
    for way in ("mmap", "map", "prepare") if every_way else ("mmap",):
        one = measure(1, way)[0] if way != "map" else rest
        four, in_files = measure(4, way)
        assert 0.8 * rest < one < 1.2 * rest, (way, one)
        assert four < 1.2 * one and 0.9 * rest < in_files < 1.1 * rest, (way, four, in_files)
    with Ranks(version, folder, 1, "save", "big") as saved:
        assert abs(saved.sums[0] - wanted) < 1e-3 * max(1, abs(wanted)), "a file that was replaced is there still"
    again = torch.jit.load(folder / "big.pt")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters()))


# ---- the examples ----

class Restored(torch.nn.Module):
    """Computes with its state when it is loaded."""

    def __init__(self, model):
        super().__init__()
        self.model, self.offset = model, torch.zeros(4096)

    def forward(self, x):
        return self.model(x) + self.offset[:10]

    @torch.jit.export
    def __getstate__(self):
        return self.model, self.offset, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Cnn, torch.Tensor, bool]):
        self.model, self.offset, self.training = state[0], state[1] * 2, state[2]


def make_digits(folder):
    torch.manual_seed(3)
    model = Cnn()
    model(4 * torch.randn(64, 1, 8, 8))  # so that its statistics are some
    torch.jit.script(model).save(folder / "cnn.pt")
    save_model(model, str(folder / "cnn.safetensors"))
    images = 4 * torch.randn(75, 1, 8, 8)
    save_file({"images": images, "few": images[:3].clone(), "none": images[:0].clone()},
              folder / "digits.safetensors")
    return model.eval(), images


def answers_of(model, images):
    with torch.no_grad():
        scores, labels = model(images).max(1)
    return labels.tolist(), scores.tolist()


def check_answers(text, labels, scores, inputs=None):
    found = [json.loads(line) for line in text.splitlines()]
    assert [answer["input"] for answer in found] == (inputs or list(range(len(labels)))), text
    for answer, label, score in zip(found, labels, scores):
        assert answer["label"] == label and abs(answer["score"] - score) < 1e-3, (answer, label, score)


def check_examples(folder, programs):
    model, images = make_digits(folder)
    labels, scores = answers_of(model, images)
    assert len(set(labels)) > 1
    other = Cnn().eval()
    save_model(other, str(folder / "other.safetensors"))
    for program, weights in programs.items():
        for ranks, name, count, batch in ((1, "images", 75, 32), (2, "images", 75, 7), (4, "images", 75, 7),
                                          (4, "few", 3, 32), (2, "none", 0, 32)):
            out, _ = finish(launch(ranks, program, "-b", batch, weights, "digits.safetensors", name, cwd=folder))
            check_answers(out, labels[:count], scores[:count])
        print(f"{program.name}: 1, 2 and 4 processes answer as Python does")
        check_usage(program)
    program = next(iter(programs))
    finish(launch(2, program, "-w", "other.safetensors", "-o", "answers", "cnn.pt", "digits.safetensors", cwd=folder))
    check_answers((folder / "answers").read_text(), *answers_of(other, images))
    check_archives(program, folder, model, images)
    for program, weights in programs.items():
        check_interrupt(program, weights, folder, model)


def check_usage(program):
    out, _ = finish(subprocess.Popen([program, "--help"], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    assert out.startswith("usage: ") and "--batch" in out, out
    for words in ([], ["a"], ["-b", "0", "a", "b"], ["-b", "3x", "a", "b"], ["--nonsense", "a", "b"]):
        _, err = finish(subprocess.Popen([program, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE), 2)
        assert "usage: " in err, err


def check_archives(program, folder, model, images):
    """What cannot stay in the file is read as ever."""
    with zipfile.ZipFile(folder / "cnn.pt") as plain, \
            zipfile.ZipFile(folder / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for item in plain.infolist():
            packed.writestr(item.filename, plain.read(item.filename))
    torch.jit.script(Restored(model)).save(folder / "restored.pt")
    for archive in ("packed.pt", "restored.pt"):
        loaded = torch.jit.load(folder / archive).eval()
        out, _ = finish(launch(1, program, archive, "digits.safetensors", cwd=folder))
        check_answers(out, *answers_of(loaded, images))
    whole = (folder / "cnn.pt").read_bytes()
    for name, content in (("short.pt", whole[:len(whole) // 2]), ("empty.pt", b""), ("text.pt", b"no archive\n" * 999)):
        (folder / name).write_bytes(content)
        _, err = finish(launch(1, program, name, "digits.safetensors", cwd=folder), 1)
        assert f"'{name}' is no TorchScript archive" in err, err


def ranks_of(folder, program):
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0")
            if words[0] == str(program).encode() and (path / "cwd").readlink() == folder:
                yield path


def catches_interrupts(process):
    with contextlib.suppress(OSError):
        caught = re.search(r"^SigCgt:\s*(\w+)", (process / "status").read_text(), re.M)
        return int(caught[1], 16) >> (signal.SIGINT - 1) & 1
    return False


def check_interrupt(program, weights, folder, model):
    """What was answered until Ctrl-C is written."""
    images = 4 * torch.randn(60000, 1, 8, 8)
    save_file({"images": images}, folder / "many.safetensors")
    process = launch(2, program, "-b", 1, "-o", "part", weights, "many.safetensors", cwd=folder)
    deadline = time.monotonic() + HANG
    while sum(catches_interrupts(rank) for rank in ranks_of(folder, program)) < 2:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    finish(process, 128 + signal.SIGINT)
    text = (folder / "part").read_text()
    inputs = [json.loads(line)["input"] for line in text.splitlines()]
    assert 0 < len(inputs) < len(images) and inputs == sorted(set(inputs)), inputs
    check_answers(text, *answers_of(model, images[inputs]), inputs)
    print(f"{program.name}: {len(inputs)} answers until it was interrupted")


def main():
    found = versions("program-torch-weights")
    torch.set_num_threads(1)
    programs = {BUILD / "examples/torch-infer_c": "cnn.pt", BUILD / "examples/torch-infer": "cnn.safetensors"}
    with tempfile.TemporaryDirectory(prefix="accel-infer-") as name:
        folder = pathlib.Path(name)
        check_examples(folder, programs)
        for version in found:
            (folder / version).mkdir()
            check_memory(version, folder / version, version == found[-1])


if __name__ == "__main__":
    main()
