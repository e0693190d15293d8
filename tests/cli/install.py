# SPDX-License-Identifier: Apache-2.0
# test-timeout: 180
"""An installed tree that was moved serves programs in C and C++, by pkg-config and by
find_package; its tool runs; DESTDIR holds."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from _gate import BUILD, SANITIZE, SKIPPED, SOURCE, need, run, write

PROGRAM = r"""
#include <accel/accel.h>
#include <stdio.h>

int main(void)
{
    accel_t *accelerator;

    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.log_with = NULL), &accelerator));
    printf("%s %s %d.%d.%d process %d of %d\n", accel_version(), ACCEL_VERSION,
           ACCEL_VERSION_MAJOR, ACCEL_VERSION_MINOR, ACCEL_VERSION_PATCH,
           (int)accel_process_index(accelerator), (int)accel_num_processes(accelerator));
    accel_destroy(accelerator);
    return 0;
}
"""
TRACKED = r"""
#include <accel/accel.h>

int main(void)
{
    accel_t *accelerator;

    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.log_with = "wandb"), &accelerator));
    ACCEL_CHECK(accel_init_trackers(accelerator, "installed", NULL, NULL));
    ACCEL_CHECK(accel_log(accelerator, ACCEL_DICT("loss", 1.5), ACCEL_NO_STEP));
    ACCEL_CHECK(accel_end_training(accelerator));
    accel_destroy(accelerator);
    return 0;
}
"""
PROJECT = """
cmake_minimum_required(VERSION 3.21)
project(outside LANGUAGES C CXX)
find_package(accel {version} REQUIRED)
add_executable(in_c program.c)
target_link_libraries(in_c PRIVATE accel::accel)
add_executable(in_cpp program.cpp)
target_compile_features(in_cpp PRIVATE cxx_std_17)
target_link_libraries(in_cpp PRIVATE accel::accel)
"""


def version():
    text = (SOURCE / "include/accel/version.h").read_text()
    return re.search(r'ACCEL_VERSION "(.*)"', text).group(1)


def clean_environment(**more):
    """No rank of the outside world, no library of another place."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "LANG", "TMPDIR")}
    return {**kept, **more}


def install(folder):
    """Install, then move; what is found afterwards is found by relative paths."""
    run("cmake", "--install", BUILD, "--prefix", folder / "first")
    moved = folder / "second" / "place"
    moved.parent.mkdir()
    shutil.move(folder / "first", moved)
    for path in (p for p in moved.rglob("*") if p.is_file()):
        data = path.read_bytes()
        assert str(folder / "first").encode() not in data, f"{path} names the first place"
    return moved


def pkg_config(folder, moved):
    pc = next(moved.rglob("accel.pc"))
    environment = clean_environment(PKG_CONFIG_PATH=str(pc.parent))
    assert run("pkg-config", "--modversion", "accel", env=environment).strip() == version()
    flags = run("pkg-config", "--cflags", "--libs", "accel", env=environment).split()
    for compiler, suffix, standard in (("gcc", "c", "c17"), ("g++", "cpp", "c++17")):
        program = folder / f"by-pkg-config-{suffix}"
        run(compiler, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror",
            folder / f"program.{suffix}", "-o", program, *flags)
        yield run(program, env=clean_environment(LD_LIBRARY_PATH=str(pc.parent.parent)))


def plugin(folder, moved):
    """The moved library finds its plugin."""
    library = next(moved.rglob("libaccel.so")).parent
    if not list(library.glob("accel/libaccel-tracker-wandb.so")):
        print("install: the W&B plugin was not built: not tried")
        return
    program = folder / "tracked"
    run("gcc", "-std=c17", f"-I{moved}/include", write(folder, "tracked.c", TRACKED), "-o", program,
        f"-L{library}", "-laccel")
    run(program, cwd=folder, env=clean_environment(LD_LIBRARY_PATH=str(library), HOME=str(folder),
                                                   WANDB_MODE="offline", WANDB_SILENT="true"))
    assert list(folder.glob("wandb/offline-run-*/*.wandb")), "no run was written"


def find_package(folder, moved):
    major, minor, patch = version().split(".")
    write(folder, "CMakeLists.txt", PROJECT.format(version=f"{major}.{minor}"))
    run("cmake", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={moved}",
        env=clean_environment())
    run("cmake", "--build", folder / "build", env=clean_environment())
    for name in ("in_c", "in_cpp"):
        yield run(folder / "build" / name, env=clean_environment())


def another_minor_is_refused(folder, moved):
    major, minor, patch = version().split(".")
    write(folder, "CMakeLists.txt", PROJECT.format(version=f"{major}.{int(minor) + 1}"))
    try:
        run("cmake", "-S", folder, "-B", folder / "refused", f"-DCMAKE_PREFIX_PATH={moved}",
            env=clean_environment())
    except AssertionError as error:
        assert "accel" in str(error) and version() in str(error), error
        return
    raise AssertionError("find_package accepts another minor version")


def tool(moved):
    text = run(moved / "bin/accel", "--version", env=clean_environment())
    assert version() in text, text


def report(moved):
    """The moved tool finds the program that it runs."""
    if not list(moved.rglob("accel-report")):
        print("install: accel-report was not built: not tried")
        return
    result = subprocess.run([moved / "bin/accel", "report", moved], env=clean_environment(),
                            capture_output=True, text=True, timeout=60, check=False)
    assert f"{moved}: no runs in this folder" in result.stderr, result
    assert not list((moved / "bin").glob("accel-report")), "it is no command of its own"


def destdir(folder):
    prefix = f"/opt/accel-{os.getpid()}"
    run("cmake", "--install", BUILD, "--prefix", prefix,
        env=clean_environment(DESTDIR=str(folder / "stage")))
    assert (folder / "stage" / prefix[1:] / "include/accel/accel.h").is_file()
    assert not os.path.exists(prefix)


def multiarch(folder):
    """Debian's own library folder is one deeper."""
    build = folder / "multiarch"
    run("cmake", "-S", SOURCE, "-B", build, "-DCMAKE_INSTALL_LIBDIR=lib/x86_64-linux-gnu",
        "-DACCEL_BUILD_TESTS=OFF", "-DACCEL_BUILD_EXAMPLES=OFF", "-DACCEL_BUILD_PLUGINS=OFF")
    place = folder / "deep/lib/x86_64-linux-gnu/pkgconfig"
    place.mkdir(parents=True)
    shutil.copy(build / "accel.pc", place)
    environment = clean_environment(PKG_CONFIG_PATH=str(place))
    include = run("pkg-config", "--variable=includedir", "accel", env=environment).strip()
    library = run("pkg-config", "--variable=libdir", "accel", env=environment).strip()
    assert os.path.normpath(include) == str(folder / "deep/include"), include
    assert os.path.normpath(library) == str(folder / "deep/lib/x86_64-linux-gnu"), library


def main():
    need("cmake", "pkg-config", "gcc", "g++")
    if SANITIZE:
        print("skipped: an outside program would need the sanitizer too")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory(prefix="accel-install-") as name:
        folder = pathlib.Path(name).resolve()
        write(folder, "program.c", PROGRAM)
        write(folder, "program.cpp", PROGRAM)
        moved = install(folder)
        number = version()
        expected = f"{number} {number} {number} process 0 of 1\n"
        for text in (*pkg_config(folder, moved), *find_package(folder, moved)):
            assert text == expected, text
        another_minor_is_refused(folder, moved)
        tool(moved)
        report(moved)
        plugin(folder, moved)
        destdir(folder)
        multiarch(folder)
    print("install: an installed tree that was moved serves C and C++")


if __name__ == "__main__":
    main()
