# SPDX-License-Identifier: Apache-2.0
"""What the ranks get from the launcher, and what becomes of their output."""
import os
import pathlib
import subprocess
import tempfile

from _launch import ACCEL, RANK, Job, accel, check, contains, equal, launch, main


def lines_of(out, rank, width=1):
    prefix = f"[{rank:{width}}] "
    return [line[len(prefix):] for line in out.splitlines() if line.startswith(prefix)]


def test_environment():
    names = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
             "ACCEL_JOB_ID", "OMP_NUM_THREADS", "TORCHELASTIC_RUN_ID", "OMPI_COMM_WORLD_RANK",
             "PMI_FD", "GROUP_RANK", "SLURM_JOB_ID"]
    outer = {"RANK": "7", "WORLD_SIZE": "9", "TORCHELASTIC_RUN_ID": "x", "GROUP_RANK": "1",
             "OMPI_COMM_WORLD_RANK": "3", "PMI_FD": "5", "SLURM_JOB_ID": "12",
             "OMP_NUM_THREADS": "", "MASTER_PORT": ""}
    printed = [word for name in names for word in ("print", name)]
    code, out, err = launch("-n", 3, RANK, *printed, env=outer)
    equal((0, ""), (code, err))
    jobs = set()
    for rank in range(3):
        found = dict(line.split("=", 1) for line in lines_of(out, rank))
        jobs.add(found.pop("ACCEL_JOB_ID"))
        cpus = max(1, len(os.sched_getaffinity(0)) // 3)
        equal({"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "3",
               "LOCAL_WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
               "OMP_NUM_THREADS": str(cpus), "TORCHELASTIC_RUN_ID": "(unset)",
               "OMPI_COMM_WORLD_RANK": "(unset)", "PMI_FD": "(unset)", "GROUP_RANK": "(unset)",
               "SLURM_JOB_ID": "12"}, found, f"rank {rank}")
    equal(1, len(jobs), "one job id")
    again = launch("-n", 1, RANK, "print", "ACCEL_JOB_ID")[1]
    check(jobs.pop() not in again, "every job has an id of its own")


def test_threads():
    ask = (RANK, "print", "OMP_NUM_THREADS")
    kept = {"OMP_NUM_THREADS": "5"}
    equal("[0] OMP_NUM_THREADS=5\n", launch("-n", 1, *ask, env=kept)[1], "left alone")
    equal("[0] OMP_NUM_THREADS=3\n", launch("-n", 1, "--threads", 3, *ask, env=kept)[1])
    equal("[0] OMP_NUM_THREADS=2\n",
          launch("-n", 1, "--num_cpu_threads_per_process=2", *ask, env=kept)[1])
    many = 64 * os.cpu_count() if os.cpu_count() < 4 else 2 * os.cpu_count()
    out = launch("-n", min(many, 200), *ask, env={"OMP_NUM_THREADS": ""})[1]
    equal({"OMP_NUM_THREADS=1"}, {line.split("] ")[1] for line in out.splitlines()}, "at least 1")


def test_accelerate_variables():
    out = launch("-n", 1, "--cpu", "--mixed_precision", "no", "--gradient-accumulation-steps=4",
                 "--num_machines", 1, "--no_python", RANK, "print", "ACCELERATE_USE_CPU", "print",
                 "ACCELERATE_MIXED_PRECISION", "print", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS")[1]
    equal(["ACCELERATE_USE_CPU=true", "ACCELERATE_MIXED_PRECISION=no",
           "ACCELERATE_GRADIENT_ACCUMULATION_STEPS=4"], lines_of(out, 0))


def test_default_is_the_usable_cpus():
    usable = os.sched_getaffinity(0)
    equal(len(usable), len(launch(RANK, "say", "x")[1].splitlines()))
    one = Job(RANK, "say", "x", preexec_fn=lambda: os.sched_setaffinity(0, {min(usable)}))
    equal((0, "[0] x\n", ""), one.finish(), "one CPU")


def test_arguments_are_the_programs():
    equal((0, "[0] -n --help a_b\n", ""), launch("-n", 1, RANK, "say", "-n --help a_b"))
    equal((0, "[0] --no_prefix=a_b\n", ""), launch("-n", 1, "--", RANK, "say", "--no_prefix=a_b"))


def test_columns_align():
    out = launch("-n", 11, RANK, "say", "x")[1]
    equal(sorted([f"[{rank:2}] x" for rank in range(11)]), sorted(out.splitlines()))


def test_no_prefix_is_every_byte():
    text = r"a\r\rb\nno end"
    equal((0, "a\r\rb\nno end", ""), launch("-n", 1, "--no-prefix", RANK, "raw", text))
    out = launch("-n", 3, "--no-prefix", RANK, "say", "x")[1]
    equal("x\n" * 3, out)


def test_streams_stay_apart():
    code, out, err = launch("-n", 2, RANK, "say", "to out", "warn", "to err")
    equal(0, code)
    equal(["[0] to out", "[1] to out"], sorted(out.splitlines()))
    equal(["[0] to err", "[1] to err"], sorted(err.splitlines()))


def test_whole_lines_at_speed():
    count, ranks = 60000, 3
    for stderr in (subprocess.PIPE, subprocess.STDOUT):
        code, out, _ = launch("-n", ranks, RANK, "warn", "between", "lines", count, "warn", "between",
                              stderr=stderr)
        equal(0, code)
        for rank in range(ranks):
            found = [line for line in lines_of(out, rank) if line != "between"]
            check(found == [f"line {i}" for i in range(count)], f"rank {rank}: lines differ")
        between = 2 * ranks if stderr == subprocess.STDOUT else 0
        equal(count * ranks + between, len(out.splitlines()), "no line more")


def test_a_slow_reader_loses_nothing():
    job = Job("-n", 2, RANK, "lines", 100000)
    head = job.await_lines(1)
    ranks = job.ranks()
    check(len(ranks) == 2, "the ranks wait while nobody reads")
    code, out, _ = job.finish()
    out = head + out
    equal((0, 200000), (code, len(out.splitlines())))
    equal("line 99999", lines_of(out, 1)[-1])


def test_to_files():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "out")
        with open(path, "wb") as file:
            code, _, _ = launch("-n", 2, RANK, "lines", 50000, stdout=file)
        equal((0, 100000), (code, len(path.read_text().splitlines())))


def test_long_lines():
    size = 1000000
    code, out, _ = launch("-n", 1, RANK, "bytes", size, "raw", r"\n")
    equal((0, size + len("[0] \n")), (code, len(out)), "one line, whole, with one prefix")
    code, out, _ = launch("-n", 2, RANK, "bytes", size, "raw", r"\n")
    letters = "".join(line[4:] for line in out.splitlines() if line.startswith("[0] "))
    equal((0, size), (code, len(letters)), "of two ranks in pieces, complete")
    check(all(line.startswith(("[0] ", "[1] ")) for line in out.splitlines()), "each with its rank")


def test_unfinished_lines():
    out = launch("-n", 2, RANK, "0:raw", "no end", "1:sleep", 50, "1:raw", "nor here")[1]
    equal("[0] no end\n[1] nor here", out)


def test_carriage_returns():
    bar = r"\r 1%\r 50%\r 100%\n"
    equal("[0] \r[0]  1%\r[0]  50%\r[0]  100%\n", launch("-n", 1, RANK, "raw", bar)[1],
          "rank 0's moves")
    out = launch("-n", 2, RANK, "1:raw", bar)[1]
    equal("[1]  100%\n", out, "another's is shown when it is done")
    equal("[1] 7%\r\n", launch("-n", 2, RANK, "1:raw", r"1%\r7%\r\n")[1])
    equal("[0] dos\r\n", launch("-n", 1, RANK, "raw", r"dos\r\n")[1], "a line's end")


def test_input_is_rank_0s():
    code, out, _ = launch("-n", 3, RANK, "cat", "say", "done", input=b"a\nb\n")
    equal(0, code)
    equal(["a", "b", "done"], lines_of(out, 0))
    equal(["done"], lines_of(out, 1), "the others read an empty input")
    equal(["done"], lines_of(out, 2))


def test_closed_descriptors():
    for redirections in (">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
        result = subprocess.run(
            ["sh", "-c", f'"$0" launch -n 2 "$1" say a warn b 1:exit 3 {redirections}', ACCEL, RANK],
            capture_output=True, timeout=60, check=False)
        equal(3, result.returncode, redirections)
        check(b"b" in result.stderr or "2>" in redirections, "standard error is still there")


def test_a_rank_closes_its_output():
    equal((0, "[0] a\n[1] b\n", ""), launch("-n", 2, RANK, "0:say", "a", "0:close", "sleep", 100,
                                            "1:say", "b"))


def test_nobody_reads():
    job = Job("-n", 2, RANK, "lines", 100000000)
    job.await_lines(1)
    job.process.stdout.close()
    job.process.stdout = None
    code, _, err = job.finish()
    equal((128 + 13, ""), (code, err), "as a program that SIGPIPE ends")


def test_a_full_disk_does_not_end_the_job():
    with open("/dev/full", "wb") as full:
        code, _, err = launch("-n", 2, RANK, "say", "lost", "sleep", 100, "warn", "alive", stdout=full)
    equal(0, code)
    contains("standard output: cannot be written", err)
    contains("No space left", err)
    equal(2, err.count("alive"))


def test_logs():
    with tempfile.TemporaryDirectory() as folder:
        where = pathlib.Path(folder, "a", "b")
        code, out, _ = launch("-n", 2, "--log_dir", where, RANK, "say", "out", "warn", "err", "1:raw",
                              r"1%\r2%\r", "raw", "end")
        equal(0, code)
        contains("[0] out\n", out)
        equal(["rank-0.log", "rank-1.log"], sorted(path.name for path in where.iterdir()))
        equal(["end", "err", "out"], sorted((where / "rank-0.log").read_text().split()))
        contains("1%\r2%\rend", (where / "rank-1.log").read_bytes().decode(), "as it came")
        launch("-n", 1, "--log-dir", where, RANK, "say", "anew")
        equal("anew\n", (where / "rank-0.log").read_text())
    code, _, err = accel("launch", "--log-dir", "/proc/none", RANK)
    equal(125, code)
    contains("/proc/none", err)


def test_a_process_that_left_the_group():
    """It holds the output open, and keeps nobody waiting."""
    job = Job("-n", 1, RANK, "say", "a", "outlive", 2000)
    out, _ = job.process.communicate(timeout=60)
    equal((0, b"[0] a\n"), (job.process.returncode, out))
    equal(1, len(job.processes()), "the launcher did not wait for it")
    job.check_gone()


if __name__ == "__main__":
    main(globals())
