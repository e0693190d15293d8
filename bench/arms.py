# SPDX-License-Identifier: Apache-2.0
"""An arm is one side of a comparison: a program that measures when it is its turn. The programs of
a comparison are started first and then take turns, A B A B, so that what disturbs the machine
disturbs all of them."""
import contextlib
import os
import pathlib
import re
import select
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

START_TIMEOUT = 120  # imports, and the meeting of the ranks
TURN_TIMEOUT = 120
STOP_TIMEOUT = 30

# What a launcher around us may have left, and would be taken for that of the arm.
FOREIGN = re.compile(r"^(RANK|WORLD_SIZE|LOCAL_|MASTER_|ACCEL_|ACCELERATE_|TORCHELASTIC_|OMPI_|PMIX_|PMI_"
                     r"|SLURM_|WANDB_)")


class Missing(Exception):
    """A peer is not there, or does not work; the text says why."""


def environment(**more):
    clean = {k: v for k, v in os.environ.items() if not FOREIGN.match(k)}
    return {**clean, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
            **more}


class Arm:
    """command: a list; settings: what was chosen, in words; ranks: how many wait for their turn."""

    def __init__(self, name, command, ranks=1, settings="", env=None):
        self.name, self.settings, self.ranks = name, settings, ranks
        self.command, self.env = [str(word) for word in command], env or {}
        self.samples, self.process = [], None

    def start(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="accel-bench-"))
        self.pipes = []
        for name in ["out", *(f"go.{rank}" for rank in range(self.ranks))]:
            os.mkfifo(self.folder / name)
            self.pipes.append(os.open(self.folder / name, os.O_RDWR | os.O_NONBLOCK))
        self.log = open(self.folder / "log", "wb")
        try:
            self.process = subprocess.Popen(
                self.command, env=environment(BENCH_DIR=str(self.folder), **self.own_environment()),
                stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
                start_new_session=True, cwd=self.folder)
        except OSError as error:
            self.stop()
            raise Missing(f"{self.command[0]}: {error.strerror}") from None
        return self

    def own_environment(self):
        return {key: value.replace("{folder}", str(self.folder)) for key, value in self.env.items()}

    def turn(self, timeout=TURN_TIMEOUT):
        """One turn's samples, which are also kept."""
        for pipe in self.pipes[1:]:
            os.write(pipe, b"go\n")
        text, deadline = b"", time.monotonic() + timeout
        while not text.endswith(b"\n"):
            if select.select([self.pipes[0]], [], [], 0.1)[0]:
                text += os.read(self.pipes[0], 1 << 20)
            elif self.process.poll() is not None:
                raise Missing(f"ended with {self.process.returncode}: {self.last_line()}")
            elif time.monotonic() > deadline:
                raise Missing(f"gave no result within {timeout} s")
        samples = [float(word) for word in text.split()]
        self.samples += samples
        return samples

    def last_line(self):
        text = (self.folder / "log").read_text(errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        raised = [line for line in lines if re.search(r"\w*(Error|Exception): ?\S", line)]
        telling = raised or [line for line in lines if re.search(r"error|fail|unable", line, re.IGNORECASE)]
        return ((telling or lines or ["no message"])[-1]).strip()[:160]

    def stop(self):
        """The pipes' end is the programs' sign to leave; what does not hear it is ended."""
        for pipe in self.pipes:
            os.close(pipe)
        if self.process:
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.end_group(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(STOP_TIMEOUT)
            self.end_group(signal.SIGKILL)
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def end_group(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    @property
    def median(self):
        return statistics.median(self.samples)


def tried(arm):
    """Start it, and give it a turn of warm-up and one that counts: its median."""
    arm.start()
    try:
        arm.turn(START_TIMEOUT)
        arm.samples = []
        arm.turn()
        return arm.median
    except BaseException:  # also an interruption: nothing may stay behind
        arm.stop()
        raise


def best_of(arms):
    """Try each of the same peer with other settings, and keep the best one running. Missing if
    none works."""
    best, reasons = None, []
    try:
        for arm in arms:
            try:
                median = tried(arm)
            except Missing as reason:
                reasons.append(str(reason))
                continue
            if best and best.median <= median:
                arm.stop()
            else:
                if best:
                    best.stop()
                best = arm
    except BaseException:
        if best:
            best.stop()
        raise
    if not best:
        raise Missing(reasons[0] if reasons else "no settings to try")
    best.tried = [arm.settings for arm in arms]
    best.samples = []
    return best


class Comparison:
    """Arms that take turns. add() takes one peer's variants; a missing one leaves its reason."""

    def __init__(self, rounds):
        self.rounds, self.arms, self.missing = rounds, {}, {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for arm in self.arms.values():
            arm.stop()

    def add(self, name, *variants):
        self.arms[name] = best_of(variants)

    def add_peer(self, name, *variants):
        try:
            self.add(name, *variants)
        except Missing as reason:
            self.missing[name] = str(reason)

    def run(self):
        for turn in range(self.rounds):
            names = list(self.arms)
            for name in names if turn % 2 == 0 else reversed(names):
                try:
                    self.arms[name].turn()
                except Missing as reason:
                    self.missing[name] = str(reason)
                    self.arms.pop(name).stop()
        return self
