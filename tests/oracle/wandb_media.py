# SPDX-License-Identifier: Apache-2.0
# test-timeout: 180
"""Media and tables: the same runs by the library in C and by the stock client in Python. Records,
files and artifacts must be equal, save that a PNG has the same pixels in other bytes."""
import base64
import hashlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile

import _wandb_log as log

BUILD = os.environ["ACCEL_BUILD_DIR"]
PROGRAM = os.path.join(BUILD, "bin", "program-wandb_media")
HEIGHT, WIDTH = 5, 7


class Maker:
    """What the program in C makes, by the stock package."""

    def __init__(self, wandb):
        import numpy
        self.wandb, self.np = wandb, numpy
        self.pixels = ((numpy.arange(HEIGHT * WIDTH * 4) * 37 + 11) % 256).astype(numpy.uint8)

    def array(self, channels, offset=0):
        count = HEIGHT * WIDTH * channels
        return self.pixels[offset:offset + count].reshape(HEIGHT, WIDTH, channels)

    def image(self, channels, caption=None):
        return self.wandb.Image(self.array(channels), caption=caption)

    def floats(self, dtype, white):
        count = HEIGHT * WIDTH
        values = white * self.np.arange(count, dtype=self.np.float64) / (count - 1)
        if white == 1:  # stock takes 0..255 only
            values = values * 255
        return self.wandb.Image(values.astype(dtype).reshape(HEIGHT, WIDTH))

    def html(self, text, inject):
        return self.wandb.Html(text, inject=inject)

    def histogram(self, dtype, count, bins):
        values = self.np.arange(count) * 7919 % 1000
        if dtype != self.np.int64:
            values = (values / 37.0 - 11.3).astype(dtype)
        return self.wandb.Histogram(values, num_bins=bins or 64)

    def sound(self, channels, caption=None):
        numbers = self.np.arange(800) * 7919 % 801 - 400
        samples = (1.2 * numbers / 400.0).astype(self.np.float32)
        if channels > 1:
            samples = samples.reshape(-1, channels)
        return self.wandb.Audio(samples, sample_rate=8000, caption=caption)


def log_kinds(run, make):
    np = make.np
    wave = np.array([0, 1, -1, 32767, -32768, 300], dtype=np.int16)
    run.log({"grey": make.image(1), "rgb": make.image(3, "three é"), "rgba": make.image(4, "")},
            step=0)
    run.log({"f32": make.floats(np.float32, 255), "f64": make.floats(np.float64, 255),
             "unit": make.floats(np.float64, 1)}, step=1)
    run.log({"loss": 0.5, "h64": make.histogram(np.float64, 1000, 0),
             "nest": {"h32": make.histogram(np.float32, 1000, 10), "x": 1},
             "hi": make.histogram(np.int64, 1000, 512), "h1": make.histogram(np.float32, 1, 3),
             "h0": make.histogram(np.float64, 0, 4),
             "given": make.wandb.Histogram(np_histogram=([1, 2.5], [0, 0.5, 3]))}, step=2)
    run.log({"page": make.html("<html><b>x</b></html>\n", True),
             "head": make.html(" <p><head><title>t</title></head>", True),
             "a/b": make.html("plain ", True), "raw": make.html(" as it is \n", False)}, step=3)
    run.log({"sound": make.sound(1, "a sound"), "stereo": make.sound(2),
             "wave": make.wandb.Audio(wave, sample_rate=44100)}, step=4)


def media(run, make):
    np = make.np
    log_kinds(run, make)
    run.log({"pair": [make.image(3, "one"), make.image(1)],
             "bare": [make.image(1), make.image(1, "unseen")]}, step=5)
    run.log({"pages": [make.html("a", True), make.html("b", True)],
             "sounds": [make.sound(1), make.sound(2, "two")],
             "hs": [make.histogram(np.float64, 10, 2), make.histogram(np.float64, 20, 2)],
             "mixed": [make.histogram(np.float64, 10, 2), make.html("c", False)]}, step=6)
    run.log({"../up": make.html("climbs", False), "./a/./b": make.html("dots", False)}, step=7)
    run.log({"loss": 0.25, "deep": {"er": {"im": make.image(1, "deep")}}})
    run.log({"last": make.image(1)})
    # as Accelerate's log_images and log_table do it
    run.log({"validation": [make.wandb.Image(make.array(3, offset)) for offset in range(3)]},
            step=20)
    run.log({"predictions": make.wandb.Table(columns=["text", "score"],
                                             data=[["good", 0.5], ["bad", 1]])}, step=21)


