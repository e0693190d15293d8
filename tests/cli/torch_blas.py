# SPDX-License-Identifier: Apache-2.0
# test-timeout: 120
"""A program whose libtorch multiplies by the reference BLAS is told so, and only that one."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from _gate import SKIPPED, SOURCE, run, write

PROGRAM = """#include <accel/torch/blas.hpp>
#include <cstdio>
int main()
{
    accel::warn_of_slow_blas();
    std::printf("%s\\n", accel::reference_blas().c_str());
}
"""


def main():
    machine = run("gcc", "-print-multiarch").strip() if shutil.which("gcc") else ""
    libraries = pathlib.Path("/usr/lib") / machine
    reference = libraries / "blas"
    if not shutil.which("g++") or not (libraries / "libtorch_cpu.so").exists() or not reference.is_dir():
        print("skipped: needs g++, libtorch-dev and libblas3")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory(prefix="accel-blas-") as name:
        folder = pathlib.Path(name)
        source = write(folder, "blas.cpp", PROGRAM)
        run("g++", "-std=c++17", "-isystem", "/usr/include/torch/csrc/api/include", "-I",
            SOURCE / "adapters/torch/include", source, "-o", folder / "blas", libraries / "libtorch_cpu.so",
            libraries / "libc10.so", "-ldl")
        for path, wanted in ((reference, str(reference / "libblas.so.3")), (libraries / "openblas-pthread", "\n")):
            if not path.is_dir():
                continue
            result = subprocess.run([folder / "blas"], env={**os.environ, "LD_LIBRARY_PATH": str(path)}, text=True,
                                    capture_output=True, check=True)
            slow = path == reference
            assert result.stdout.startswith(wanted), (path, result.stdout)
            assert ("multiplies by the reference BLAS" in result.stderr) == slow, (path, result.stderr)
            assert not slow or "apt install libopenblas0-pthread" in result.stderr, result.stderr
    print("torch_blas: the slow one is named")


if __name__ == "__main__":
    main()
