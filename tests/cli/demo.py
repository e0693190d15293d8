# SPDX-License-Identifier: Apache-2.0
# test-timeout: 300
# test-serial
"""scripts/demo, with a short training in place of the whole one: shows what it promises, in a pipe
without control characters, and leaves no process when it is interrupted."""
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import uuid

from _gate import SOURCE
from _jobs import environment
from _launch import BUILD, check, contains, equal, main

TINY = ["2", "--layers", "1", "--width", "16", "--heads", "1"]
SHORT = [*TINY, "--steps", "20"]
LONG = [*TINY, "--epochs", "1000"]  # does not come to its end by itself
HANG = 200


class Demo:
    def __init__(self, directory, options):
        self.mark = uuid.uuid4().hex
        self.process = subprocess.Popen(
            ["sh", f"{SOURCE}/scripts/demo", *options], stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            env=environment(HOME=directory, ACCEL_DEMO_DIR=directory, ACCEL_BUILD_DIR=str(BUILD),
                            ACCEL_TEST_MARK=self.mark))

    def left(self):
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if self.mark.encode() in pathlib.Path(f"/proc/{entry}/environ").read_bytes():
                    found.append(int(entry))
            except OSError:
                continue  # gone meanwhile, or a zombie
        return found

    def check_gone(self):
        until = time.monotonic() + HANG
        while left := self.left():
            check(time.monotonic() < until, f"processes {left} are left")
            time.sleep(0.02)


def test_shows_what_it_promises():
    with tempfile.TemporaryDirectory() as directory:
        demo = Demo(directory, SHORT)
        output, _ = demo.process.communicate(timeout=HANG)
        equal(0, demo.process.returncode, output)
        demo.check_gone()
        bad = re.search(r"[\x00-\x09\x0b-\x1f\x7f]", output)
        check(not bad, f"a control character: {bad}")
        difference = re.search(r"^largest difference ([\d.]+); \d+ and \d+ words/s: ", output, re.MULTILINE)
        check(difference and float(difference.group(1)) < 1e-3, output)
        check(len(re.findall(r"^ +\d+( +\d\.\d{5}){3}$", output, re.MULTILINE)) >= 12, output)
        check(re.search(r"^accel launch: rank 1 \(pid \d+\) was killed by SIGKILL", output,
                        re.MULTILINE), output)
        contains("exit code of the launcher: 137", output)
        check(re.search(r"validation loss [\d.]+ nats per character; a trigram has 2\.\d+, a 4-gram 1\.",
                        output), output)
        equal(10, len(re.search(r"not in the list: (.*)", output).group(1).split()))
        contains("wandb sync ", output)
        if os.path.exists(f"{BUILD}/libexec/accel/accel-report"):
            contains("<html", pathlib.Path(f"{directory}/report.html").read_text().lower())


def test_interrupted():
    """In each of its parts: the whole of what it started ends."""
    for part in ("== The same training", "== A process of", "== The whole training"):
        with tempfile.TemporaryDirectory() as directory:
            demo = Demo(directory, LONG)
            for line in demo.process.stdout:
                if line.startswith(part):
                    break
            time.sleep(0.2)
            # As a terminal does: to the foreground group, of which ranks are not members.
            os.killpg(demo.process.pid, signal.SIGINT)
            output, _ = demo.process.communicate(timeout=HANG)
            check(demo.process.returncode != 0, f"{part}: {output}")
            demo.check_gone()


if __name__ == "__main__":
    if not os.path.exists(f"{BUILD}/examples/words"):
        print("skipped: examples/words was not built: libopenblas-dev")
        raise SystemExit(77)
    main(globals())
