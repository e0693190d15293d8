# SPDX-License-Identifier: Apache-2.0
# test-timeout: 180
"""What runs beside a run: the console and system metrics, ours beside those of the stock client,
and ours when the program dies, floods, or has no console."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import _wandb_log as log

BUILD, SOURCE = os.environ["ACCEL_BUILD_DIR"], os.environ["ACCEL_SOURCE_DIR"]
PROGRAM = os.path.join(BUILD, "bin", "program-wandb_console")
SECRET = "0123456789abcdef0123456789abcdef01234567"


# ---- the same under the stock client

def text(wandb):
    """As print_text() in the C program. Flushed where stock's records would be cut otherwise."""
    run = wandb.init(project="p")
    print("hello")
    print("a warning", file=sys.stderr)
    for i in range(21):
        print(f"\rstep {i}/20", end="", flush=True)
    print("\nfirst\nsecond\033[Aup\n\n\033[31mred\033[0m téxt")
    sys.stdout.write("x\033\ny\033[\nz\n")
    sys.stdout.write("\n" * 40 + "L" * 5000 + "\n")
    sys.stdout.flush()
    sys.stderr.write("no line break")
    run.finish()


def sleep(wandb):
    os.environ["FAKE_NVML_PID"] = str(os.getpid())
    run = wandb.init(project="p", settings=wandb.Settings(x_stats_sampling_interval=0.4))
    time.sleep(1.2)
    run.finish()


# ---- running

def environment(home, **more):
    kept = {key: value for key, value in os.environ.items()
            if not key.startswith(("WANDB_", "XDG_", "SLURM_", "FAKE_"))}
    return {**kept, "HOME": home, "WANDB_MODE": "offline", "TMPDIR": home, **more}


def start(home, *arguments, command=(PROGRAM,), **options):
    more = options.pop("more", {})
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([*command, *arguments], cwd=home, env=environment(home, **more),
                          timeout=100, check=False, **options)


def ours(base, name, *arguments, expected=0, **options):
    """A run of ours in a folder of its own: (what subprocess says, log, text of output.log)."""
    home = os.path.join(base, name)
    os.mkdir(home)
    done = start(home, *arguments, **options)
    if done.returncode != expected:
        raise AssertionError(f"{name}: exit {done.returncode}\n{done.stderr}")
    return done, log.read(log.find_log(home)), output_log(home)


def stock(base, name, mode, **more):
    home = os.path.join(base, "stock-" + name)
    os.mkdir(home)
    done = start(home, mode, command=(sys.executable, __file__), more=more)
    if done.returncode:
        raise AssertionError(f"stock {name}: exit {done.returncode}\n{done.stderr.decode()}")
    return done, log.read(log.find_log(home)), output_log(home)


def output_log(home):
    path = os.path.join(home, "wandb", "latest-run", "files", "output.log")
    if not os.path.exists(path):
        return None
    with open(path, "rb") as file:
        return file.read().decode()


def program_lines(stream):
    return [line for line in stream.decode().splitlines() if not line.startswith("wandb: ")]


def expect(what, found, wanted):
    if found != wanted:
        found, wanted = (repr(value)[:2000] for value in (found, wanted))
        raise AssertionError(f"{what} is\n  {found}, not\n  {wanted}")


# ---- the console

def check_text(base):
    theirs, mine = stock(base, "text", "text"), ours(base, "text", "text")
    expect("the console's text", log.console(mine[1]), log.console(theirs[1]))
    expect("standard output", mine[0].stdout, theirs[0].stdout)
    # how the two streams mix depends on when each is flushed
    expect("output.log", sorted(mine[2].splitlines()), sorted(theirs[2].splitlines()))
    for stream in (mine, theirs):
        lines = stream[2].splitlines()
        expect("the progress bar", [line for line in lines if "step" in line], ["step 20/20"])


