# SPDX-License-Identifier: Apache-2.0
"""The documentation agrees with the tree: links resolve, what a page quotes from a source file is what
stands there, the troubleshooting page quotes texts that the sources have, the product is C.

A page takes code from a file by a comment before the block, `<!-- from: FILE [REGION] -->`; in the file
the region stands between comments `[REGION]` and `[/REGION]`, and may have several parts.
`python3 tests/cli/docs.py --update` copies what changed into the pages."""
import re
import subprocess
import sys
import textwrap

from _gate import SOURCE, expect, files, finish, strip, write

C_SHARE = 0.85
LANGUAGES = {".c": True, ".h": True, ".inc": True, ".cpp": False, ".hpp": False, ".cc": False, ".cu": False,
             ".py": False, ".sh": False}
SOURCES = ["src", "plugins", "tools", "adapters"]
TROUBLE = "docs/guide/troubleshooting.md"
QUOTE = re.compile(r"(^<!-- from: (\S+)(?: \[(\w+)\])? -->\n```\w+\n)(.*?)(^```$)", re.DOTALL | re.MULTILINE)
LITERALS = re.compile(r'"(?:\\.|[^"\\\n])*"(?:\s*"(?:\\.|[^"\\\n])*")*')
LINK = re.compile(r"\]\(([^)\s]+)\)|\b(?:src|srcset|href)=\"([^\"\s]+)\"")
NAME = re.compile(r"\b(?:accel|ACCEL)_(?!_)\w*")
NO_NAMES = {"accel_x_options_init", "ACCEL_X_OPTIONS"}  # patterns of names
FORMAT = re.compile(r"%[-+ #0]*[\d.*]*(?:hh|h|ll|l|z|j|t)?[a-zA-Z]|%%")


def pages(root):
    """Markdown files of the project: tracked ones where there is git."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "*.md"],
                            text=True, capture_output=True)
    if (root / ".git").exists() and listed.returncode == 0:
        return [root / name for name in sorted(set(listed.stdout.split("\n"))) if name
                and (root / name).exists()]
    return [p for p in sorted(root.rglob("*.md")) if "build" not in p.relative_to(root).parts]


def blank(match):
    """The same place without its text, lines and columns kept."""
    return re.sub(r"[^\n]", " ", match.group())


def without_code(text):
    text = re.sub(r"^```.*?^```", blank, text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", blank, text)


def anchors(text):
    """The names GitHub gives to headings."""
    seen = {}
    for line in re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE).split("\n"):
        heading = re.match(r"#{1,6} +(.*)", line)
        if not heading:
            continue
        name = re.sub(r"[^\w\- ]", "", heading.group(1).strip().lower()).replace(" ", "-")
        count = seen.get(name, 0)
        seen[name] = count + 1
        yield name if count == 0 else f"{name}-{count}"


def links(root):
    for page in pages(root):
        text = page.read_text()
        visible = without_code(text)
        for match in LINK.finditer(visible):
            link = match.group(1) or match.group(2)
            where = f"{page.relative_to(root)}:{text.count(chr(10), 0, match.start()) + 1}"
            target, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", link):
                continue
            path = (page.parent / target).resolve() if target else page
            if not path.exists():
                yield f"{where}: {target} does not exist"
            elif anchor and path.suffix == ".md" and anchor not in anchors(path.read_text()):
                yield f"{where}: {target or page.name} has no heading #{anchor}"


def orphans(root):
    """A page that no other page leads to is not read."""
    reached = set()
    for page in pages(root):
        for target in re.findall(r"\]\(([^)\s#]+)", without_code(page.read_text())):
            reached.add((page.parent / target).resolve())
    for page in pages(root):
        if page.is_relative_to(root / "docs") and page.resolve() not in reached:
            yield f"{page.relative_to(root)}:1: no page links here"


def region(path, name):
    """The marked parts of a source file, one after the other; without a name all of it."""
    if not path.exists():
        return None
    text = path.read_text()
    if name is None:
        return text
    mark = r"^[ \t]*(?:/\*|//|#) \[{}\](?: \*/)?\n"
    parts = re.findall(mark.format(name) + "(.*?)" + mark.format("/" + name), text, re.DOTALL | re.MULTILINE)
    parts = [re.sub(r"^[ \t]*(?:/\*|//|#) \[/?\w+\](?: \*/)?\n", "", part, flags=re.MULTILINE)
             for part in parts]  # of regions within this one
    return "\n".join(textwrap.dedent(part) for part in parts) if parts else None


def quotes(root):
    """A page shows what the source file has."""
    for page in pages(root):
        text = page.read_text()
        for match in QUOTE.finditer(text):
            where = f"{page.relative_to(root)}:{text.count(chr(10), 0, match.start()) + 1}"
            name = match.group(2)
            wanted = region(root / name, match.group(3))
            if wanted is None:
                yield f"{where}: there is no {name}, or no region [{match.group(3)}] in it"
            elif match.group(4) != wanted:
                yield f"{where}: differs from {name}: tests/cli/docs.py --update"


def update(root):
    for page in pages(root):
        text = page.read_text()
        new = QUOTE.sub(lambda m: m.group(1) + (region(root / m.group(2), m.group(3)) or m.group(4))
                        + m.group(5), text)
        if new != text:
            page.write_text(new)


def texts(root):
    """The fixed parts of all string literals in the sources; adjacent literals are one."""
    parts = []
    for path in files(root, SOURCES, {".c", ".h", ".inc", ".cpp", ".hpp"}):
        for run in LITERALS.findall(strip(path.read_text(), keep_strings=True)):
            whole = "".join(re.findall(r'"((?:\\.|[^"\\\n])*)"', run))
            whole = whole.replace('\\"', '"').replace("\\n", "")
            parts += [part for part in FORMAT.split(whole) if part.strip()]
    return parts


def joined(text, whole):
    """Is this made of parts of the sources' texts, one after the other? A text may hold another."""
    text = text.strip()
    return not text or any(text.startswith(part) and joined(text[len(part):], whole) for part in whole)


