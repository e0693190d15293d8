# SPDX-License-Identifier: Apache-2.0
"""What the tests of `accel sync` and `accel login` share: a W&B server, and a place to work in."""
import glob
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from _launch import ACCEL, BUILD, HANG, check

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "oracle"))
import _wandb_client as client  # noqa: E402
from _wandb_server import Server  # noqa: E402

KEY = client.KEY
PROGRAM = str(BUILD / "bin" / "program-wandb_upload")
SOON = {"WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "0.2"}
PLUGIN = BUILD / "lib" / "accel" / "libaccel-tracker-wandb.so"


class Place:
    """A server with its own key, and a folder that is home and working directory."""

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="accel-test-")
        self.server = Server(key=KEY).__enter__()
        self.environment = client.environment(self.folder, self.server, **SOON)
        self.started = []
        return self

    def __exit__(self, *_):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        self.server.__exit__()
        shutil.rmtree(self.folder)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def start(self, *words, **more):
        options = {name: more.pop(name) for name in ("stdin", "preexec_fn") if name in more}
        process = subprocess.Popen(
            [str(word) for word in words], cwd=self.folder, text=True,
            env={key: value for key, value in {**self.environment, **more}.items()
                 if value is not None},
            stdin=options.pop("stdin", subprocess.PIPE), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, **options)
        self.started.append(process)
        return process

    def end(self, process, text=""):
        """(exit code, standard output, standard error)"""
        out, err = process.communicate(text, timeout=HANG)
        return process.returncode, out, err

    def accel(self, *words, text="", **more):
        return self.end(self.start(ACCEL, *words, **more), text)

    def log(self, name, rows, **more):
        """A run, offline."""
        code, out, err = self.end(self.start(PROGRAM, "log", name, rows, WANDB_MODE="offline",
                                             **more))
        check(code == 0, out + err)

    def begin(self, name, rows, pause_ms=0, **more):
        """The same, which waits for a line before it finishes."""
        process = self.start(PROGRAM, "log", name, rows, pause_ms, "wait", WANDB_MODE="offline",
                             **more)
        check(process.stdout.readline().startswith("begun"), "it begins")
        return process

    def logs(self):
        return sorted(glob.glob(self.path("wandb", "*run-*", "run-*.wandb")))

    def rows(self):
        """{run: the values of its rows}"""
        with self.server.lock:
            return {run.name: [row["i"] for row in run.rows("wandb-history.jsonl")]
                    for run in self.server.runs.all.values()}

    def states(self):
        return {run["path"].split("/")[-1]: run["state"] for run in self.server.state()["runs"]}


def until(what, condition):
    limit = time.monotonic() + HANG
    while not condition():
        check(time.monotonic() < limit, f"never: {what}")
        time.sleep(0.05)


def need_plugin():
    if not PLUGIN.exists():
        print("skipped: the plugin was not built")
        sys.exit(77)
