# SPDX-License-Identifier: Apache-2.0
# test-timeout: 120
"""How the build finds libtorch: one whose strings have another ABI is left out in words, and so is none;
a prefix that was given and is wrong is an error."""
import pathlib
import shutil
import subprocess
import sys
import tempfile

from _gate import SKIPPED, SOURCE, write

PROJECT = """cmake_minimum_required(VERSION 3.21)
project(search LANGUAGES C CXX)
find_package(Threads REQUIRED)
include({source}/cmake/torch.cmake)
message(STATUS "found: ${{ACCEL_LIBTORCHES}}.")
"""


def configure(folder, name, *arguments):
    result = subprocess.run(["cmake", "-S", folder, "-B", folder / name, *arguments], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return result.returncode, result.stdout


def main():
    if not shutil.which("c++") or not pathlib.Path("/usr/include/torch/csrc").exists():
        print("skipped: no C++ compiler, or no libtorch-dev")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory(prefix="accel-torch-") as name:
        folder = pathlib.Path(name)
        write(folder, "CMakeLists.txt", PROJECT.format(source=SOURCE))
        status, text = configure(folder, "plain")
        assert status == 0 and "found: 1." in text, text
        status, text = configure(folder, "abi", "-DCMAKE_CXX_FLAGS=-D_GLIBCXX_USE_CXX11_ABI=0")
        assert status == 0 and "found: ." in text and "does not link" in text, text
        assert "_GLIBCXX_USE_CXX11_ABI" in text, text
        status, text = configure(folder, "prefix", f"-DACCEL_TORCH_PREFIX={folder}")
        assert status != 0 and "no libtorch that can be used in" in text, text
    print("torch_configure: found, left out, refused")


if __name__ == "__main__":
    main()
