# SPDX-License-Identifier: Apache-2.0
# test-timeout: 120
"""Ranks that fail, signals, and what is left after them: nothing."""
import os
import pathlib
import pty
import random
import re
import signal
import subprocess
import tempfile
import time

from _launch import ACCEL, COLLECTIVE, RANK, Job, check, contains, equal, launch, main


def test_exit_code():
    code, out, err = launch("-n", 4, RANK, "say", "hello", "1:warn", "bad luck", "1:exit", 7,
                            "sleep", 600000)
    equal(7, code)
    check(re.search(r"accel launch: rank 1 \(pid \d+\) returned exit code 7 0\.\d+ s after the "
                    r"start; 3 others were stopped\n  its last lines:\n", err), err)
    check(err.endswith("    [1] hello\n    [1] bad luck\n")
          or err.endswith("    [1] bad luck\n    [1] hello\n"), err)


def test_signals():
    for number, name in ((9, "SIGKILL"), (11, "SIGSEGV"), (6, "SIGABRT"), (15, "SIGTERM")):
        code, _, err = launch("-n", 3, RANK, "2:kill", number, "sleep", 600000)
        equal(128 + number, code, name)
        check(re.search(rf"rank 2 \(pid \d+\) was killed by {name} \(signal {number}[,)]", err), err)
        contains("it printed nothing", err)


def test_one_rank():
    code, _, err = launch("-n", 1, RANK, "exit", 3)
    equal(3, code)
    contains("rank 0 (pid ", err)
    check("other" not in err, err)


def test_all_well():
    equal((0, "", ""), launch("-n", 5, RANK))


def test_last_lines():
    code, _, err = launch("-n", 2, RANK, "0:lines", 100, "0:raw", "the end", "0:exit", 1,
                          "sleep", 600000)
    equal(1, code)
    equal([f"    [0] line {i}" for i in range(91, 100)] + ["    [0] the end"],
          err.split("its last lines:\n")[1].splitlines())
    _, _, err = launch("-n", 1, RANK, "bytes", 100000, "raw", r"\n", "raw", r"1%\r2%\r\n", "exit", 1)
    tail = err.split("its last lines:\n")[1].splitlines()
    equal("    [0] 2%", tail[-1], "a progress bar as it was seen last")
    check(all(len(line) < 520 for line in tail), "long lines are cut")


def test_quiet():
    equal((4, "", ""), launch("-n", 2, "-q", RANK, "1:exit", 4, "sleep", 600000))


def test_those_that_follow_are_not_blamed():
    with tempfile.TemporaryDirectory() as folder:
        gone = pathlib.Path(folder, "gone")
        # Rank 2 dies of a signal; the others see it at once and return a code of their own.
        code, _, err = launch("-n", 4, RANK, "2:touch", gone, "2:kill", 9, "await", gone, "exit", 1)
        check(code in (1, 137), code)
        contains("rank 2 (pid ", err)
        equal(137, code)


def test_the_first_of_many():
    with tempfile.TemporaryDirectory() as folder:
        for first in range(4):
            gone = pathlib.Path(folder, str(first))
            code, _, err = launch("-n", 4, RANK, f"{first}:touch", gone, f"{first}:exit", 10 + first,
                                  "await", gone, "sleep", 80, "exit", 1)
            equal(10 + first, code)
            contains(f"rank {first} (pid ", err)


def test_grace():
    with tempfile.TemporaryDirectory() as folder:
        ready = pathlib.Path(folder, "ready")
        # Rank 1 wants to go on; rank 2 takes its time to end well.
        code, _, err = launch("-n", 3, "--grace", 0.2, RANK, "1:ignore", 15, "2:on", 15, 0,
                              "1:touch", ready, "0:await", ready, "0:sleep", 50, "0:exit", 5,
                              "sleep", 600000)
        equal(5, code)
        contains("2 others were stopped, some by SIGKILL", err)


def test_no_grace():
    code, _, _ = launch("-n", 2, "--grace", 0, RANK, "1:ignore", 15, "0:sleep", 50, "0:exit", 5,
                        "sleep", 600000)
    equal(5, code)


def test_a_stopped_rank_is_stopped():
    job = Job("-n", 2, RANK, "0:sleep", 300, "0:exit", 5, "sleep", 600000)
    os.kill(job.await_ranks(2)[1], signal.SIGSTOP)
    equal(5, job.finish()[0])


