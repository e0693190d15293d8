# SPDX-License-Identifier: Apache-2.0
"""docs/wandb.md says of every public name of the stock client's Run what it is in C, names nothing that
stock does not have, and no C function that the header does not have."""
import os
import re
import sys

from wandb.sdk.wandb_run import Run

SOURCE = os.environ["ACCEL_SOURCE_DIR"]


def text(*path):
    with open(os.path.join(SOURCE, *path), encoding="utf-8") as file:
        return file.read()


def table(page):
    """The rows of the section: names on the left, the cell on the right."""
    section = page.split("## From Python", 1)[1].split("\n## ", 1)[0]
    for left, right in re.findall(r"^\| (`[^|]*) \| ([^|]*) \|$", section, re.M):
        yield re.findall(r"`([\w. ]+)`", left), right


def problems(page, declared):
    rows = list(table(page))
    public = {name for name in dir(Run) if not name.startswith("_")} | {"summary"}  # of instances
    named = {name for names, _ in rows for name in names
             if "." not in name and " " not in name}
    yield from (f"Run.{name} is not in the table" for name in sorted(public - named))
    yield from (f"Run has no {name}" for name in sorted(named - public))
    for names, right in rows:
        if not right.strip():
            yield f"{names}: nothing is said"
        for function in re.findall(r"`(accel_\w+)`", right):
            if not re.search(rf"\b{function}\(", declared):
                yield f"{names}: no header declares {function}"


def main():
    page = text("docs", "wandb.md")
    folder = os.path.join(SOURCE, "include", "accel")
    declared = "".join(text("include", "accel", name) for name in os.listdir(folder)
                       if name.endswith(".h"))
    found = list(problems(page, declared))
    if not list(problems(page.replace("| `mark_preempting` |", "| `mark_nothing` |"), declared)):
        found.append("a missing name goes unnoticed")
    for problem in found:
        print(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
