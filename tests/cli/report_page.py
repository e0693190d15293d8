# SPDX-License-Identifier: Apache-2.0
# test-timeout: 240
"""The page of `accel report` in a browser: charts are drawn, in both colour schemes, nothing of a
run becomes markup, and no script fails."""
import html
import os
import pathlib
import re
import struct
import sys
import tempfile
import zlib

from _launch import check, contains, equal
from _report import SKIPPED, browse, browser, report
from report import HOSTILE, PLUGIN, make_run


def pixels(path):
    """Rows of (red, green, blue) of a PNG as a browser writes it."""
    data, at, packed = path.read_bytes(), 8, b""
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IHDR":
            width, height, depth, colours = struct.unpack_from(">IIBB", data, at + 8)
        elif kind == b"IDAT":
            packed += data[at + 8:at + 8 + size]
        at += size + 12
    assert depth == 8 and colours in (2, 6), (depth, colours)
    step = 3 if colours == 2 else 4
    raw, before, rows = zlib.decompress(packed), bytearray(width * step), []
    for y in range(height):
        start = y * (width * step + 1)
        before = unfilter(raw[start], bytearray(raw[start + 1:start + 1 + width * step]), before, step)
        rows.append([tuple(before[x:x + 3]) for x in range(0, width * step, step)])
    return rows


def unfilter(kind, line, above, step):
    for i in range(len(line)):
        left = line[i - step] if i >= step else 0
        corner = above[i - step] if i >= step else 0
        if kind == 1:
            line[i] = (line[i] + left) & 255
        elif kind == 2:
            line[i] = (line[i] + above[i]) & 255
        elif kind == 3:
            line[i] = (line[i] + (left + above[i]) // 2) & 255
        elif kind == 4:
            guess = left + above[i] - corner
            distances = (abs(guess - left), abs(guess - above[i]), abs(guess - corner))
            line[i] = (line[i] + (left, above[i], corner)[distances.index(min(distances))]) & 255
    return line


def close(pixel, colour):
    return all(abs(a - b) < 24 for a, b in zip(pixel, colour))


def check_document(text, charts):
    attributes = re.search(r"<html([^>]*)>", text).group(1)
    check("data-error" not in attributes, attributes)
    for name, value in (("ready", "yes"), ("charts", charts), ("drawn", charts)):
        contains(f'data-{name}="{value}"', attributes)
    body = text[text.index("<body"):]
    equal(0, len(re.findall(r"<img\b", without_data(body))), "no element of a run's making")
    contains(html.escape(HOSTILE, quote=False), body, "shown as text")
    title = re.search(r"<title>(.*?)</title>", text).group(1)
    check("owned" != title, title)


def without_data(text):
    return re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def check_picture(page, folder, scheme, background, colours):
    picture = folder / f"{scheme}.png"
    browse(f"file://{page}#{scheme}", "--window-size=800,700", f"--screenshot={picture}")
    rows = pixels(picture)
    flat = [pixel for row in rows for pixel in row]
    check(sum(close(p, background) for p in flat) > len(flat) / 4, f"{scheme}: the page's ground")
    for colour in colours:
        check(sum(close(p, colour) for p in flat) > 100, f"{scheme}: a line in {colour}")


def main():
    browser()
    if not PLUGIN.exists():
        print("skipped: the W&B plugin was not built")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        page = folder / "report.html"
        log, lines = make_run(folder)
        equal(0, report("-o", page, log, lines)[0])
        check_document(browse(f"file://{page}", "--dump-dom"), 4)
        check_picture(page, folder, "light", (0xf6, 0xf7, 0xf9), [(0x2a, 0x78, 0xd6), (0xeb, 0x68, 0x34)])
        check_picture(page, folder, "dark", (0x17, 0x1b, 0x21), [(0x4e, 0x9b, 0xf0), (0xf0, 0x8a, 0x4b)])
    print("ok")


if __name__ == "__main__":
    if not os.environ.get("ACCEL_BUILD_DIR"):
        sys.exit("ACCEL_BUILD_DIR is not set")
    main()
