# SPDX-License-Identifier: Apache-2.0
# test-timeout: 180
"""The page of `accel report` shows a run's images, sound, histograms and tables, with their bytes
within; what is no image, or lies elsewhere, is not taken in."""
import base64
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

from _launch import check, equal
from _report import BUILD, SKIPPED, browse, page_of, report, self_contained

PROGRAM = BUILD / "examples" / "media"


def make_run(folder):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    subprocess.run([PROGRAM], cwd=folder, check=True, timeout=60, stdout=subprocess.DEVNULL,
                   env={**kept, "WANDB_MODE": "offline", "WANDB_SILENT": "true", "HOME": folder,
                        "WANDB_DATA_DIR": folder + "/data", "WANDB_DISABLE_GIT": "true"})
    (run,) = pathlib.Path(folder).glob("wandb/offline-run-*")
    return run


def bytes_of(source, kind):
    head, _, data = source.partition(",")
    equal(f"data:{kind};base64", head)
    return base64.b64decode(data, validate=True)


def check_figures(run):
    page = page_of(run)
    self_contained(page)
    (found,) = page.runs
    figures = found["figures"]
    equal({"samples", "weights", "mistakes", "sound"}, set(figures))
    equal({"samples": "images/separated", "weights": "histogram", "mistakes": "table-file",
           "sound": "audio-file", "page": "html-file"}, found["media"])
    equal([19, 19, 20, 21], [figures[key]["step"] for key in ("samples", "weights", "mistakes", "sound")])
    equal(["small", "large"], [file["caption"] for file in figures["samples"]["files"]])
    for file in figures["samples"]["files"]:
        data = bytes_of(file["src"], "image/png")
        equal((32, 32), struct.unpack(">II", data[16:24]))
        check((run / "files" / "media" / "images").joinpath().exists(), "no images")
        check(any(path.read_bytes() == data for path in (run / "files/media/images").iterdir()), "bytes")
    check(bytes_of(figures["sound"]["files"][0]["src"], "audio/wav").startswith(b"RIFF"), "sound")
    equal((64, 65, 1000), (len(figures["weights"]["counts"]), len(figures["weights"]["edges"]),
                           sum(figures["weights"]["counts"])))
    equal(["image", "label", "guess", "score"], figures["mistakes"]["columns"])
    equal((10, ["Image", 4, 5, 0.2]), (len(figures["mistakes"]["rows"]), figures["mistakes"]["rows"][4]))


def check_browser(run, folder):
    if not (shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")):
        print("not in a browser: there is none")
        return
    page = pathlib.Path(folder, "report.html")
    equal(0, report("-o", page, run)[0])
    text = browse(f"file://{page}", "--dump-dom")
    check("data-error" not in text[:2000], text[:2000])
    body = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    equal((2, 64, 1, 4), (len(re.findall(r"<img ", body)), len(re.findall(r"<rect ", body)),
                          len(re.findall(r"<audio ", body)), len(re.findall('class="card media', body))))


def check_hostile(run):
    """Each of these is left out; the others stay."""
    images = sorted((run / "files" / "media" / "images").glob("samples_18_*"))
    equal(2, len(images))
    first, second = (image.read_bytes() for image in images)

    def shown():
        figures = page_of(run).runs[0]["figures"]
        return [file["src"] for file in figures.get("samples", {"files": []})["files"]]

    images[0].write_bytes(b"<svg onload='alert(1)'></svg>")
    equal(1, len(shown()))
    images[0].unlink()
    (run / "elsewhere.png").write_bytes(first)
    images[0].symlink_to(run / "elsewhere.png")
    equal(1, len(shown()))
    images[0].unlink()
    images[0].write_bytes(first + bytes(5 << 20))
    equal(1, len(shown()))
    images[0].unlink()
    os.mkfifo(images[0])
    equal(1, len(shown()))
    images[1].unlink()
    equal([], shown())
    images[0].unlink()
    images[0].write_bytes(first)
    images[1].write_bytes(second)
    equal(2, len(shown()))
    (table,) = (run / "files" / "media" / "table").iterdir()
    for text in ("", "[", "[]", "{}", '{"columns": 1, "data": 2}', "[" * 100000,
                 '{"columns": ["a"], "data": [1, {}, "x"]}'):
        table.write_text(text)
        page_of(run)
    table.write_text(json.dumps({"columns": ["a"], "data": [[{"deep": [1]}, "beyond"]] * 150}))
    figure = page_of(run).runs[0]["figures"]["mistakes"]
    equal((100, 50, ['{"deep":[1]}']), (len(figure["rows"]), figure["more"], figure["rows"][0]))


def record(payload):
    kind = b"\x01"
    return struct.pack("<IH", zlib.crc32(kind + payload), len(payload)) + kind + payload


def check_paths(folder):
    """A log that names files outside of its run."""
    def field(number, data):
        return bytes([number << 3 | 2, len(data)]) + data

    run = pathlib.Path(folder, "run-20260101_000000-evil1")
    (run / "files").mkdir(parents=True)
    picture = b"\x89PNG\r\n\x1a\n" + bytes(40)
    (run / "secret.png").write_bytes(picture)
    (run / "files" / "good.png").write_bytes(picture)
    log = b":W&B\xe1\xbe\x00"
    for number, path in enumerate(("../secret.png", str(run / "secret.png"), "./good.png", "a//b",
                                   "good.png")):
        items = b""
        for key, value in ((b"_type", b'"image-file"'), (b"path", json.dumps(path).encode())):
            item = field(2, b"key%d" % number) + field(2, key)
            value = bytes([16 << 3 & 0x7f | 2 | 0x80, 1, len(value)]) + value
            items += field(1, item + value)
        log += record(b"\x12" + bytes([len(items) & 0x7f | 0x80, len(items) >> 7]) + items
                      if len(items) > 127 else field(2, items))
    (run / "run-evil1.wandb").write_bytes(log)
    equal({"key4"}, set(page_of(run).runs[0]["figures"]))


def main():
    if not (BUILD / "lib" / "accel" / "libaccel-tracker-wandb.so").exists():
        print("skipped: the W&B plugin was not built")
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(folder)
        check_figures(run)
        check_browser(run, folder)
        check_hostile(run)
        check_paths(folder)
    print("ok")


if __name__ == "__main__":
    if not os.environ.get("ACCEL_BUILD_DIR"):
        sys.exit("ACCEL_BUILD_DIR is not set")
    main()
