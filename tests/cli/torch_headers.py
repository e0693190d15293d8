# SPDX-License-Identifier: Apache-2.0
# test-timeout: 600
"""Each header in C++ compiles alone, under our warnings, against the newest libtorch; all of them
together as C++20, too. (As C++17, that is what the build compiles, with each libtorch. The headers of
libtorch 1.13 are no C++20 for clang.)"""
import concurrent.futures
import pathlib
import shutil
import subprocess
import sys
import tempfile

from _gate import BUILD, SANITIZE, SKIPPED, SOURCE, expect, files, write

FLAGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Wvla", "-Wundef", "-Wwrite-strings",
         "-Werror"]
INCLUDE = SOURCE / "adapters/torch/include"


def libtorches():
    """The folders of each that the build found, the newest first."""
    lines = (BUILD / "libtorches").read_text().splitlines() if (BUILD / "libtorches").exists() else []
    return [(number, [word for folder in folders for word in ("-isystem", folder)])
            for number, *folders in map(str.split, lines)]


def compile_only(what, compiler, standard, path, flags):
    """[] or what is wrong."""
    command = [compiler, f"-std={standard}", *FLAGS, "-I", str(INCLUDE), "-I", str(SOURCE / "include"), *flags,
               "-fsyntax-only", str(path)]
    done = subprocess.run(command, text=True, capture_output=True)
    return [f"{what}: {compiler} -std={standard}:\n{done.stderr[:4000]}"] if done.returncode else []


def work(folder, compilers, found):
    """The whole, which takes longest, comes first; accelerator.hpp is the whole under another name."""
    number, flags = found[0]
    if not number.startswith("1."):
        for compiler in compilers:
            unit = write(folder, "all.cpp", "#include <accel/torch.hpp>\nint alone;\n")
            yield ("accel/torch.hpp", compiler, "c++20", unit, flags)
    for header in files(INCLUDE, ["accel/torch"], {".hpp"}):
        if header.stem != "accelerator":
            name = header.relative_to(INCLUDE)
            unit = write(folder, f"{header.stem}.cpp", f"#include <{name}>\n#include <{name}>\nint alone;\n")
            yield (name, compilers[-1], "c++17", unit, flags)


def self_test(folder, compilers):
    """A header that needs another, and one that a warning is about, are found."""
    for name, text, wrong in (("lone.cpp", "inline std::string lone;\n", "std"),
                              ("narrow.cpp", "inline int narrow(long i) { return i; }\n", "conversion")):
        for compiler in compilers:
            expect(compile_only(name, compiler, "c++17", write(folder, name, text), []), wrong)


def main():
    compilers = [name for name in ("g++", "clang++") if shutil.which(name)]
    found = libtorches()
    if SANITIZE or not compilers or not found:
        print("skipped: no C++ compiler, or built without libtorch (or with a sanitizer: nothing differs)")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory(prefix="accel-torch-headers-") as name:
        folder = pathlib.Path(name)
        self_test(folder, compilers)
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            problems = sum(pool.map(lambda job: compile_only(*job), work(folder, compilers, found)), [])
    print("\n".join(problems))
    print(f"torch_headers: {len(problems)} problems with libtorch {', '.join(number for number, _ in found)}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