def tables(run, make):
    columns = ["i", "f", "s", "b", "n", "l", "nan", "d", "m", "e", "zé"]
    table = make.wandb.Table(columns=columns)
    table.add_data(1, 2.5, "x", True, None, [1, 2], math.nan, {"k": 1}, None, ["a", None], 1e-7)
    table.add_data(2**64 - 1, 3.0, "é\n\"<\x7f\U0001f600", False, None, [3], 1.0, {"k": 2}, "late",
                   [None, "b"], 1e16)
    table.add_data(-3, math.inf, "", None, None, [4, 5.5, 6], None, None, None, None,
                   123456789.125)
    run.log({"tab le/x": table}, step=0)
    nested = make.wandb.Table(columns=columns[:3])
    nested.add_data([[1, 2], [3]], {"b": {"y": "t"}, "a": [True]}, [{"p": 1}, {"p": 2}])
    nested.add_data([[7]], {"a": [False, True], "b": {"y": "u"}}, [{"p": 3}])
    run.log({"nested": nested, "empty": make.wandb.Table(columns=columns[:2], data=[])}, step=1)
    files, picture = make.wandb.Table(columns=columns[:4]), make.image(3)
    files.add_data(picture, make.html("in a cell", False), make.sound(1, "cell"), 1)
    files.add_data(picture, None, None, 2)
    files.add_data(make.image(1, "q"), make.html("in a cell", False), None, 3)
    run.log({"files": files}, step=2)


# ---- comparing ----

def pixels(path):
    """(the digest of the pixels in 64 letters, the same in 24)"""
    from PIL import Image
    with Image.open(path) as image:
        digest = hashlib.sha256(repr((image.mode, image.size)).encode() + image.tobytes())
    return digest.hexdigest()


def names_of(path):
    """What the content of a file is called: sha256, md5 in hex, md5 in base64."""
    with open(path, "rb") as file:
        data = file.read()
    md5 = hashlib.md5(data).digest()
    return (hashlib.sha256(data).hexdigest(), md5.hex()[:20], base64.b64encode(md5).decode(),
            str(len(data)))


def all_files(root):
    return [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]


def check_artifact(fields):
    """The digest is that of the entries, and each entry's that of its file."""
    entries = {}
    for key, value in fields.items():
        found = re.fullmatch(r"artifact\.manifest\.contents\.(\d+)\.(\w+)", key)
        if found:
            entries.setdefault(found[1], {})[found[2]] = value
    digest = hashlib.md5(b"wandb-artifact-manifest-v1\n")
    for entry in sorted(entries.values(), key=lambda entry: entry["path"]):
        digest.update(f"{entry['path']}:{entry['digest']}\n".encode())
        _, _, md5, size = names_of(entry["local_path"])
        assert (md5, size) == (entry["digest"], entry["size"]), entry
    assert digest.hexdigest() == fields["artifact.digest"], fields
    return entries


def plain(records, directory):
    """Records in which a PNG goes by its pixels, and with it what is made of its bytes."""
    renamed = {}
    for path in all_files(directory):
        with open(path, "rb") as file:
            is_png = file.read(8) == b"\x89PNG\r\n\x1a\n"
        if is_png:
            sha256, md5, base, _ = names_of(path)
            digest = pixels(path)
            renamed.update({sha256: digest, sha256[:20]: digest[:20], md5: digest[20:40],
                            base: "of " + digest[:24]})

    def rename(text):
        for old, new in renamed.items():
            text = text.replace(old, new)
        return text

    result, ids = [], {}
    for kind, fields in records:
        if kind == "artifact" and fields["artifact.type"] == "run_table":
            entries = check_artifact(fields)
            fields = dict(fields)
            for which in ("client_id", "sequence_client_id"):
                ids[fields[f"artifact.{which}"]] = f"{which} of {fields['artifact.name']}"
            for number, entry in entries.items():
                prefix = f"artifact.manifest.contents.{number}."
                if entry["path"].endswith(".table.json"):
                    with open(entry["local_path"], encoding="utf-8") as file:
                        fields[prefix + "text"] = rename(file.read())
                    fields[prefix + "digest"] = "of the text"
                if entry["path"].endswith(".png"):
                    fields[prefix + "size"] = "of a PNG"
            fields["artifact.digest"] = "of the entries"
            # sorted by names that the content of PNGs decides: by their own instead
            order = sorted(entries, key=lambda number: rename(entries[number]["path"]))
            for key in [key for key in fields if key.startswith("artifact.manifest.contents.")]:
                number, rest = re.fullmatch(r"artifact\.manifest\.contents\.(\d+)\.(\w+)",
                                            key).groups()
                fields[f"artifact.manifest.contents.s{order.index(number)}.{rest}"] = \
                    fields.pop(key)
            for key in [key for key in fields if re.search(r"contents\.s\d+\.local_path", key)]:
                del fields[key]
        for key in [key for key in fields if key.endswith("/size]")]:
            if fields.get(key.replace("/size]", "/path]"), "").endswith(".png\""):
                fields[key] = "of a PNG"
        result.append([kind, {key: rename(value) if isinstance(value, str) else value
                              for key, value in fields.items()}])
    text = json.dumps(result).replace(directory, "DIR")
    for old, new in ids.items():
        text = text.replace(old, new)
    return json.loads(text)


