# SPDX-License-Identifier: Apache-2.0
"""The progress line: on a terminal, in a file, in a job of several ranks, with a pipe that is gone."""
import os
import pty
import re
import subprocess

from _launch import ACCEL, main

PROGRAM = f"{os.environ['ACCEL_BUILD_DIR']}/bin/program-progress"


def on_terminal(*arguments, locale="C.UTF-8"):
    """What the program writes to a terminal on its stderr."""
    leader, follower = pty.openpty()
    child = subprocess.Popen([PROGRAM, *map(str, arguments)], stderr=follower,
                             env={**os.environ, "LC_ALL": locale})
    os.close(follower)
    output = b""
    try:
        while chunk := os.read(leader, 65536):
            output += chunk
    except OSError:  # the terminal ends with its last writer
        pass
    os.close(leader)
    assert child.wait(timeout=30) == 0
    return output.decode()


def frames(output):
    return [frame for frame in output.replace("\r\n", "\n").split("\r\033[K") if frame]


def test_terminal():
    drawn = frames(on_terminal(200, 200))
    assert len(drawn) > 100, "every update is drawn"
    assert drawn[0].startswith("epoch 1:   0%|"), drawn[0]
    assert all(len(frame.rstrip("\n")) <= 90 for frame in drawn), max(drawn, key=len)
    assert drawn[-1].startswith("epoch 1: 100%|█") and drawn[-1].endswith("]\n"), drawn[-1]
    assert re.search(r" 200/200 \[00:0\d<00:00, [\d.]+it/s, loss=0.005, step=199\]", drawn[-1])
    halves = [frame for frame in drawn if " 100/200 " in frame]
    assert halves and halves[0].startswith("epoch 1:  50%|"), halves
    bar = re.search(r"\|(.*)\|", halves[0])[1]
    assert abs(bar.count("█") - len(bar) / 2) <= 1, bar


def test_plain_letters():
    last = frames(on_terminal(50, 50, locale="C"))[-1]
    assert last.isascii() and "#" in last, last


def test_unknown_total():
    last = frames(on_terminal(0, 30))[-1]
    assert last.startswith("epoch 1: ") and " 30it [" in last and "%" not in last, last


def test_cleared():
    output = on_terminal(50, 50, "clear")
    assert output.endswith("\r\033[K"), output[-80:]


def test_into_a_file():
    run = subprocess.run([PROGRAM, "200", "200"], capture_output=True, text=True, timeout=30)
    assert run.returncode == 0 and run.stdout == "", run
    lines = run.stderr.splitlines()
    assert len(lines) == 201 and "\r" not in run.stderr and "\033" not in run.stderr
    assert lines[-1].startswith("epoch 1: 100% 200/200 ["), lines[-1]


def test_one_rank_draws():
    run = subprocess.run([ACCEL, "launch", "-n", "3", PROGRAM, "10", "10"], capture_output=True,
                         text=True, timeout=60)
    drawn = [line for line in run.stderr.splitlines() if "epoch 1" in line]
    assert run.returncode == 0 and len(drawn) == 11, run.stderr


def test_nobody_reads():
    reader, writer = os.pipe()
    os.close(reader)
    child = subprocess.Popen([PROGRAM, "100", "100"], stderr=writer,
                             preexec_fn=lambda: __import__("signal").signal(13, 1))
    os.close(writer)
    assert child.wait(timeout=30) == 0, "a lost progress line is no failure"


main(globals())