def trouble(root):
    """Every text that the troubleshooting page explains is one of the library's: what stands between
    the places for values, written as an ellipsis, occurs in the sources."""
    page = root / TROUBLE
    if not page.exists():
        return
    parts = texts(root)
    whole = {part.strip() for part in parts if len(re.sub(r"\W", "", part)) not in (1, 2, 3)}
    for number, line in quoted_texts(page.read_text()):
        for part in line.split("…"):
            part = part.strip()
            if not any(part in text for text in parts) and not joined(part, whole):
                yield f"{TROUBLE}:{number}: no source says \"{part}\""


def quoted_texts(text):
    for block in re.finditer(r"^```text\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        start = text.count("\n", 0, block.start(1)) + 1
        for offset, line in enumerate(block.group(1).splitlines()):
            yield start + offset, line


def names(root):
    """What a page calls accel_x or ACCEL_X is there: in the headers, or said by a source file."""
    known = set()
    for path in files(root, ["include", "examples", *SOURCES], {".c", ".h", ".inc", ".py"}) + [
            path for path in (root / "CMakeLists.txt", root / "tests/CMakeLists.txt") if path.exists()]:
        known.update(NAME.findall(path.read_text()))
    for page in pages(root):
        text = page.read_text()
        for match in NAME.finditer(re.sub(r"^```.*?^```", blank, text, flags=re.DOTALL | re.MULTILINE)):
            name = match.group()
            if name in known or name in NO_NAMES:
                continue
            if not (name.endswith("_") and any(other.startswith(name) for other in known)):
                yield f"{page.relative_to(root)}:{text.count(chr(10), 0, match.start()) + 1}: there is no {name}"


def share(root):
    """Lines that are C, of the lines of programs in the product."""
    counts = {True: 0, False: 0}
    for path in files(root, ["include", "src", "plugins", "adapters", "tools", "examples"],
                      set(LANGUAGES)):
        counts[LANGUAGES[path.suffix]] += path.read_text().count("\n")
    total = sum(counts.values())
    if total and counts[True] < C_SHARE * total:
        yield f"src:0: {counts[True]} of {total} lines are C; at least {C_SHARE:.0%} must be"


def problems(root):
    for gate in (links, orphans, quotes, names, trouble, share):
        yield from gate(root)


def self_test(root):
    write(root, "README.md", "# One `x`\n[a](gone.md) [b](docs/a.md#two) [c](#one-x) [d](#no)\n"
          "[e](https://example.org/x) `[f](gone)` <img src=\"gone.png\">\n```\n[g](gone)\n```\n"
          "<!-- from: examples/one.c [part] -->\n```c\nint a;\n```\n"
          "<!-- from: examples/one.c [other] -->\n```c\n```\n"
          "<!-- from: examples/two.c -->\n```c\n```\n[t](docs/guide/troubleshooting.md)\n"
          "`accel_one()` `accel_o_*` `accel_gone(x)`\n")
    write(root, "docs/a.md", "# Two\n[up](../README.md)\n")
    write(root, "docs/alone.md", "# Alone\n")
    write(root, TROUBLE, "```text\nrank … of … is gone: check WORLD\nrank … is lost\n```\n")
    write(root, "examples/one.c", "int accel_one;\n    /* [part] */\n    int b;\n    /* [/part] */\nint c;\n"
          "/* [part] */\nint d;\n/* [/part] */\n")
    write(root, "src/a.py", "\n" * 4)
    write(root, "src/a.c", 'f("rank %d of %-5.*s is "\n  "gone: check WORLD"); /* "is lost" */\n')
    broken = ["README.md:2: gone.md does not", "README.md:2: README.md has no heading #no",
              "README.md:3: gone.png does not", "there is no accel_gone", "there is no accel_o_",
              r"there is no examples/one.c, or no region \[other\]", "there is no examples/two.c",
              'troubleshooting.md:3: no source says "is lost"']
    expect(problems(root), *broken, "alone.md:1: no page", "README.md:7: differs from",
           "10 of 14 lines are C")
    update(root)
    write(root, "src/a.h", "\n" * 20)
    (root / "docs/alone.md").unlink()
    expect(problems(root), *broken)
    assert "```c\nint b;\n\nint d;\n```" in (root / "README.md").read_text()


if __name__ == "__main__":
    if sys.argv[1:] == ["--update"]:
        update(SOURCE)
    else:
        finish("docs", problems(SOURCE), self_test)
