# SPDX-License-Identifier: Apache-2.0
# test-timeout: 300
"""Every snippet of the README and of docs/ is real. What a block is stands in a comment before it:

    <!-- from: FILE [REGION] -->   taken from a file that is compiled and run (tests/cli/docs.py compares)
    <!-- fragment -->              statements of a program: compiled within a function
    <!-- fragment: file -->        declarations and functions: compiled as they are
    none                           a whole program: compiled and run

Blocks of C and C++ must be one of these, and Python that calls the library. In console blocks and in
the manual the commands of `accel` and their options exist. The guide's examples run, alone and on two
processes, those in C with the same output; the other files that pages take from have a test of their
own."""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from docs import QUOTE, pages
from _gate import BUILD, SANITIZE, SOURCE, expect, finish, need, write
from _jobs import environment

BLOCK = re.compile(r"(?:^<!-- ((?:from|fragment)\b[^\n]*?) -->\n)?^```(\w+)\n(.*?)^```$",
                   re.DOTALL | re.MULTILINE)
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unused"]
COMPILERS = {"c": ["cc", "-std=c17"], "cpp": ["c++", "-std=c++17"]}
READERS = {"json": json.loads, "python": lambda text: compile(text, "snippet", "exec")}
FRAGMENT = SOURCE / "tests/programs/fragment.h"
TOOL = BUILD / "bin/accel"
WANDB = BUILD / "lib/accel/libaccel-tracker-wandb.so"


