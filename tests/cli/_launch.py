# SPDX-License-Identifier: Apache-2.0
"""What the tests of `accel launch` share: the tool, a job that is marked so that its
processes can be found, and checks."""
import os
import pathlib
import signal
import subprocess
import sys
import time
import uuid

BUILD = pathlib.Path(os.environ["ACCEL_BUILD_DIR"])
ACCEL = str(BUILD / "bin" / "accel")
RANK = str(BUILD / "bin" / "program-launch_rank")
COLLECTIVE = str(BUILD / "bin" / "program-launch_collective")
HANG = 60  # seconds after which a test is stuck

SIGNALS = {name: getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGKILL")}


class Job:
    """`accel launch` with these arguments. Its processes carry a mark in their environment."""

    def __init__(self, *arguments, env=None, **popen):
        self.mark = f"ACCEL_TEST_MARK={uuid.uuid4().hex}"
        name, value = self.mark.split("=")
        environment = {**os.environ, **(env or {}), name: value}
        popen.setdefault("stdout", subprocess.PIPE)
        popen.setdefault("stderr", subprocess.PIPE)
        popen.setdefault("stdin", subprocess.DEVNULL)
        self.process = subprocess.Popen([ACCEL, "launch", *map(str, arguments)],
                                        env=environment, bufsize=0, **popen)

    def processes(self):
        """Ids of the job's living processes: launcher, guard, ranks and theirs."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    if self.mark.encode() not in file.read():
                        continue
            except OSError:
                continue  # gone meanwhile, or a zombie
            found.append(int(entry))
        return found

    def ranks(self):
        """Process id of each rank that runs its program: {rank: pid}."""
        found = {}
        for pid in self.processes():
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    variables = dict(entry.split(b"=", 1) for entry in file.read().split(b"\0")
                                     if b"=" in entry)
                parent = int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue
            if b"RANK" in variables and b"ACCEL_JOB_ID" in variables and parent == self.process.pid:
                found[int(variables[b"RANK"])] = pid
        return found

    def await_ranks(self, count):
        until = time.monotonic() + HANG
        while len(found := self.ranks()) < count:
            check(time.monotonic() < until, f"only ranks {found} have started")
            check(self.process.poll() is None, "the launcher ended before its ranks ran")
            time.sleep(0.005)
        return found

    def await_lines(self, count):
        """Read until that many lines of output have come. What was read is not in finish()."""
        text = b""
        while text.count(b"\n") < count:
            more = self.process.stdout.read(4096)
            check(more, f"only {text} was printed")
            text += more
        return text.decode()

    def finish(self, input=None):
        """(exit code, stdout, stderr), and nothing of the job is left."""
        out, err = self.process.communicate(input=input, timeout=HANG)
        self.check_gone()
        return self.process.returncode, (out or b"").decode(errors="replace"), \
            (err or b"").decode(errors="replace")

    def check_gone(self):
        until = time.monotonic() + HANG
        while left := self.processes():
            check(time.monotonic() < until, f"processes {left} are left")
            time.sleep(0.005)


def launch(*arguments, **options):
    input = options.pop("input", None)
    if input is not None:
        options["stdin"] = subprocess.PIPE
    return Job(*arguments, **options).finish(input)


def accel(*arguments, env=None):
    """(exit code, stdout, stderr) of the tool."""
    result = subprocess.run([ACCEL, *map(str, arguments)], capture_output=True, timeout=HANG,
                            env={**os.environ, **(env or {})}, text=True, check=False)
    return result.returncode, result.stdout, result.stderr


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def equal(expected, found, what=""):
    check(expected == found, f"{what}: expected {expected!r}, found {found!r}")


def contains(part, text, what=""):
    check(part in text, f"{what}: {part!r} is not in {text!r}")


def main(namespace):
    """Run every function test_*; the names on the command line, if there are any."""
    names = sys.argv[1:] or [name for name in namespace if name.startswith("test_")]
    for name in names:
        start = time.monotonic()
        namespace[name]()
        print(f"{name}: ok, {time.monotonic() - start:.2f} s", flush=True)
