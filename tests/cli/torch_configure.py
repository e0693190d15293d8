# SPDX-License-Identifier: Apache-2.0
# test-timeout: 120
"""How the build finds libtorch: one whose strings have another ABI is left out in words, and so is none;
a prefix that was given and is wrong is an error. Without libtorch, or C++, the rest is built, and one
line says what is not."""
import os
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
message(STATUS "found: ${{ACCEL_LIBTORCHES}}. installed: ${{ACCEL_LIBTORCH_INSTALLED}}.")
"""
OTHER_ABI = "-DCMAKE_CXX_FLAGS=-D_GLIBCXX_USE_CXX11_ABI=0"


def configure(folder, name, *arguments, source=None, **environment):
    result = subprocess.run(["cmake", "-S", source or folder, "-B", folder / name, *arguments], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, **environment})
    return result.returncode, result.stdout


def whole(folder, name, *arguments, **environment):
    """accel itself: what the line about libaccel_torch says, if there is one."""
    status, text = configure(folder, name, "-DACCEL_BUILD_TESTS=OFF", "-DACCEL_BUILD_EXAMPLES=OFF",
                             "-DACCEL_BUILD_BENCH=OFF", *arguments, source=SOURCE, **environment)
    assert status == 0, text
    assert (folder / name / "accel.pc").exists() and not (folder / name / "accel-torch.pc").exists(), text
    return [line for line in text.splitlines() if line.startswith("-- libaccel_torch")]


def main():
    if not shutil.which("c++") or not pathlib.Path("/usr/include/torch/csrc").exists():
        print("skipped: no C++ compiler, or no libtorch-dev")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory(prefix="accel-torch-") as name:
        folder = pathlib.Path(name)
        write(folder, "CMakeLists.txt", PROJECT.format(source=SOURCE))
        status, text = configure(folder, "plain")
        assert status == 0 and "found: 1." in text and "installed: 1." in text, text
        status, text = configure(folder, "usr", "-DACCEL_TORCH_PREFIX=/usr")
        assert status == 0 and "found: 1." in text and "installed: 1." in text, text
        status, text = configure(folder, "abi", OTHER_ABI)
        assert status == 0 and "found: ." in text and "does not link" in text, text
        assert "_GLIBCXX_USE_CXX11_ABI" in text, text
        status, text = configure(folder, "prefix", f"-DACCEL_TORCH_PREFIX={folder}")
        assert status != 0 and "no libtorch that can be used in" in text, text
        lines = whole(folder, "none", OTHER_ABI)
        assert len(lines) == 1 and "there is no libtorch (libtorch-dev" in lines[0], lines
        lines = whole(folder, "no-compiler", CXX="/nonexistent")
        assert len(lines) == 1 and "there is no C++ compiler (g++)" in lines[0], lines
        assert whole(folder, "off", "-DACCEL_BUILD_TORCH=OFF") == []
    print("torch_configure: found, left out, refused")


if __name__ == "__main__":
    main()
