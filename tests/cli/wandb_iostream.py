# SPDX-License-Identifier: Apache-2.0
# test-timeout: 90
"""A C++ program's std::cout, std::cerr and std::clog are recorded as its printf() is, in the order
of the calls, run after run; and what does not go through C's streams is left alone."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from _gate import BUILD, SANITIZE, SKIPPED, SOURCE, need, run, write

PROGRAM = r"""
#include <cstdio>
#include <iostream>
#include <sstream>

#include <accel/accel.h>
#include <accel/wandb.h>

static accel_wandb_run_t *begin(const char *id)
{
    accel_wandb_run_t *run;
    ACCEL_CHECK(accel_wandb_init(ACCEL_DICT("project", "p", "id", id), &run));
    return run;
}

int main()
{
    std::cout << "before\n";
    accel_wandb_run_t *run = begin("first");
    std::cout << "one " << 1 << '\n';
    std::printf("two\n");
    std::cout << "three" << std::endl;
    std::cerr << "four\n";
    std::clog << "five\n";
    std::ostringstream own;
    std::streambuf *usual = std::cout.rdbuf(own.rdbuf());
    std::cout << "elsewhere\n";
    std::cout.rdbuf(usual);
    std::cout << "six\n";
    ACCEL_CHECK(accel_wandb_run_finish(run, 0));
    std::cout << "between\n";
    std::cerr << "seven\n";

    run = begin("second");
    std::cout << "again\n";
    ACCEL_CHECK(accel_wandb_run_finish(run, 0));

    std::ios::sync_with_stdio(false);
    run = begin("third");
    std::cout << "apart\n";
    ACCEL_CHECK(accel_wandb_run_finish(run, 0));
    return std::cout.flush().good() ? 0 : 1;
}
"""


def compile_program(folder):
    source, program = write(folder, "prints.cpp", PROGRAM), folder / "prints"
    more = [f"-fsanitize={SANITIZE}"] if SANITIZE else []
    run("c++", "-std=c++17", *more, "-I", SOURCE / "include", source, "-o", program,
        "-L", BUILD / "lib", f"-Wl,-rpath,{BUILD / 'lib'}", "-laccel")
    return program


def output_log(folder, run_id):
    """What the program printed, if it did; what the client said is its own affair."""
    [files] = folder.glob(f"wandb/offline-run-*-{run_id}/files")
    path = files / "output.log"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if not line.startswith("wandb: ")]


def expect(what, found, wanted):
    assert found == wanted, f"{what} is\n  {found}, not\n  {wanted}"


def main():
    need("c++")
    if not (BUILD / "lib" / "accel" / "libaccel-tracker-wandb.so").exists():
        print("skipped: the W&B tracker was not built")
        sys.exit(SKIPPED)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="accel-iostream-"))
    try:
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("WANDB_")}
        done = subprocess.run([compile_program(folder)], cwd=folder, text=True, check=False,
                              capture_output=True, timeout=60,
                              env={**environment, "HOME": str(folder), "WANDB_MODE": "offline"})
        assert done.returncode == 0, done.stderr
        expect("standard output", done.stdout,
               "before\none 1\ntwo\nthree\nsix\nbetween\nagain\napart\n")
        expect("standard error", [line for line in done.stderr.splitlines()
                                  if not line.startswith("wandb: ")], ["four", "five", "seven"])
        # how two streams mix depends on when each is flushed
        expect("the first record", sorted(output_log(folder, "first")),
               sorted(["one 1", "two", "three", "four", "five", "six"]))
        expect("the order", [line for line in output_log(folder, "first")
                             if line not in ("four", "five")], ["one 1", "two", "three", "six"])
        expect("the second record", output_log(folder, "second"), ["again"])
        expect("the third record", output_log(folder, "third"), [])
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