def blocks(root):
    """(place, marker, language, text) of every fenced block, and of the manual's."""
    for page in pages(root):
        if page.parent == root and page.name != "README.md":
            continue
        text = page.read_text()
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start(3)) + 1
            yield f"{page.relative_to(root)}:{line}", match.group(1), match.group(2), match.group(3)
    for page in sorted((root / "man").glob("*.3")):
        text = page.read_text()
        for match in re.finditer(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed$", text, re.DOTALL | re.MULTILINE):
            line = text.count("\n", 0, match.start(1)) + 1
            yield f"{page.relative_to(root)}:{line}", "fragment", "c", match.group(1)


def source_of(place, marker, language, text):
    """The block as a file that compiles, whose errors name the page's lines."""
    page, _, line = place.rpartition(":")
    text = f'#line {line} "{page}"\n{text}'
    if marker is None:
        return text
    head = f'#include "{FRAGMENT}"\n'
    if marker == "fragment: file":
        return head + text
    return (f"{head}accel_status_t fragment(void);\naccel_status_t fragment(void)\n{{\n"
            f"{text}\nreturn ACCEL_OK;\n}}\n")


def compile_block(folder, language, source, program):
    path = write(folder, f"snippet.{language}", source)
    command = [*COMPILERS[language], *WARNINGS, "-D_GNU_SOURCE", f"-I{SOURCE}/include", str(path)]
    if SANITIZE:
        command.append(f"-fsanitize={SANITIZE}")
    if program:
        command += ["-o", str(folder / "snippet"), f"-L{BUILD}/lib", "-laccel", "-lm"]
    else:
        command += ["-fsyntax-only"]
    result = subprocess.run(command, text=True, capture_output=True)
    errors = [line for line in result.stderr.splitlines() if "error" in line or "ld:" in line]
    return None if result.returncode == 0 else (errors or [result.stderr])[0]


def run_program(folder):
    env = environment(HOME=str(folder), LD_LIBRARY_PATH=f"{BUILD}/lib")
    try:
        result = subprocess.run(["./snippet"], cwd=folder, env=env, text=True, stdin=subprocess.DEVNULL,
                                capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "does not end"
    return None if result.returncode == 0 else f"exit {result.returncode}: {result.stderr.strip()}"


def check_c(place, marker, language, text):
    """Why a block of C or C++ is not right, or None."""
    program = marker is None
    if program and not re.search(r"^int main\(", text, re.MULTILINE):
        return "neither a program, nor marked as a fragment or as taken from a file"
    with tempfile.TemporaryDirectory(prefix="accel-snippet-") as name:
        folder = pathlib.Path(name)
        problem = compile_block(folder, language, source_of(place, marker, language, text), program)
        return run_program(folder) if problem is None and program else problem


def check_data(text, read):
    try:
        read(text)
    except (SyntaxError, ValueError) as error:
        return str(error)
    return None


def snippets(root):
    for place, marker, language, text in blocks(root):
        problem = None
        if (marker or "").startswith("from:"):
            continue
        if language in COMPILERS:
            problem = check_c(place, marker, language, text)
        elif language == "python" and "libaccel" in text:
            problem = "Python that calls the library must be taken from a file that runs"
        elif language in READERS:
            problem = check_data(text, READERS[language])
        if problem:
            yield f"{place}: {problem}"


def options_of(command):
    result = subprocess.run([TOOL, "help", command], text=True, capture_output=True, timeout=60)
    if result.returncode != 0:
        return None
    listed = result.stdout.partition("\nOptions")[2].partition("\n\n")[0]
    return set(re.findall(r"(?<![\w-])(?:--[a-zA-Z][\w-]*|-[a-zA-Z]\b)", listed))


def commands(root):
    """`accel COMMAND --option` of console blocks."""
    known = {}
    for place, _, language, text in blocks(root):
        if language != "console":
            continue
        for line in text.splitlines():
            for call in re.findall(r"(?:^\$ |[|;&] *)(?:[\w./]*/)?accel (\S.*?)(?:$|[|;&]|  #)", line):
                words = call.split()
                if words[0].startswith("-"):
                    continue
                if words[0] not in known:
                    known[words[0]] = options_of(words[0]) if words[0] != "help" else set()
                if known[words[0]] is None:
                    yield f"{place}: there is no command `accel {words[0]}`"
                    continue
                for word in words[1:]:
                    if word.startswith("./") or word in ("gdb", "stdbuf", "--"):
                        break  # the rest is the program's
                    option = word.split("=")[0]
                    if option.startswith("-") and option not in known[words[0]]:
                        yield f"{place}: `accel {words[0]}` has no option {option}"


def examples(root):
    """What the pages take their code from runs, alone and on two processes."""
    names = {m.group(2) for page in pages(root) for m in QUOTE.finditer(page.read_text())}
    for name in sorted(names):
        stem, _, kind = name.rpartition("/")[2].partition(".")
        if not stem.startswith("guide_"):
            if not any(stem in path.read_text() for path in (root / "tests").rglob("*.py")):
                yield f"{name}:1: no test runs this file, which pages take from"
            continue
        if kind == "py":
            if not SANITIZE:  # a sanitizer must be loaded before Python's own code
                command = [sys.executable, str(root / name)]
                yield from outcomes(name, [command, [TOOL, "launch", "-n", "2", *command]])
        elif not (BUILD / "examples" / stem).exists():
            yield f"{name}:1: is not built"
        elif "wandb" in (root / name).read_text() and not WANDB.exists():
            print(f"snippets: {name} is not run: the plugin for W&B is not built")
        else:
            command = [str(BUILD / "examples" / stem)]
            launched = [TOOL, "launch", "--no-prefix", "-n", "2", *command]
            found = yield from outcomes(name, [command, launched])
            if len(set(found)) > 1:
                yield f"{name}:1: prints other things on two processes"


def outcomes(name, calls):
    found = []
    for command in calls:
        with tempfile.TemporaryDirectory(prefix="accel-snippet-") as folder:
            env = environment(HOME=folder, LD_LIBRARY_PATH=f"{BUILD}/lib", WANDB_MODE="offline")
            result = subprocess.run([str(word) for word in command], cwd=folder, env=env, text=True,
                                    stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
            if result.returncode != 0:
                yield f"{name}:1: {' '.join(map(str, command))}: exit {result.returncode}: {result.stderr}"
            found.append(result.stdout)
    return found


def manual(root):
    """The manual page, or the command's own, has the options of `accel COMMAND --help`, and no
    others."""
    page = root / "man/accel.1"
    if not page.exists():
        return
    parts = re.split(r"^\.S[sh] ", page.read_text(), flags=re.MULTILINE)
    sections = {part.partition("\n")[0]: part for part in parts}
    listed = subprocess.run([TOOL, "--help"], text=True, capture_output=True, timeout=60).stdout
    for command in re.findall(r"^  (\w+) {2,}", listed.partition("Commands:")[2], re.MULTILINE):
        if command == "help":
            continue
        own = root / f"man/accel-{command}.1"
        text = own.read_text() if own.exists() else sections.get(f"accel {command}", "")
        items = re.findall(r"^\.It (Fl .*)", text, re.MULTILINE)
        said = {"--" + long if long else "-" + short
                for long, short in re.findall(r"Fl (?:Fl ([\w-]+)|(\w))", "\n".join(items))}
        for option in sorted((options_of(command) ^ said) - {"-h", "--help"}):
            yield f"man/accel.1:1: accel {command} {option}: in one of manual and --help only"


def problems(root):
    for gate in (snippets, commands, manual, examples):
        yield from gate(root)


def self_test(root):
    write(root, "README.md", "```c\nint a;\n```\n<!-- fragment -->\n```c\naccel_gone();\n```\n"
          "<!-- fragment -->\n```c\nACCEL_CHECK(accel_wait_for_everyone(accelerator));\n```\n"
          "<!-- fragment: file -->\n```cpp\nstatic int f() { return \"\"; }\n```\n"
          "```c\n#include <accel/accel.h>\nint main(void)\n{\n    return accel_version()[0] == 0 ? 0 : 3;\n}\n```\n"
          "```console\n$ accel launch -n 2 --fast ./train --slow\n$ accel fly\n$ ./a ; accel env --json\n```\n"
          "<!-- from: examples/guide_gone.c [a] -->\n```c\n```\n"
          "```python\nctypes.CDLL('libaccel.so')\n```\n```json\n{,}\n```\n"
          "<!-- from: src/untold.c -->\n```c\n```\n")
    write(root, "man/accel.1", ".Ss accel env\n.It Fl j , Fl Fl json\n.It Fl x\n")
    write(root, "man/accel.3", ".Bd -literal -offset indent\naccel_lost();\n.Ed\n")
    expect(problems(root), "accel.3:2: .*accel_lost", "README.md:2: neither a program", "README.md:6: .*accel_gone",
           "README.md:14: .*error", "README.md:17: exit 3", "has no option --fast",
           "no command `accel fly`", "guide_gone.c:1: is not built", "Python that calls", "README.md:3.*Expecting property name", "no test runs this file",
           "accel env -x: in one", "accel launch -", "accel report -", "accel sync -",
           "accel login -")


if __name__ == "__main__":
    need("cc", "c++")
    os.environ.setdefault("LC_ALL", "C")
    finish("snippets", problems(SOURCE), self_test)