def test_grandchildren():
    job = Job("-n", 2, RANK, "child", "1:sleep", 50, "1:exit", 2, "sleep", 600000)
    equal(2, job.finish()[0], "after a failure")
    equal((0, "", ""), launch("-n", 2, RANK, "child"), "after a good end")


def test_interruption():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        job = Job("-n", 3, RANK, "on", int(number), 0, "say", "ready", "child", "sleep", 600000)
        job.await_lines(3)
        job.process.send_signal(number)
        code, _, err = job.finish()
        equal(128 + number, code, "even if every rank ends well on it")
        equal(f"accel launch: interrupted by {number.name}; all ranks have ended\n", err)


def test_a_signal_for_everybody():
    """As Slurm and systemd send it: the rank that dies of it first has not failed."""
    for _ in range(5):
        job = Job("-n", 3, RANK, "say", "ready", "sleep", 600000)
        job.await_lines(3)
        for pid in [*job.await_ranks(3).values(), job.process.pid]:
            os.kill(pid, signal.SIGTERM)
        code, _, err = job.finish()
        equal(143, code)
        equal("accel launch: interrupted by SIGTERM; all ranks have ended\n", err)


def test_interruption_with_grace():
    job = Job("-n", 2, "--grace", 0.2, RANK, "ignore", 15, "say", "ready", "sleep", 600000)
    job.await_lines(2)
    job.process.terminate()
    code, _, err = job.finish()
    equal(143, code)
    contains("some ranks had to be killed", err)


def test_second_signal_kills():
    job = Job("-n", 2, "--grace", 1000, RANK, "ignore", 2, "say", "ready", "sleep", 600000)
    job.await_lines(2)
    job.process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    check(job.process.poll() is None, "the ranks have their grace")
    job.process.send_signal(signal.SIGINT)
    equal(130, job.finish()[0])


def test_nobody_reads_after_a_signal():
    job = Job("-n", 2, "--grace", 0.2, RANK, "lines", 1000000)
    job.await_lines(1)
    job.process.terminate()
    equal(143, job.process.wait(timeout=60), "with the output unread")
    job.finish()


def test_a_pipeline_is_interrupted():
    """^C ends the reader too, and at once; the ranks keep their grace."""
    with tempfile.TemporaryDirectory() as folder:
        saved = pathlib.Path(folder, "saved")
        job = Job("-n", 2, RANK, "ignore", 2, "say", "ready", "sleep", 200, "say", "saving", "sleep",
                  100, "touch", saved)
        job.await_lines(2)
        job.process.stdout.close()
        job.process.stdout = None
        job.process.send_signal(signal.SIGINT)
        equal(130, job.finish()[0])
        check(saved.exists(), "the ranks could end by themselves")


def test_a_failure_without_a_reader():
    job = Job("-n", 2, RANK, "say", "ready", "sleep", 50, "1:say", "bye", "1:exit", 3, "sleep", 600000)
    job.await_lines(2)
    job.process.stdout.close()
    job.process.stdout = None
    code, _, err = job.finish()
    check(code in (3, 141), code)
    check(code == 141 or "rank 1 (pid" in err, err)


def test_user_signals_are_passed_on():
    job = Job("-n", 2, RANK, "on", int(signal.SIGUSR1), 0, "say", "ready", "sleep", 600000)
    job.await_lines(2)
    job.process.send_signal(signal.SIGUSR1)
    equal((0, ""), job.finish()[::2])


