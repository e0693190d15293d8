# SPDX-License-Identifier: Apache-2.0
"""The example of media leaves an offline run with its images, table, sound and page; where the table
cannot be written, the rest is."""
import json, os, pathlib, subprocess, sys, tempfile

BUILD = pathlib.Path(os.environ["ACCEL_BUILD_DIR"])
PROGRAM = BUILD / "examples" / "media"
if not (BUILD / "lib" / "accel" / "libaccel-tracker-wandb.so").exists():
    print("skipped: the plugin was not built")
    sys.exit(77)


def run(directory):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    return subprocess.run([PROGRAM], cwd=directory, timeout=60, text=True, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE,
                          env={**kept, "WANDB_MODE": "offline", "HOME": directory,
                               "WANDB_DISABLE_GIT": "true",
                               "WANDB_DATA_DIR": os.path.join(directory, "data")})


def media(directory):
    (files,) = pathlib.Path(directory).glob("wandb/offline-run-*/files")
    return sorted(path.relative_to(files / "media").as_posix()
                  for path in (files / "media").rglob("*") if path.is_file())


with tempfile.TemporaryDirectory() as directory:
    done = run(directory)
    assert done.returncode == 0, done.stderr
    names = media(directory)
    # 20 steps: as with stock, the first two have the step 0 in their names, and the same content
    kinds = [name.split("/")[0] for name in names]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == \
        {"images": 38, "table": 1, "audio": 1, "html": 1}, names
    (path,) = pathlib.Path(directory).glob("wandb/offline-run-*/files/media/table/*.table.json")
    table = json.loads(path.read_text())
    assert table["columns"] == ["image", "label", "guess", "score"], table
    assert table["data"][4] == ["Image", 4, 5, 0.2], table
    staged = list(pathlib.Path(directory, "data", "artifacts", "staging").iterdir())
    assert len(staged) == 11, staged  # ten images and the table

with tempfile.TemporaryDirectory() as directory:
    # a file where artifacts are staged: the table cannot be logged, and all else is
    staging = pathlib.Path(directory, "data", "artifacts", "staging")
    staging.parent.mkdir(parents=True)
    staging.write_text("in the way")
    done = run(directory)
    assert done.returncode == 1 and "staging folder" in done.stderr, done
    names = media(directory)
    assert len([name for name in names if name.startswith("images/")]) == 38, names
    assert any(name.startswith("audio/") for name in names), names  # what came later is there
    assert not any(name.startswith("table/") for name in names), names
