# SPDX-License-Identifier: Apache-2.0
"""test-timeout: 120
C++ modules of shared objects in programs in C, with every libtorch of the build, on 1 and 2 processes;
libraries for another libtorch; what they save, read by stock PyTorch; and ranks that break while the
other one waits."""
import os
import pathlib
import subprocess
import tempfile
import uuid

import torch
from safetensors.torch import load_file

from _torch_build import BUILD, versions

SOURCE = pathlib.Path(os.environ["ACCEL_SOURCE_DIR"])


def modules(version, name):
    return BUILD / f"lib/torch-{version}/modules-{name}.so"


def check_saved(folder):
    archive, weights = torch.jit.load(folder / "norm.pt"), load_file(folder / "norm.safetensors")
    found = {**dict(archive.named_parameters()), **dict(archive.named_buffers())}
    assert set(found) == set(weights) == {"norm.weight", "norm.bias", "norm.running_mean", "norm.running_var",
                                          "norm.num_batches_tracked"}, set(found)
    assert all(torch.equal(found[name].detach(), value) for name, value in weights.items())
    assert weights["norm.num_batches_tracked"] == 1


def check_program(version, size, foreign):
    command = [BUILD / f"bin/program-torch-native-{version}", modules(version, "odd"), modules(version, "second"),
               *foreign]
    if size > 1:
        command[:0] = [BUILD / "bin/accel", "launch", "-n", str(size), "--"]
    with tempfile.TemporaryDirectory(prefix="accel-torch-") as name:
        run = subprocess.run(command, cwd=name, capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, f"libtorch {version}, {size}: {run.stdout}{run.stderr}"
        check_saved(pathlib.Path(name))


def broken(version, how):
    """(exit code, standard error) of both ranks, which no launcher looks after."""
    job = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "ACCEL_JOB_ID": str(uuid.uuid4())}
    command = [BUILD / f"bin/program-torch-breaks-{version}", modules(version, "odd"), how]
    ranks = [subprocess.Popen(command, env={**os.environ, **job, "RANK": rank, "LOCAL_RANK": rank}, text=True,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for rank in "01"]
    try:
        return [(rank.communicate(timeout=60)[1], rank.returncode) for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()


def check_breaks(version):
    # what rank 1 says, if it can; how it ends; what the other says
    for how, says, code, other in (("forward", "has broken in forward", 1, "rank 1"),
                                   ("backward", "has broken in backward", 1, "has broken in backward"),
                                   ("kill", "", -9, "rank 1"), ("none", "", 0, "")):
        (waits, waits_code), (breaks, breaks_code) = broken(version, how)
        text = f"libtorch {version}, {how}: {waits_code} {waits}, {breaks_code} {breaks}"
        assert breaks_code == code and says in breaks, text
        assert (waits_code == 0) == (how == "none") and waits_code >= 0 and other in waits, text
        assert waits.count("\n") <= 1 and breaks.count("\n") <= 1, text


def check_flags():
    """What libtorch wants of the compiler is said, and not by pages of its own."""
    version, *folders = (BUILD / "libtorches").read_text().split("\n")[0].split()
    include = [option for folder in folders for option in ("-isystem", folder)]
    for flag in ("-fno-rtti", "-fno-exceptions"):
        run = subprocess.run(["c++", "-std=c++17", flag, "-E", *include, "-I", SOURCE / "adapters/torch/include", "-x",
                              "c++", "-"], input="#include <accel/torch/version.hpp>", capture_output=True, text=True)
        assert run.returncode != 0 and f"compile without {flag}" in run.stderr, f"{version} {flag}: {run.stderr}"


def check_slow_blas(version):
    """Debian's libtorch, with the reference BLAS before the others: both ways in warn, once."""
    slow = list(pathlib.Path("/usr/lib").glob("*-linux-gnu/blas/libblas.so.3"))
    if not slow or f"{version} /usr/include" not in (BUILD / "libtorches").read_text():
        return
    with tempfile.TemporaryDirectory(prefix="accel-torch-") as name:
        for command in ([BUILD / f"bin/program-torch-native-{version}", modules(version, "odd"),
                         modules(version, "second")],
                        [BUILD / f"bin/test-torch-graphs-{version}", "a_model_may_have_nothing_to_train"]):
            run = subprocess.run(command, cwd=name, env={**os.environ, "LD_LIBRARY_PATH": str(slow[0].parent)},
                                 capture_output=True, text=True, timeout=60)
            assert run.returncode == 0, f"{command}: {run.stderr}"
            assert run.stderr.count("multiplies by the reference BLAS") == 1, f"{command}: {run.stderr}"


def main():
    found = versions("program-torch-native")
    check_flags()
    for version in found:
        foreign = [modules(other, "second") for other in found if other != version]
        foreign += [path for path in [modules(version, "strings")] if path.exists()]
        for size in (1, 2):
            check_program(version, size, foreign)
        check_breaks(version)
        check_slow_blas(version)
        print(f"libtorch {version}: and {len(foreign)} libraries for another", flush=True)


if __name__ == "__main__":
    main()
