# SPDX-License-Identifier: Apache-2.0
# test-timeout: 240
"""The page of `accel report` in a browser: charts are drawn, in both colour schemes, nothing of a
run becomes markup, and no script fails."""
import html
import json
import os
import pathlib
import re
import struct
import sys
import tempfile
import zlib

from _launch import check, contains, equal
from _report import SKIPPED, browse, browser, report
from report import HOSTILE, PLUGIN, ROWS, make_run


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


# What a reader does with mouse and keyboard, done by a script that the test adds to the page.
PROBE = r"""
const found = {}, wait = () => new Promise((done) => setTimeout(done, 50));
const canvas = [...document.querySelectorAll('.chart')]
  .find((card) => card.querySelector('h3').textContent === 'train/loss').querySelector('canvas');
const box = canvas.getBoundingClientRect(), tip = document.getElementById('tip');
const picture = () => canvas.toDataURL();
const at = (type, part) => canvas.dispatchEvent(new PointerEvent(type, { bubbles: true, pointerId: 1,
  clientX: box.left + box.width * part, clientY: box.top + 50, button: 0 }));
const key = (name) => canvas.dispatchEvent(new KeyboardEvent('keydown', { key: name, bubbles: true }));
const set = (id, value, type) => { const e = document.getElementById(id);
  if (type === 'change') e.checked = value; else e.value = value;
  e.dispatchEvent(new Event(type)); };
canvas.setPointerCapture = () => {};
(async () => {
  const plain = picture();
  at('pointermove', 0.999);
  found.hover = tip.textContent;
  key('ArrowLeft');
  found.left = tip.textContent;
  at('pointerleave', 0.5);
  found.gone = tip.hidden;
  at('pointerdown', 0.3); at('pointermove', 0.4); at('pointerup', 0.4); at('pointerleave', 0.4);
  found.zoomed = picture() !== plain && !document.getElementById('reset').hidden;
  key('Escape');
  found.unzoomed = picture() === plain && document.getElementById('reset').hidden;
  set('log', true, 'change');
  found.log = picture() !== plain;
  set('log', false, 'change');
  set('smoothing', 0.9, 'input');
  await wait();
  found.smooth = picture() !== plain;
  set('smoothing', 0, 'input');
  await wait();
  document.querySelector('#axis input[value=time]').click();
  found.time = picture() !== plain;
  document.querySelector('#axis input[value=step]').click();
  set('filter', 'OSS', 'input');
  found.charts = [...document.querySelectorAll('.chart')].filter((c) => c.offsetParent).length;
  set('filter', '', 'input');
  found.back = picture() === plain;
  document.querySelectorAll('.legend input')[1].click();
  found.columns = [...document.querySelectorAll('#config thead th')].filter((c) => c.offsetParent).length;
  found.one = picture() !== plain;
  document.documentElement.dataset.probe = JSON.stringify(found);
})();
"""


def check_use(page, folder):
    text = page.read_text()
    nonce = re.search('script nonce="([0-9a-f]+)"', text).group(1)
    probed = folder / "probed.html"
    probed.write_text(text.replace("</body>", f'<script nonce="{nonce}">{PROBE}</script></body>'))
    document = browse(f"file://{probed}", "--window-size=1000,900", "--dump-dom")
    check("data-error" not in document[:2000], document[:2000])
    found = json.loads(html.unescape(re.search('data-probe="(.*?)"', document).group(1)))
    contains(f"step {2 * ROWS - 2}", found["hover"])
    contains("0.0025", found["hover"], "1 / 400")
    contains(f"step {2 * ROWS - 4}", found["left"])
    expected = dict.fromkeys(("gone", "zoomed", "unzoomed", "log", "smooth", "time", "back", "one"), True)
    equal({**expected, "charts": 1, "columns": 2},
          {k: v for k, v in found.items() if k not in ("hover", "left")})


def check_no_foreign_script(page, folder):
    """Even markup that got in would not run: only the page's own nonce does."""
    probed = folder / "foreign.html"
    probed.write_text(page.read_text().replace(
        "</body>", "<script>document.documentElement.dataset.foreign = 1</script></body>"))
    check("data-foreign" not in browse(f"file://{probed}", "--dump-dom")[:2000], "a foreign script ran")


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
        check_use(page, folder)
        check_no_foreign_script(page, folder)
        check_picture(page, folder, "light", (0xf6, 0xf7, 0xf9), [(0x2a, 0x78, 0xd6), (0xeb, 0x68, 0x34)])
        check_picture(page, folder, "dark", (0x17, 0x1b, 0x21), [(0x4e, 0x9b, 0xf0), (0xf0, 0x8a, 0x4b)])
    print("ok")


if __name__ == "__main__":
    if not os.environ.get("ACCEL_BUILD_DIR"):
        sys.exit("ACCEL_BUILD_DIR is not set")
    main()