def check_terminal_stays(base):
    """Streams, descriptors, children and copies of the pointer are what they were."""
    done, records, lines = ours(base, "streams", "streams")
    expect("standard output", done.stdout.decode(), "12\nchild\nforked\nlate\nafter\n")
    expect("standard error", program_lines(done.stderr), ["perror: No such file or directory"])
    expect("what is recorded", log.console(records).get("STDOUT"), "12\n")
    expect("output.log", lines.splitlines()[0], "12")
    ours(base, "closed", "closed")
    done, _, _ = ours(base, "wide", "wide")
    expect("wide characters", done.stdout, b"wide\n")
    done, _, lines = ours(base, "freopen", "freopen")
    with open(os.path.join(base, "freopen", "freopened.txt"), encoding="utf-8") as file:
        expect("the reopened stream", file.read(), "in the file\nchild\n")
    expect("standard output", done.stdout, b"before\n")


def check_death(base):
    """What was printed arrives at the terminal; what had the time, in the log too."""
    done, _, _ = ours(base, "kill", "kill", expected=-signal.SIGKILL)
    expect("the last words", done.stdout, b"last words\n")
    done, records, lines = ours(base, "abort", "abort", expected=-signal.SIGABRT)
    expect("the last words", program_lines(done.stderr), ["assertion failed"])
    expect("the last words' record", log.console(records), {"STDERR": "assertion failed\n"})
    done, records, lines = ours(base, "exit", "exit", expected=4)
    expect("the last words", done.stdout, b"unflushed")
    expect("the last words' record", log.console(records), {"STDOUT": "unflushed"})
    expect("output.log", lines, "unflushed\n")


def check_floods(base):
    done, records, lines = ours(base, "burst", "burst")
    wanted = "".join(f"{i:<99d}\n" for i in range(100000))
    expect("standard output", done.stdout.decode() == wanted, True)
    expect("the record", log.console(records)["STDOUT"] == wanted, True)
    expect("output.log", lines == wanted, True)
    done, records, lines = ours(base, "returns", "returns")
    expect("output.log", lines, "99999\n")
    expect("the record", log.console(records)["STDOUT"], done.stdout.decode())


def check_binary(base):
    done, records, _ = ours(base, "binary", "binary")
    expect("standard output", done.stdout, bytes(range(256)) * 64)
    # U+FFFD stands for NUL and for what is no UTF-8
    expect("the record", log.console(records)["STDOUT"],
           done.stdout.replace(b"\0", b"\xff").decode(errors="replace"))


def check_no_console(base):
    """Without standard streams, the log does not take their place; off is off."""
    home = os.path.join(base, "none")
    os.mkdir(home)
    done = start(home, "text", command=("/bin/sh", "-c", f"exec '{PROGRAM}' text >&- 2>&-"))
    expect("exit", done.returncode, 0)
    kinds = {kind for kind, _ in log.read(log.find_log(home))}  # whole, and nothing printed into it
    expect("the log's end", "exit" in kinds, True)
    home = os.path.join(base, "off")
    os.mkdir(home)
    start(home, "text", more={"WANDB_CONSOLE": "off", "WANDB__DISABLE_STATS": "true"})
    kinds = {kind for kind, _ in log.read(log.find_log(home))}
    expect("what is not wanted", kinds & {"output_raw", "stats"}, set())
    expect("output.log", output_log(home), None)


def check_full_device(base):
    """A program whose output cannot be written hears of it as it always did."""
    home = os.path.join(base, "full")
    os.mkdir(home)
    with open("/dev/full", "wb") as full:
        done = start(home, "text", stdout=full)
    expect("exit", done.returncode, 0)
    expect("the log's end", log.read(log.find_log(home))[-1][0], "exit")


# ---- the system

def read_memory():
    with open("/proc/meminfo", encoding="ascii") as file:
        return {line.split(":")[0]: int(line.split()[1]) / 1024 for line in file}


def near(what, value, low, high):
    if not low <= value <= high:
        raise AssertionError(f"{what} is {value}, not between {low} and {high}")


