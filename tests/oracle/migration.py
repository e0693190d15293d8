# SPDX-License-Identifier: Apache-2.0
"""docs/guide/migration.md has every public name of the installed accelerate, in the table under the
heading of its class or module, and no name that accelerate does not have."""
import fnmatch
import inspect
import os
import re
import subprocess
import sys

import accelerate
import accelerate.data_loader
import accelerate.logging
import accelerate.optimizer
import accelerate.scheduler
import accelerate.tracking
import accelerate.utils
from accelerate.state import AcceleratorState, GradientState

SOURCE = os.environ["ACCEL_SOURCE_DIR"]


def tables(text):
    """{heading: names of the first column}; names may have a * in them."""
    found = {}
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        cells = re.findall(r"^\| (`[^|]*) \|", body, re.MULTILINE)
        names = [name.partition("(")[0] for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
        for part in heading.split(", "):
            found.setdefault(part, []).extend(names)
    return found


def public(names):
    return {name for name in names if not name.startswith("_")}


def of_class(cls, instance=None):
    names = public(dir(cls)) | public(vars(instance) if instance is not None else [])
    return names


def of_module(module):
    """What the module defines itself."""
    return {name for name, value in vars(module).items() if not name.startswith("_")
            and getattr(value, "__module__", None) == module.__name__}


def of_package(package):
    """What the package offers: all but modules."""
    return {name for name in public(dir(package)) if not inspect.ismodule(getattr(package, name))}


def arguments(callable_):
    return set(inspect.signature(callable_).parameters) - {"kwargs"}


def commands():
    """Of the command line, as its own help lists them."""
    program = "from accelerate.commands.accelerate_cli import main; main()"
    text = subprocess.run([sys.executable, "-c", program, "--help"], check=True, text=True,
                          capture_output=True).stdout
    listed = re.search(r"\{([\w,-]+)\}", text).group(1)
    return {f"accelerate {name}" for name in listed.split(",")}


def expected():
    accelerator = accelerate.Accelerator(cpu=True)
    state = of_class(accelerate.PartialState, accelerate.PartialState())
    return {
        "Accelerator": of_class(accelerate.Accelerator, accelerator)
        | arguments(accelerate.Accelerator) | {"Accelerator"},
        "DataLoaderConfiguration": arguments(accelerate.DataLoaderConfiguration),
        "PartialState": state,
        "AcceleratorState": of_class(AcceleratorState, accelerator.state) - state,
        "GradientState": of_class(GradientState, accelerator.gradient_state),
        "GeneralTracker": of_class(accelerate.tracking.GeneralTracker)
        | {"name", "requires_logging_directory", "tracker"}  # what subclasses must have
        | {name for tracker in of_module(accelerate.tracking) if tracker.endswith("Tracker")
           for name in public(vars(getattr(accelerate.tracking, tracker)))},
        "accelerate": of_package(accelerate),
        "accelerate.utils": of_package(accelerate.utils),
        "accelerate.tracking": of_module(accelerate.tracking),
        "accelerate.data_loader": of_module(accelerate.data_loader),
        "accelerate.optimizer": of_module(accelerate.optimizer) | of_module(accelerate.scheduler),
        "accelerate.scheduler": of_module(accelerate.optimizer) | of_module(accelerate.scheduler),
        "accelerate.logging": of_module(accelerate.logging),
        "Commands": commands(),
    }


def compare(found, names):
    """Lines that say what is missing, and what is there though accelerate does not have it."""
    for heading, wanted in names.items():
        patterns = found.get(heading, [])
        for name in sorted(wanted):
            if not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
                yield f"{heading}: {name} is missing"
        for pattern in patterns:
            if not fnmatch.filter(wanted, pattern):
                yield f"{heading}: accelerate has no {pattern}"


def self_test():
    text = "## A\n| `x`, `y*`, `gone` | z |\n## B, C\n| `f(a)` | `g` |\n"
    names = {"A": {"x", "y1", "y2", "w"}, "B": {"f"}, "C": {"f"}}
    lines = list(compare(tables(text), names))
    assert lines == ["A: w is missing", "A: accelerate has no gone"], lines


def main():
    self_test()
    with open(os.path.join(SOURCE, "docs", "guide", "migration.md"), encoding="utf-8") as file:
        problems = list(compare(tables(file.read()), expected()))
    for problem in problems:
        print(f"docs/guide/migration.md: {problem}")
    print(f"accelerate {accelerate.__version__}: {len(problems)} problems")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
