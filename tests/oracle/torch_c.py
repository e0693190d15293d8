# SPDX-License-Identifier: Apache-2.0
"""test-timeout: 240
What a C program trains through accel/torch.h is what Python trains: TorchScript archives that stock
PyTorch wrote, and C++ modules of a shared object, 20 steps of AdamW on the same global batches, on 1,
2 and 4 processes and with every libtorch of the build. The weights it writes are read by stock
safetensors and PyTorch, and give the same outputs."""
import pathlib
import subprocess
import tempfile

import torch
from safetensors.torch import load_file, load_model, save_file

from _torch_build import BUILD, versions
from _torch_models import ALLOWED, KINDS, PARTS, STEPS, batch_of, difference, name_of, train


def make(kind, dtype):
    torch.manual_seed(3)
    return KINDS[kind]().to(dtype)


def write_case(kind, dtype, folder):
    """Its files; what Python makes of it."""
    model, name = make(kind, dtype), folder / name_of(kind, dtype)
    torch.jit.script(model).save(f"{name}.pt")
    save_file({key: value.detach() for key, value in model.named_parameters()}, f"{name}.init")
    batches = [batch_of(model, step, part) for step in range(STEPS) for part in range(PARTS)]
    x, y = (torch.stack(field).unflatten(0, (STEPS, PARTS)).contiguous() for field in zip(*batches))
    save_file({"x": x, "y": y}, f"{name}.data")
    return train(model)


def ways(kind):
    return ("module" if kind == "gpt" else "mse"), "native"


def run(version, size, folder):
    cases = [f"{way}:{name_of(kind, dtype)}" for kind in KINDS for dtype in ALLOWED for way in ways(kind)]
    command = [BUILD / f"bin/program-torch-train-{version}", BUILD / f"lib/torch-{version}/modules-models.so",
               str(PARTS), *cases]
    if size > 1:
        command[:0] = [BUILD / "bin/accel", "launch", "-n", str(size), "--"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, f"{version} {size}: {done.stdout}{done.stderr}"


def check_archive(path, kind, found, way):
    """It has the weights, and if it came as TorchScript, it computes as Python does."""
    archive, x, y = torch.jit.load(path), *batch_of(found, 0, 0)
    shared = {p.data_ptr() for p in archive.parameters()}
    assert len(shared) == len(list(found.parameters())), path
    for name, value in dict(archive.named_parameters()).items():
        assert torch.equal(value, found.get_parameter(name)), f"{path}: {name}"
    if way == "native":
        return
    outputs = archive.eval()(x) if way == "mse" else archive.eval()(x, y)
    assert torch.equal(outputs, found(x) if way == "mse" else found(x, y)), path


def check(kind, dtype, expected, folder, size, what):
    for way in ways(kind):
        path = folder / f"{name_of(kind, dtype)}.{way}"
        found = make(kind, dtype).eval()
        if way == "native":  # its head has no name of its own
            missing, unexpected = found.load_state_dict(load_file(f"{path}.safetensors"), strict=False)
            missing = [name for name in missing if name != "head.weight"]
        else:
            missing, unexpected = load_model(found, f"{path}.safetensors")
        assert not missing and not unexpected, f"{what}: {missing} {unexpected}"
        distance = difference(expected, dict(found.named_parameters()))
        print(f"  {path.name}: {distance:.2g}")
        assert distance <= ALLOWED[dtype], f"{what} {path.name}: {distance:.3g}"
        if size == 1 and kind == "cnn":  # else each process has statistics of its own
            assert torch.allclose(expected.norm.running_var, found.norm.running_var, rtol=1e-5), what
        check_archive(f"{path}.out.pt", kind, found, way)


def main():
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="accel-torch-") as name:
        folder = pathlib.Path(name)
        expected = {(kind, dtype): write_case(kind, dtype, folder) for kind in KINDS for dtype in ALLOWED}
        for version in versions("program-torch-train"):
            for size in (1, 2, 4):
                print(f"libtorch {version}, processes {size}:", flush=True)
                run(version, size, folder)
                for (kind, dtype), model in expected.items():
                    check(kind, dtype, model, folder, size, f"libtorch {version} processes {size}")


if __name__ == "__main__":
    main()
