# SPDX-License-Identifier: Apache-2.0
"""The documentation agrees with the tree: links resolve, the README's program is the example's, the
product is C. `python3 tests/cli/docs.py --update` copies the example into the README."""
import re
import subprocess
import sys

from _gate import SOURCE, expect, files, finish, write

C_SHARE = 0.85
LANGUAGES = {".c": True, ".h": True, ".inc": True, ".cpp": False, ".hpp": False, ".cc": False, ".cu": False,
             ".py": False, ".sh": False}
EXAMPLE = "examples/minimal.c"
REGION = re.compile(r"^[ \t]*/\* \[readme\] \*/\n(.*?)^[ \t]*/\* \[/readme\] \*/\n",
                    re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"(<!-- " + re.escape(EXAMPLE) + r" -->\n```c\n)(.*?)(^```\n)",
                   re.DOTALL | re.MULTILINE)


def pages(root):
    """Markdown files of the project: tracked ones where there is git."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-co", "--exclude-standard", "*.md"],
                            text=True, capture_output=True)
    if (root / ".git").exists() and listed.returncode == 0:
        return [root / name for name in sorted(set(listed.stdout.split("\n"))) if name
                and (root / name).exists()]
    return [p for p in sorted(root.rglob("*.md")) if "build" not in p.relative_to(root).parts]


def without_code(text):
    text = re.sub(r"^```.*?^```", lambda m: "\n" * m.group().count("\n"), text,
                  flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", lambda m: re.sub(r"[^\n]", " ", m.group()), text)


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
        for match in re.finditer(r"\]\(([^)\s]+)\)", visible):
            where = f"{page.relative_to(root)}:{text.count(chr(10), 0, match.start()) + 1}"
            target, _, anchor = match.group(1).partition("#")
            if re.match(r"[a-z]+:", match.group(1)):
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


def example_region(root):
    """The marked parts of the example, one after the other."""
    parts = REGION.findall((root / EXAMPLE).read_text())
    return "\n".join(parts) if parts else None


def readme(root):
    if not (root / EXAMPLE).exists():
        if SOURCE == root:
            print(f"docs: {EXAMPLE} does not exist yet: the README's program is not compared")
        return
    region = example_region(root)
    block = BLOCK.search((root / "README.md").read_text())
    if region is None:
        yield f"{EXAMPLE}:1: no lines between /* [readme] */ and /* [/readme] */"
    elif not block:
        yield f"README.md:1: no C block under <!-- {EXAMPLE} -->"
    elif block.group(2) != region:
        yield f"README.md:1: the program differs from {EXAMPLE}: tests/cli/docs.py --update"


def update(root):
    text = (root / "README.md").read_text()
    region = example_region(root)
    (root / "README.md").write_text(
        BLOCK.sub(lambda match: match.group(1) + region + match.group(3), text))


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
    for gate in (links, orphans, readme, share):
        yield from gate(root)


def self_test(root):
    write(root, "README.md", "# One `x`\n[a](gone.md) [b](docs/a.md#two) [c](#one-x) [d](#no)\n"
          "[e](https://example.org/x) `[f](gone)`\n```\n[g](gone)\n```\n"
          f"<!-- {EXAMPLE} -->\n```c\nint a;\n```\n")
    write(root, "docs/a.md", "# Two\n[up](../README.md)\n")
    write(root, "docs/alone.md", "# Alone\n")
    write(root, EXAMPLE, "int a;\n/* [readme] */\nint b;\n/* [/readme] */\nint c;\n")
    write(root, "src/a.py", "\n")
    expect(problems(root), "README.md:2: gone.md does not", "README.md:2: README.md has no heading #no",
           "alone.md:1: no page", "differs from", "5 of 6 lines are C")
    update(root)
    write(root, "src/a.h", "\n" * 4)
    (root / "docs/alone.md").unlink()
    expect(problems(root), "README.md:2: gone.md does not", "README.md:2: README.md has no heading #no")


if __name__ == "__main__":
    if sys.argv[1:] == ["--update"]:
        update(SOURCE)
    else:
        finish("docs", problems(SOURCE), self_test)
