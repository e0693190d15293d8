# SPDX-License-Identifier: Apache-2.0
"""Which room may include which: base <- comm <- state <- {ops, data, train, checkpoint, track}
<- accelerator; launch needs base only; siblings never include each other; tools, examples and
plugins see public headers and their own only; public headers include public ones and a few of C's."""
import re

from _gate import SOURCE, expect, files, finish, strip, write

ALLOWED = {
    "base": set(),
    "launch": {"base"},
    "comm": {"base"},
    "state": {"base", "comm"},
}
SIBLINGS = ("ops", "data", "train", "checkpoint", "track")
for sibling in SIBLINGS:
    ALLOWED[sibling] = {"base", "comm", "state"}
ALLOWED["accelerator"] = {"base", "comm", "state", *SIBLINGS}

# The room that a public header speaks for. One that is not listed is for everybody.
PUBLIC = {
    "comm.h": "comm", "data.h": "data", "model.h": "train", "optimizer.h": "train", "ema.h": "train",
    "track.h": "track", "wandb.h": "track", "plugin/tracker_v1.h": "track",
    "plugin/wandb_v1.h": "track",
    "launch.h": "launch", "safetensors.h": "checkpoint", "accelerator.h": "accelerator",
    "accel.h": "accelerator", "torch.h": "accelerator", "logger.h": "accelerator", "profile.h": "accelerator",
    "progress.h": "accelerator", "utils.h": "accelerator",
}
STANDARD = {"stdbool.h", "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h"}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def includes(path):
    text = strip(path.read_text(), keep_strings=True)
    for match in INCLUDE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group(1), match.group(2)


def check_arrow(room, target, header):
    if target not in ALLOWED:
        return f"{header} lies in no known room"
    if target != room and target not in ALLOWED[room]:
        return f"{room} must not include {header} of {target}"
    return None


def check_room(root, path, quote, header):
    """Why this include in src/ROOM/... is wrong, or None."""
    room = path.relative_to(root / "src").parts[0]
    if room not in ALLOWED:
        return f"{room} is no known room"
    if quote == "<":
        if not header.startswith("accel/"):
            return None
        name = header[len("accel/"):]
        return check_arrow(room, PUBLIC.get(name, "base"), header)
    if (root / "src" / header).is_file():
        return check_arrow(room, header.split("/")[0], header)
    if (path.parent / header).is_file():
        return None if ".." not in header else f"{header}: write the path from src/"
    return f"{header} does not exist"


def check_outside(root, path, quote, header):
    """Tools, examples, plugins: no way into src/."""
    if quote == "<":
        return None
    own = (root / path.relative_to(root).parts[0]).resolve()
    target = (path.parent / header).resolve()
    if (root / "src" / header).is_file() or (target.is_file() and own not in target.parents):
        return f"{header}: only public headers and their own may be included here"
    return None


def check_public(root, path, quote, header):
    if quote == '"':
        return f'"{header}": public headers are included as <accel/...>'
    if header.startswith("accel/"):
        name = header[len("accel/"):]
        if not (root / "include" / header).is_file():
            return f"{header} does not exist"
        room = PUBLIC.get(str(path.relative_to(root / "include" / "accel")), "base")
        return check_arrow(room, PUBLIC.get(name, "base"), header)
    return None if header in STANDARD else f"<{header}>: a public header needs none but C's"


def problems(root):
    for folders, check in ((["src"], check_room), (["tools", "examples", "plugins"], check_outside),
                           (["include"], check_public)):
        for path in files(root, folders, {".c", ".h", ".inc"}):
            for line, quote, header in includes(path):
                problem = check(root, path, quote, header)
                if problem:
                    yield f"{path.relative_to(root)}:{line}: {problem}"


def self_test(root):
    write(root, "src/base/base.h", "#include <accel/data.h>\n#include <stdio.h>\n")
    write(root, "src/train/train.h", '#include "base/base.h"\n')
    write(root, "src/data/a.c", '#include "train/train.h"\n/* #include "train/train.h" */\n')
    write(root, "src/launch/l.c", '#include "base/base.h"\n#include "state/state.h"\n')
    write(root, "src/state/state.h", '#include "../base/base.h"\n#include "gone.h"\n')
    write(root, "src/accelerator/a.c", '#include "train/train.h"\n#include "data/own.h"\n')
    write(root, "src/data/own.h", '#include <accel/data.h>\n')
    write(root, "tools/accel/main.c", '#include "base/base.h"\n#include "own.h"\n')
    write(root, "tools/accel/own.h", "")
    write(root, "include/accel/data.h", "#include <sys/types.h>\n#include <stdint.h>\n")
    write(root, "include/accel/comm.h", "#include <accel/data.h>\n")
    expect(problems(root), "base.h:1: base must not", "data/a.c:1: data must not",
           "l.c:2: launch must not", "state.h:1: .*from src", "state.h:2: gone.h does not",
           "main.c:1: .*only public", r"data.h:1: <sys/types.h>", "comm.h:1: comm must not")


if __name__ == "__main__":
    finish("arrows", problems(SOURCE), self_test)
