# SPDX-License-Identifier: Apache-2.0
"""What the gates on the source tree share. A gate yields lines "path:line: what is wrong"."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(os.environ.get("ACCEL_SOURCE_DIR", pathlib.Path(__file__).parents[2]))
BUILD = pathlib.Path(os.environ.get("ACCEL_BUILD_DIR", SOURCE / "build" / "dev"))
SANITIZE = os.environ.get("ACCEL_SANITIZE", "")
SKIPPED = 77


def files(root, folders, suffixes):
    """Files below root/folder with these suffixes, in order."""
    return sorted(path for folder in folders for path in (root / folder).rglob("*")
                  if path.suffix in suffixes and path.is_file())


def strip(text, keep_strings=False):
    """C source with comments (and the contents of strings) blanked, lines kept."""
    pattern = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''

    def blank(match):
        token = match.group()
        if token[0] == "/":
            return "\n" * token.count("\n") or " "
        return token if keep_strings else token[0] * 2

    return re.sub(pattern, blank, text, flags=re.DOTALL)


def finish(name, problems, self_test):
    """Run the gate's own test first: a gate that cannot fail is no gate."""
    with tempfile.TemporaryDirectory(prefix="accel-gate-") as folder:
        self_test(pathlib.Path(folder))
    problems = list(problems)
    for problem in problems:
        print(problem)
    print(f"{name}: {len(problems)} problems")
    sys.exit(1 if problems else 0)


def write(root, path, text):
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return target


def expect(found, *patterns):
    """Every pattern is reported, and nothing else is."""
    found = list(found)
    for pattern in patterns:
        hits = [line for line in found if re.search(pattern, line)]
        assert hits, f"the gate did not report {pattern!r}; it reported {found}"
        found = [line for line in found if line not in hits]
    assert not found, f"the gate reported too much: {found}"


def need(*tools):
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        print(f"skipped: not installed: {' '.join(missing)}")
        sys.exit(SKIPPED)


def run(*command, **options):
    """A command that must succeed; its standard output."""
    result = subprocess.run([str(word) for word in command], text=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    assert result.returncode == 0, f"{' '.join(map(str, command))}: {result.returncode}\n{result.stdout}"
    return result.stdout
