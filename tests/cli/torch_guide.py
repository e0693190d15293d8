# SPDX-License-Identifier: Apache-2.0
"""The guide's page on PyTorch shows the difference between the example with accel and without, as it
is. `python3 tests/cli/torch_guide.py --update` writes it."""
import difflib
import re
import sys

from _gate import SOURCE

PAGE = SOURCE / "docs/guide/torch.md"
BLOCK = re.compile(r"(?<=^```diff\n)(.*?)(?=^```$)", re.DOTALL | re.MULTILINE)


def loop(name):
    text = (SOURCE / "examples/torch" / name).read_text()
    return re.search(r"^/\* \[loop\] \*/\n(.*?)^/\* \[/loop\] \*/$", text, re.DOTALL | re.MULTILINE).group(1)


def difference():
    lines = difflib.ndiff(loop("digits_plain.cpp").splitlines(True), loop("digits.cpp").splitlines(True))
    return "".join(line for line in lines if not line.startswith("?"))


def main():
    text = PAGE.read_text()
    new = BLOCK.sub(lambda match: difference(), text)
    if "--update" in sys.argv:
        PAGE.write_text(new)
    elif new != text:
        sys.exit("docs/guide/torch.md differs from the examples: tests/cli/torch_guide.py --update")
    assert difference().count("\n+") > 4 and "accelerator.backward(loss)" in difference()
    print("torch_guide: the page shows what the examples are")


if __name__ == "__main__":
    main()