def check_system(base):
    """The keys are stock's, and the numbers those of /proc and df."""
    _, theirs, their_file = stock(base, "system", "sleep")
    _, mine, mine_file = ours(base, "system", "sleep", "0.4")
    theirs, mine = log.metrics(theirs), log.metrics(mine)
    near("the number of samples", len(mine), 2, 4)
    expect("the first sample's keys", set(mine[0]), set(theirs[0]))
    expect("the last sample's keys", set(mine[-1]), set(theirs[-1]))
    expect("output.log of a silent program", mine_file, their_file)
    memory, disk = read_memory(), shutil.disk_usage("/")
    sample = mine[-1]
    near("cpu", sample["cpu"], 0, 100)
    near("rss", sample["proc.memory.rssMB"], 1, 500)
    near("threads", sample["proc.cpu.threads"], 3, 3)
    near("available", sample["proc.memory.availableMB"], 1, memory["MemTotal"])
    near("memory_percent", sample["memory_percent"], 0, 100)
    near("percent", sample["disk./.usagePercent"], 0, 100)
    near("disk", sample["disk./.usageGB"], 0.9 * disk.used / 2**30, 1.1 * disk.used / 2**30)
    for key in ("disk./.usageGB", "disk./.usagePercent"):
        near(f"stock's {key}", sample[key], 0.9 * theirs[-1][key], 1.1 * theirs[-1][key])


def build_fake(base):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    source = os.path.join(SOURCE, "tests", "oracle", "_fake_nvml.c")
    library = os.path.join(base, "libnvidia-ml.so.1")
    subprocess.run([compiler, "-shared", "-fPIC", "-fvisibility=hidden", "-o", library, source],
                   check=True)
    os.symlink(library, os.path.join(base, "libnvidia-ml.so"))


def machine(records):
    merged = {}
    for kind, fields in records:
        if kind == "environment":
            merged.update(fields)
    return {path: value for path, value in merged.items()
            if path.split(".")[1].startswith(("gpu", "cuda", "cpu"))}


def check_gpus(base):
    """By a library that stands in for the driver's: equal to what stock makes of it."""
    build_fake(base)
    fake = {"LD_LIBRARY_PATH": base}
    _, their_log, _ = stock(base, "gpus", "sleep", **fake)
    _, my_log, _ = ours(base, "gpus", "sleep", "0.4", more=fake)
    expect("the environment's GPUs", machine(my_log), machine(their_log))
    gpus = [{key: round(value, 3) for key, value in log.metrics(records)[-1].items()
             if key.startswith("gpu.")} for records in (their_log, my_log)]
    expect("the GPUs' metrics", gpus[1], gpus[0])


# ---- the environment

def check_environment(base):
    more = {"WANDB_API_KEY": SECRET, "SLURM_JOB_NAME": f"job-{SECRET}", "WANDB_HOST": "h",
            "WANDB_USERNAME": "u", "WANDB_USER_EMAIL": "e@x", "WANDB_DOCKER": "image"}
    home = os.path.join(base, "environment")
    os.mkdir(home)
    done = start(home, "none", "0", f"--key={SECRET}", more=more)
    expect("exit", done.returncode, 0)
    found = {}
    for kind, fields in log.read(log.find_log(home)):
        if kind == "environment":
            found.update(fields)
    expect("the key in an argument", found["environment.args.2"], "--key=" + "*" * 40)
    for name, value in (("host", "h"), ("username", "u"), ("email", "e@x"), ("docker", "image"),
                        ("program", PROGRAM), ("executable", PROGRAM), ("root", home)):
        expect(name, found["environment." + name], value)
    for folder, _, files in os.walk(home):
        for name in files:
            with open(os.path.join(folder, name), "rb") as file:
                expect(f"the key in {name}", SECRET.encode() in file.read(), False)


def main():
    if not os.path.exists(os.path.join(BUILD, "lib", "accel", "libaccel-tracker-wandb.so")):
        print("skipped: the plugin was not built")
        return 77
    failed = 0
    checks = [value for name, value in globals().items() if name.startswith("check_")]
    for check in checks:
        with tempfile.TemporaryDirectory(prefix="accel-monitor-") as base:
            try:
                check(os.path.realpath(base))
            except AssertionError as error:
                failed = 1
                print(f"{check.__name__}: {error}")
    return failed


if __name__ == "__main__":
    if len(sys.argv) > 1:
        import wandb as client
        {"text": text, "sleep": sleep}[sys.argv[1]](client)
    else:
        sys.exit(main())