def test_ignored_signals_stay_ignored():
    """As under nohup."""
    job = Job("-n", 2, RANK, "say", "ready", "sleep", 300,
              preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    job.await_lines(2)
    job.process.send_signal(signal.SIGHUP)
    equal(0, job.finish()[0])


def test_ignored_children():
    """With SIGCHLD ignored the system reaps children by itself."""
    job = Job("-n", 2, RANK, "1:exit", 6, "sleep", 600000,
              preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    equal(6, job.finish()[0])


def state(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def await_state(pid, *wanted):
    until = time.monotonic() + 60
    while (found := state(pid)) not in wanted:
        check(time.monotonic() < until, f"process {pid} is {found}, not {wanted}")
        time.sleep(0.005)


def test_terminal_stop():
    job = Job("-n", 2, RANK, "say", "ready", "sleep", 200)
    job.await_lines(2)
    ranks = job.await_ranks(2)
    job.process.send_signal(signal.SIGTSTP)
    for pid in [job.process.pid, *ranks.values()]:
        await_state(pid, "T")
    job.process.send_signal(signal.SIGCONT)
    equal(0, job.finish()[0])


def test_a_terminal():
    """On a terminal ^C reaches the launcher alone, and no rank is stopped for reading."""
    master, slave = pty.openpty()
    job = Job("-n", 2, RANK, "cat", "say", "ready", "sleep", 600000, stdin=slave, stdout=slave,
              stderr=slave, start_new_session=True,
              preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0))
    os.close(slave)
    seen = b""
    while seen.count(b"ready") < 2:
        seen += os.read(master, 1000)
    os.write(master, b"\x03")
    equal(130, job.process.wait(timeout=60))
    job.check_gone()
    os.close(master)


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def test_kill_any_rank():
    """At a random moment: the right one is named, with its signal, and all are gone."""
    for round_number in range(50):
        size = random.randint(2, 4)
        program = (COLLECTIVE, 1000000000) if round_number % 2 else (RANK, "child", "sleep", 600000)
        job = Job("-n", size, *program)
        ranks = job.await_ranks(size)
        time.sleep(random.random() * 0.05)
        victim = random.randrange(size)
        check(kill(ranks[victim]), "it runs until it is killed")
        code, _, err = job.finish()
        equal(137, code, err)
        contains(f"accel launch: rank {victim} (pid {ranks[victim]}) was killed by SIGKILL", err)


def test_ranks_that_wait_for_a_dead_one_are_told():
    job = Job("-n", 3, COLLECTIVE, 1000000000)
    ranks = job.await_ranks(3)
    job.await_lines(3)
    kill(ranks[1])
    code, _, err = job.finish()
    equal(137, code)
    for rank in (0, 2):
        check(re.search(rf"\[{rank}\] .*rank 1", err), f"rank {rank} is told who: {err}")


def shared_memory():
    sockets = pathlib.Path("/proc/net/unix").read_text().splitlines()
    return set(os.listdir("/dev/shm")) | {line.split()[-1] for line in sockets if "@accel" in line}


def test_kill_the_launcher():
    """At a random moment, from before its ranks run: nothing of the job is left."""
    before = shared_memory()
    for round_number in range(20):
        program = (COLLECTIVE, 1000000000) if round_number % 2 else (RANK, "child", "sleep", 600000)
        job = Job("-n", 3, *program)
        time.sleep(random.random() * (0.01 if round_number < 10 else 0.1))
        job.process.kill()
        equal(-9, job.process.wait(timeout=60))
        job.finish()
    until = time.monotonic() + 10  # a meeting of another test's beside this one is over soon
    while shared_memory() - before and time.monotonic() < until:
        time.sleep(0.1)
    equal(set(), shared_memory() - before)


def test_the_guard_goes_with_the_job():
    job = Job("-n", 2, RANK, "say", "ready", "sleep", 100)
    job.await_lines(2)
    names = [pathlib.Path(f"/proc/{pid}/comm").read_text().strip() for pid in job.processes()]
    equal(1, names.count("accel-guard"))
    guard = job.processes()[names.index("accel-guard")]
    open_files = {fd: os.readlink(f"/proc/{guard}/fd/{fd}") for fd in os.listdir(f"/proc/{guard}/fd")}
    check(list(open_files) == ["0"] and open_files["0"].startswith("pipe:"), open_files)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(guard, number)
    equal(0, job.finish()[0])


def test_without_a_guard():
    """Even if someone kills both, the ranks themselves go."""
    job = Job("-n", 2, RANK, "sleep", 600000)
    job.await_ranks(2)
    for pid in job.processes():
        if pathlib.Path(f"/proc/{pid}/comm").read_text() == "accel-guard\n":
            kill(pid)
    job.process.kill()
    job.finish()


def test_inside_another():
    code, out, _ = launch("-n", 1, ACCEL, "launch", "-n", 2, "--no-prefix", RANK, "print",
                          "WORLD_SIZE", "1:exit", 3, "sleep", 600000)
    equal(3, code, "the inner code is the outer one")
    contains("WORLD_SIZE=2\n", out)
    job = Job("-n", 2, ACCEL, "launch", "-n", 2, RANK, "child", "sleep", 600000)
    time.sleep(0.2)
    job.process.kill()
    job.finish()


if __name__ == "__main__":
    main(globals())
