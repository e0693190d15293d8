# SPDX-License-Identifier: Apache-2.0
# test-timeout: 400
"""An installed tree that was moved serves programs with PyTorch models: in C by pkg-config and by
find_package, with the libaccel_torch of any libtorch; in C++ beside find_package(Torch). Another
libtorch than the one that was compiled against is refused in words."""
import pathlib
import re
import subprocess
import sys
import tempfile

from _gate import BUILD, SANITIZE, SKIPPED, need, run, write
from install import clean_environment, install

IN_C = r"""
#include <accel/torch.h>
#include <stdio.h>

int main(void)
{
    accel_torch_module_t *module;
    size_t size = 0;

    ACCEL_CHECK(accel_torch_manual_seed(1));
    ACCEL_CHECK(accel_torch_get_rng_state(NULL, &size));
    printf("libtorch %s: %d\n", accel_torch_version(), (int)size);
    if (accel_torch_load("nothing.pt", NULL, &module) != ACCEL_OK)
        printf("%s\n", accel_last_error());
    return 0;
}
"""
IN_CPP = r"""
#include <accel/torch.hpp>
#include <cstdio>
#include <torch/nn/modules/linear.h>

int main()
{
    accel::Accelerator accelerator;
    torch::nn::Linear model(2, 1);
    accel::SGD optimizer(model->parameters(), torch::optim::SGDOptions(0.1));
    accelerator.prepare(model, optimizer);
    accelerator.backward(model->forward(torch::ones({3, 2})).sum());
    optimizer.step();
    std::printf("gradient %g, libtorch %d.%d\n", model->weight.grad()[0][0].item<double>(),
                TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR);
}
"""
PROJECT = """
cmake_minimum_required(VERSION 3.21)
project(outside LANGUAGES {languages})
find_package(accel REQUIRED COMPONENTS {component})
add_executable(program {source})
target_link_libraries(program PRIVATE accel::torch)
"""
PROJECT_CPP = """
cmake_minimum_required(VERSION 3.21)
project(outside LANGUAGES C CXX)
find_package(Torch REQUIRED)
find_package(accel REQUIRED)
add_executable(program program.cpp)
target_compile_features(program PRIVATE cxx_std_17)
target_link_libraries(program PRIVATE accel::accel ${TORCH_LIBRARIES})
"""
# What a process says that has loaded another libtorch, as far as its version goes.
PRETENDER = """
#include <string>
namespace at { std::string show_config() { return "TORCH_VERSION=1.99.0, "; } }
"""
MISSING = "nothing.pt': there is no file that can be read"


def versions():
    return sorted(path.parent.name.split("-")[1] for path in BUILD.glob("lib/torch-*/libaccel_torch.so"))


def configure(folder, moved, project, **programs):
    write(folder, "CMakeLists.txt", project)
    for name, text in programs.items():
        write(folder, f"program.{name}", text)
    return subprocess.run(["cmake", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={moved}"],
                          env=clean_environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def library_folder(moved):
    """The library finds libaccel beside it, and nothing in the build."""
    library = next(moved.rglob("libaccel_torch.so"))
    runpath = re.search(r"RUNPATH.*\[(.*)\]", run("readelf", "-dW", library)).group(1).split(":")
    assert runpath[0] == "$ORIGIN" and not any(place.startswith(f"{BUILD}/") for place in runpath), runpath
    return library.parent


def program_in_c(folder, moved):
    """By pkg-config; then by find_package, which gives its path."""
    library = library_folder(moved)
    environment = clean_environment(PKG_CONFIG_PATH=str(library / "pkgconfig"))
    flags = run("pkg-config", "--cflags", "--libs", "accel-torch", env=environment).split()
    version = run("pkg-config", "--variable=torch_version", "accel-torch", env=environment).strip()
    run("gcc", "-std=c17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", write(folder, "program.c", IN_C), "-o",
        folder / "by-pkg-config", *flags)
    project = PROJECT.format(languages="C", component="torch", source="program.c")
    done = configure(folder / "c", moved, project, c=IN_C)
    assert done.returncode == 0, done.stdout
    run("cmake", "--build", folder / "c/build", env=clean_environment())
    for program in (folder / "by-pkg-config", folder / "c/build/program"):
        yield program, library, version


def runs_with_any(program, installed, version):
    """The library's interface is C, and the same for each libtorch."""
    for library, expected in [(installed, version), *((BUILD / f"lib/torch-{v}", v) for v in versions())]:
        path = f"{library}:{installed}"
        text = run(program, env=clean_environment(LD_LIBRARY_PATH=path))
        assert re.match(rf"libtorch {re.escape(expected)}: [1-9]\d+\n", text) and MISSING in text, text


def refuses_another(folder, program, installed, version):
    pretender = folder / "pretender.so"
    run("g++", "-shared", "-fPIC", write(folder, "pretender.cpp", PRETENDER), "-o", pretender)
    text = run(program, env=clean_environment(LD_LIBRARY_PATH=str(installed), LD_PRELOAD=str(pretender)))
    expected = f"the process has loaded libtorch 1.99.0, and this was compiled against {version};"
    assert expected in text and MISSING not in text, text


def without_torch(folder, moved):
    """What the package says where accel was built without libtorch, or is asked for what it never has."""
    done = configure(folder / "unknown", moved, PROJECT.format(languages="C", component="cuda", source="program.c"))
    assert done.returncode != 0 and "has no component 'cuda'" in done.stdout, done.stdout
    for path in moved.rglob("accelTorchTargets*.cmake"):
        path.unlink()
    done = configure(folder / "without", moved, PROJECT.format(languages="C", component="torch", source="program.c"))
    text = " ".join(done.stdout.split())
    assert done.returncode != 0 and "this accel was built without libtorch: there is no accel::torch" in text, text
    assert "libtorch-dev" in text, text


def program_in_cpp(folder, moved, name, *options):
    folder = folder / f"cpp-{name}"
    write(folder, "CMakeLists.txt", PROJECT_CPP)
    write(folder, "program.cpp", IN_CPP)
    run("cmake", "-S", folder, "-B", folder / "build", f"-Daccel_DIR={next(moved.rglob('accelConfig.cmake')).parent}",
        *options, env=clean_environment())
    run("cmake", "--build", folder / "build", env=clean_environment())
    text = run(folder / "build/program", env=clean_environment(OMP_NUM_THREADS="1"))
    assert re.search(rf"gradient 3, libtorch {name}\n", text), text


def libtorches():
    """Each with what find_package(Torch) has to be told."""
    for line in (BUILD / "libtorches").read_text().splitlines():
        number, *folders = line.split()
        place = pathlib.Path(folders[-1]).parent  # of a wheel: its include/ is the last
        if (place / "share/cmake/Torch").is_dir():
            yield number, f"-DCMAKE_PREFIX_PATH={place}"
        else:
            yield (number,)


def main():
    need("cmake", "pkg-config", "gcc", "g++", "readelf")
    if SANITIZE:
        print("skipped: an outside program would need the sanitizer too")
        sys.exit(SKIPPED)
    if not versions():
        print("skipped: built without libtorch")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory(prefix="accel-torch-install-") as name:
        folder = pathlib.Path(name).resolve()
        moved = install(folder)
        for program, library, version in program_in_c(folder, moved):
            runs_with_any(program, library, version)
        refuses_another(folder, program, library, version)
        for number, *options in libtorches():
            program_in_cpp(folder, moved, number, *options)
        without_torch(folder, moved)
    print(f"torch_install: programs in C with libtorch {', '.join(versions())}; C++ beside find_package(Torch)")


if __name__ == "__main__":
    main()