def media_files(path):
    """The files below files/media: name -> content, PNGs by their pixels."""
    root, found = os.path.join(os.path.dirname(path), "files"), {}
    for file in all_files(os.path.join(root, "media")):
        name = os.path.relpath(file, root)
        if name.endswith(".png"):
            digest = pixels(file)
            assert names_of(file)[0][:20] in name, name
            found[re.sub(r"_[0-9a-f]{20}\.png", f"_{digest[:20]}.png", name)] = digest
        else:
            with open(file, "rb") as stream:
                found[name] = stream.read()
    return found


def run_both(name, base):
    paths = []
    for side, command in (("stock", [sys.executable, __file__, name]), ("ours", [PROGRAM, name])):
        directory = os.path.join(base, side)
        os.mkdir(directory)
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith(("WANDB_", "XDG_"))}
        environment.update(HOME=directory, WANDB_MODE="offline", TMPDIR=directory,
                           WANDB_DATA_DIR=os.path.join(directory, "data"), WANDB_DISABLE_GIT="true",
                           ACCEL_PLUGIN_PATH=os.path.join(BUILD, "lib", "accel"))
        done = subprocess.run([*command, directory], cwd=directory, env=environment, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        if done.returncode:
            sys.exit(f"{side} {name}: exit {done.returncode}\n{done.stderr}")
        paths.append((directory, log.find_log(directory)))
    return paths


def check(name, base):
    logs, files = [], []
    for directory, path in run_both(name, base):
        records = plain(log.read(path), directory)
        logs.append([(kind, fields) for kind, fields in records
                     if not (kind == "files" and "requirements.txt" in fields["files.files.0.path"])
                     ])
        files.append(media_files(path))
    differences, _ = log.compare(*logs)
    for path in sorted(set(files[0]) | set(files[1])):
        if files[0].get(path) != files[1].get(path):
            differences.append(f"{path}: stock {files[0].get(path)!r:.300}, "
                               f"ours {files[1].get(path)!r:.300}")
    if not files[0]:
        differences.append("no files at all")
    return [f"{name}: {line}" for line in differences]


def check_many(base):
    """600 images of 768 KiB: at most a part of them is kept at a time."""
    done = subprocess.run([PROGRAM, "many", base], cwd=base, check=True, text=True, timeout=150,
                          env={**os.environ, "HOME": base, "WANDB_MODE": "offline"},
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    path = log.find_log(base)
    if len(media_files(path)) != 600:
        return [f"many: {len(media_files(path))} files"]
    if int(done.stdout) > 400 << 10 and not os.environ.get("ACCEL_SANITIZE"):
        return [f"many: {done.stdout.strip()} KiB of memory"]
    return []


def main():
    if not os.path.exists(os.path.join(BUILD, "lib", "accel", "libaccel-tracker-wandb.so")):
        print("skipped: the plugin was not built")
        return 77
    problems = []
    del log.EXPLAINED["files"]  # of these runs only the one of requirements.txt, which went above
    with tempfile.TemporaryDirectory() as base:
        for name in ("media", "tables", "many"):
            where = os.path.join(base, name)
            os.mkdir(where)
            problems += check_many(where) if name == "many" else check(name, where)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    if len(sys.argv) > 2:
        import wandb
        the_run = wandb.init(project="my_project", dir=sys.argv[2], id="media1")
        {"media": media, "tables": tables}[sys.argv[1]](the_run, Maker(wandb))
        the_run.finish()
    else:
        sys.exit(main())
