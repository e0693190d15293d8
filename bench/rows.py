# SPDX-License-Identifier: Apache-2.0
"""The comparisons. Each row is a function of a Bench, and yields Results."""
import dataclasses
import operator
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

from arms import Arm, Comparison, Missing, environment

HERE = pathlib.Path(__file__).resolve().parent
MEGABYTES_64 = 16 << 20  # elements of fp32


@dataclasses.dataclass
class Aim:
    """What is wanted of the `ratio` or of `ours` itself."""
    what: str
    relation: str
    value: float
    text: str

    def met(self, result):
        compare = {">=": operator.ge, ">": operator.gt, "<=": operator.le}[self.relation]
        return compare(getattr(result, self.what), self.value)


AHEAD = Aim("ratio", ">", 1.0, ">1x")


@dataclasses.dataclass
class Result:
    """ratio: how many times better ours is, whether more or less is better."""
    name: str
    unit: str
    ours: float
    peer_name: str = "none"
    peer: float | None = None
    aim: Aim | None = None
    settings: str = ""
    version: str = ""
    missing: str | None = None
    more_is_better: bool = False
    spread: dict = dataclasses.field(default_factory=dict)

    @property
    def ratio(self):
        if self.peer is None:
            return None
        return self.ours / self.peer if self.more_is_better else self.peer / self.ours

    @property
    def verdict(self):
        if self.missing:
            return "peer missing"
        if not self.aim:
            return ""
        return "aim met" if self.aim.met(self) else "aim missed"


class Bench:
    """Where things are, and how much is measured."""

    def __init__(self, build, oracle, environment_folder, quick):
        self.build, self.oracle, self.quick = build, oracle, quick
        self.rounds = 1 if quick else 5
        self.extra = environment_folder
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="accel-bench-"))

    def close(self):
        shutil.rmtree(self.scratch, ignore_errors=True)

    def number(self, full, quick):
        return quick if self.quick else full

    def program(self, name):
        return self.build / "bench" / name

    def ours(self, name, ranks, program, *arguments, settings="", env=None):
        command = [self.program(program), *arguments]
        if ranks > 1:
            command = [self.build / "bin" / "accel", "launch", "-n", ranks, "--no-prefix", *command]
        return Arm(name, command, ranks, settings, env)

    def torchrun(self, name, ranks, script, *arguments, settings="", env=None, python=None):
        python = python or self.oracle / "bin" / "python"
        return Arm(name, [python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", ranks,
                          HERE / "peers" / script, *arguments], ranks, settings, env)

    def shapes(self, name, shapes):
        path = self.scratch / f"{name}.shapes"
        path.write_text("".join(" ".join(str(n) for n in shape) + "\n" for shape in shapes))
        return path

    def versions(self, python, *packages):
        code = ("import importlib.metadata as m, sys; "
                "print(*(p + ' ' + m.version(p) for p in sys.argv[1:]), sep=', ')")
        try:
            run = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True)
        except OSError:
            return ""
        return run.stdout.strip()

    def torch_version(self):
        return self.versions(self.oracle / "bin" / "python", "torch")


def gpt(width, layers, vocabulary, context):
    """The parameters of a GPT of this size (tied head), in the order of its layers."""
    shapes = [(vocabulary, width), (context, width)]
    for _ in range(layers):
        shapes += [(width,), (width,), (3 * width, width), (3 * width,), (width, width), (width,),
                   (width,), (width,), (4 * width, width), (4 * width,), (width, 4 * width), (width,)]
    return shapes + [(width,), (width,)]


def elements(shapes):
    total = 0
    for shape in shapes:
        count = 1
        for extent in shape:
            count *= extent
        total += count
    return total


def spread(samples, scale):
    ordered = sorted(scale(s) for s in samples)
    return {"min": ordered[0], "median": statistics.median(ordered), "max": ordered[-1],
            "samples": len(ordered)}


def describe(arm):
    tried = [s for s in getattr(arm, "tried", []) if s]
    if len(tried) < 2:
        return arm.settings
    return f"best of {len(tried)}: {arm.settings}; tried: {' | '.join(tried)}"


def compare(comparison, name, ours, peer, unit, scale, **more):
    """The result of one arm against another, or of a peer that is missing."""
    arm = comparison.arms[ours]
    result = Result(name, unit, scale(arm.median), peer, spread={"ours": spread(arm.samples, scale)}, **more)
    if peer in comparison.missing:
        result.missing = comparison.missing[peer]
    elif peer in comparison.arms:
        other = comparison.arms[peer]
        result.peer = scale(other.median)
        result.spread["peer"] = spread(other.samples, scale)
        result.settings = "; ".join(s for s in (result.settings, describe(other)) if s)
    return result


# ---- all-reduce ----

def mpi_version(command):
    if not shutil.which(command[0]):
        return ""
    text = subprocess.run(command, capture_output=True, text=True).stdout
    words = [w for w in text.replace("(", " ").split() if w[:1].isdigit() and "." in w]
    return words[0] if words else ""


def open_mpi(bench, *arguments):
    settings = {
        "defaults": [],
        "ring": ["coll_tuned_use_dynamic_rules", "1", "coll_tuned_allreduce_algorithm", "4"],
        "segmented ring": ["coll_tuned_use_dynamic_rules", "1", "coll_tuned_allreduce_algorithm", "5"],
        "Rabenseifner, copies by kernel (cma)": [
            "coll_tuned_use_dynamic_rules", "1", "coll_tuned_allreduce_algorithm", "6",
            "btl_vader_single_copy_mechanism", "cma"],
    }
    for text, pairs in settings.items():
        options = []
        for key, value in zip(pairs[::2], pairs[1::2]):
            options += ["--mca", key, value]
        yield Arm("Open MPI", ["mpirun.openmpi", "-n", 2, "--allow-run-as-root", "--oversubscribe", *options,
                               bench.program("allreduce-openmpi"), *arguments], 2, text)


def mpich(bench, *arguments):
    algorithms = "MPIR_CVAR_ALLREDUCE_INTRA_ALGORITHM"
    for text, env in {
        "defaults": {},
        "reduce_scatter_allgather": {algorithms: "reduce_scatter_allgather"},
        "recursive_doubling": {algorithms: "recursive_doubling"},
        "UCX posix,cma": {"UCX_TLS": "posix,cma,self"},
    }.items():
        command = ["mpiexec.hydra", "-n", 2, bench.program("allreduce-mpich"), *arguments]
        yield Arm("MPICH", command, 2, text, env)


def deepspeed(bench, *arguments):
    folder = bench.extra / "extensions"
    path = f"{bench.extra / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    yield bench.torchrun("DeepSpeed", 2, "deepspeed_allreduce.py", *arguments, settings="shm_comm",
                         python=bench.extra / "bin" / "python",
                         env={"TORCH_EXTENSIONS_DIR": str(folder), "DS_ACCELERATOR": "cpu", "PATH": path})


def add_reducers(bench, comparison, count, inner, slow_inner, samples):
    """The peers that reduce, and their versions. Gloo is slow with few bytes: fewer calls."""
    parts = (1, 2, 4) if count > 1 and not bench.quick else (1,)
    variants = [bench.torchrun("torch Gloo", 2, "torch_allreduce.py", count, slow_inner, samples, n,
                               settings=f"in {n} parts" if n > 1 else "in one part") for n in parts]
    comparison.add_peer("torch Gloo", *variants)
    limit = 1 if bench.quick else None
    comparison.add_peer("Open MPI", *list(open_mpi(bench, count, inner, samples))[:limit])
    comparison.add_peer("MPICH", *list(mpich(bench, count, inner, samples))[:limit])
    if (bench.extra / ".complete").exists():
        comparison.add_peer("DeepSpeed", *deepspeed(bench, count, slow_inner, samples))
    else:
        comparison.missing["DeepSpeed"] = (bench.extra / "reason").read_text().strip() if (
            bench.extra / "reason").exists() else "not installed: bench/environment does it"
    return {
        "torch Gloo": bench.torch_version(),
        "Open MPI": mpi_version(["mpirun.openmpi", "--version"]),
        "MPICH": mpi_version(["mpichversion"]),
        "DeepSpeed": bench.versions(bench.extra / "bin" / "python", "deepspeed")
        if "DeepSpeed" in comparison.arms else "",
    }


def allreduce_64mb(bench):
    """all-reduce of 64 MB fp32, 2 ranks, against peers and against the memory itself"""
    count = bench.number(MEGABYTES_64, 1 << 20)
    samples, size = bench.number(8, 2), f"{bench.number(64, 4)}MB"

    def rate(seconds):
        return count * 4 / seconds / 1e9

    with Comparison(bench.rounds) as c:
        for where in ("ordinary", "shared"):
            c.add(where, bench.ours(where, 2, "allreduce", count, 1, samples, where))
        c.add("memory", *(
            Arm("memory", [bench.program("memory"), count, samples, 2, stores], 1, f"{stores} stores")
            for stores in ("plain", "streaming")))
        versions = add_reducers(bench, c, count, 1, 1, samples)
        c.run()
        for where, words in (("ordinary", "malloc'ed buffer"), ("shared", "buffer of accel_comm_alloc")):
            for peer, version in versions.items():
                yield compare(c, f"all-reduce-{size}/{where}", where, peer, "GB/s", rate, aim=AHEAD,
                              more_is_better=True, version=version, settings=f"2 ranks, fp32, {words}")
            yield compare(c, f"all-reduce-{size}/{where}", where, "memory", "GB/s", rate,
                          aim=Aim("ratio", ">=", 0.8, ">=0.8x"), more_is_better=True,
                          settings=f"2 ranks, {words}; peer: two processes that only add, in shared memory")


def allreduce_4b(bench):
    """all-reduce of 4 bytes, 2 ranks"""
    samples = bench.number(20, 2)

    def micro(seconds):
        return seconds * 1e6

    with Comparison(bench.rounds) as c:
        c.add("accel", bench.ours("accel", 2, "allreduce", 1, 2000, samples, "ordinary"))
        versions = add_reducers(bench, c, 1, 2000, bench.number(100, 20), samples)
        c.run()
        for peer, version in versions.items():
            yield compare(c, "all-reduce-4B", "accel", peer, "us", micro, aim=Aim("ours", "<=", 1.0, "<=1us"),
                          version=version, settings="2 ranks, mean of many calls in a row")


# ---- training steps ----

def milli(seconds):
    return seconds * 1e3


def step_row(bench, name, shapes, clip, aim, buckets):
    path, samples = bench.shapes(name, shapes), bench.number(6, 2)
    how = "clip" if clip else "-"
    settings = (f"{elements(shapes) / 1e6:.3g} M parameters in {len(shapes)} tensors, 2 ranks, "
                "gradients by a stub")
    with Comparison(bench.rounds) as c:
        c.add("accel", bench.ours("accel", 2, "step", path, samples, how))
        c.add("memory", Arm("memory", [bench.program("memory"), elements(shapes), samples, 2, "step"]))
        c.add_peer("torch DDP + AdamW", *(
            bench.torchrun("DDP", 2, "torch_step.py", path, samples, how, bucket,
                           settings=f"Gloo, fused=True, gradient_as_bucket_view, buckets of {bucket} MB")
            for bucket in buckets))
        c.run()
        floor = c.arms["memory"].median
        settings += (f"; the memory alone takes {floor * 1e3:.3g} ms, {floor / c.arms['accel'].median:.0%} of ours, "
                     f"without {'clipping and ' if clip else ''}arithmetic")
        yield compare(c, name, "accel", "torch DDP + AdamW", "ms", milli, aim=aim,
                      version=bench.torch_version(), settings=settings)


def flat(bench):
    """16.8 M parameters: 16 matrices of a million"""
    return [(1024, 1024)] * 16 if not bench.quick else [(64, 64)] * 4


def sync_adamw(bench):
    """gradient sync and AdamW, 16.8 M parameters, 2 ranks, without and with clipping"""
    aim = Aim("ratio", ">=", 10, ">=10x")
    for clip in (False, True):
        yield from step_row(bench, "sync+adamw" + ("+clip" if clip else ""), flat(bench), clip, aim,
                            (25,) if bench.quick else (25, 100))


def gpt_step(bench):
    """the training step of a small and a larger GPT, compute excluded, 2 ranks"""
    for name, shapes in (("gpt-step-1M", gpt(128, 5, 96, 64)), ("gpt-step-30M", gpt(512, 8, 8192, 512))):
        if bench.quick and "30M" in name:
            continue
        for clip in (False, True):
            yield from step_row(bench, name + ("+clip" if clip else ""), shapes, clip, AHEAD, (25,))


def precision(bench):
    """bfloat16 parameters and gradients with float32 masters against float32, 2 ranks"""
    shapes = gpt(512, 8, 8192, 512) if not bench.quick else gpt(64, 2, 96, 64)
    path = bench.shapes("precision", shapes)
    samples = bench.number(20, 2)
    with Comparison(bench.rounds) as c:
        for name, how in (("bf16", "bf16"), ("fp32", "-")):
            c.add(name, bench.ours(name, 2, "step", path, samples, how))
        c.run()
        yield compare(c, "bf16-step", "bf16", "fp32", "ms", lambda s: s * 1e3, aim=AHEAD,
                      settings=f"gradient sync + AdamW, {elements(shapes) / 1e6:.1f} M parameters of a GPT, 2 ranks; "
                               "both arms ours")


def eight_ranks(bench):
    """8 ranks against 2 on the same cores: throughput"""
    path, samples = bench.shapes("eight", flat(bench)), bench.number(4, 2)
    aim = Aim("ratio", ">=", 0.5, ">=0.5x")

    def measure(name, unit, work, scale, settings):
        with Comparison(bench.rounds) as c:
            for ranks in (2, 8):
                c.add(f"{ranks} ranks", bench.ours(str(ranks), ranks, "step", path, samples, "-", *work))
            c.run()
            two, eight = c.arms["2 ranks"], c.arms["8 ranks"]
            yield Result(name, unit, scale(8, eight.median), "accel, 2 ranks", scale(2, two.median), aim,
                         settings, more_is_better=True,
                         spread={"ours": spread(eight.samples, lambda s: scale(8, s)),
                                 "peer": spread(two.samples, lambda s: scale(2, s))})

    cores = len(os.sched_getaffinity(0))
    yield from measure("8-ranks/sync+adamw", "batches/s", [], lambda ranks, s: ranks / s,
                       f"8 ranks on {cores} cores, a batch a rank, gradients by a stub")
    yield from measure("8-ranks/step", "steps/s", [bench.number(2000, 20)], lambda ranks, s: 1 / s,
                       f"8 ranks on {cores} cores, the same global batch: work that the ranks share")


# ---- everything else ----

def log_call(bench):
    """accel_log of four numbers against the stock client, offline"""
    samples = bench.number(1000, 50)
    python = bench.oracle / "bin" / "python"
    folders = {f"WANDB_{what}DIR": "{folder}" for what in ("", "DATA_", "CACHE_", "CONFIG_")}
    env = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", **folders}

    def micro(seconds):
        return seconds * 1e6

    with Comparison(bench.rounds) as c:
        for tracker in ("jsonl", "wandb"):
            for journal in ("async", "sync"):
                c.add(f"{tracker}/{journal}",
                      bench.ours(tracker, 1, "log", ".", tracker, journal, samples, env=env))
        c.add_peer("wandb run.log", Arm("wandb", [python, HERE / "peers" / "wandb_log.py", ".", samples], 1,
                                        "offline", env))
        c.run()
        version = bench.versions(python, "wandb")
        for name in [name for name in c.arms if name != "wandb run.log"]:
            bound = 5.0 if name.endswith("/sync") else 1.0
            yield compare(c, f"log/{name}", name, "wandb run.log", "us", micro, version=version,
                          aim=Aim("ours", "<=", bound, f"<={bound:g}us"),
                          settings=f"4 numbers a call, median of calls, {tracker_words(name)}")


def tracker_words(name):
    tracker, journal = name.split("/")
    return f"tracker {tracker}, journal {journal}"


def started(bench, command, ranks):
    """Seconds from the start of the command to the first step's end, which the program that it runs
    writes to a file."""
    mark = bench.scratch / "mark"
    mark.unlink(missing_ok=True)
    start = time.monotonic()
    try:
        run = subprocess.run([str(word) for word in [*command, mark]],
                             env=environment(), capture_output=True, text=True,
                             stdin=subprocess.DEVNULL, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(str(error)) from None
    if run.returncode != 0 or not mark.exists():
        raise Missing((run.stderr.strip().splitlines() or [f"exit {run.returncode}"])[-1][:160])
    done, world = mark.read_text().split()
    if int(world) != ranks:
        raise Missing(f"started a world of {world}, not {ranks}")
    return float(done) - start


def start(bench):
    """from the start of the launcher to the first step, over the bare program"""
    python, program = bench.oracle / "bin" / "python", bench.program("start")
    # `accelerate launch --cpu` starts one process; --multi_gpu starts two, also without a GPU.
    launchers = {
        "accel launch": [bench.build / "bin" / "accel", "launch", "-n", 2],
        "torchrun": [python, "-m", "torch.distributed.run", "--standalone", "--no-python",
                     "--nproc-per-node", 2],
        "accelerate launch": [python, "-m", "accelerate.commands.accelerate_cli", "launch",
                              "--multi_gpu", "--no_python", "--num_processes", 2, "--num_machines", 1,
                              "--mixed_precision", "no", "--dynamo_backend", "no",
                              "--num_cpu_threads_per_process", 1],
        "mpirun": ["mpirun.openmpi", "-n", 2, "--allow-run-as-root", "--oversubscribe"],
    }
    bare, times, missing = [], {name: [] for name in launchers}, {}
    for turn in range(bench.number(4, 1)):
        for name, command in launchers.items():
            for _ in range(10 if name == "accel launch" and not bench.quick else 1):
                bare.append(started(bench, [program], 1))
                if name not in missing:
                    try:
                        times[name].append(started(bench, [*command, program], 2))
                    except Missing as reason:
                        missing[name] = str(reason)
    base = statistics.median(bare)

    def over(seconds):
        return (seconds - base) * 1e3

    if "accel launch" in missing:
        raise Missing(missing["accel launch"])
    ours = over(statistics.median(times["accel launch"]))
    versions = {"torchrun": bench.torch_version(), "accelerate launch": bench.versions(python, "accelerate"),
                "mpirun": "Open MPI " + mpi_version(["mpirun.openmpi", "--version"])}
    for name, version in versions.items():
        result = Result("start", "ms", ours, name, aim=Aim("ours", "<=", 50, "<=50ms"), version=version,
                        settings=f"2 ranks to the first step, less the bare program's {base * 1e3:.1f} ms",
                        missing=missing.get(name), spread={"ours": spread(times["accel launch"], over)})
        if not result.missing:
            result.peer = over(statistics.median(times[name]))
            result.spread["peer"] = spread(times[name], over)
        yield result


def four_lines(bench):
    """what the four lines cost a one-process loop"""
    steps, samples = bench.number(1000, 50), bench.number(10, 2)
    with Comparison(bench.rounds) as c:
        c.add("plain", bench.ours("plain", 1, "lines", "plain", steps, samples))
        c.add("accel", bench.ours("accel", 1, "lines", "accel", steps, samples))
        c.add("accel+log", bench.ours("accel+log", 1, "lines", "accel", steps, samples, "."))
        c.run()
        plain = c.arms["plain"].median
        for name, words in (("accel", "prepare, backward, step, zero_grad"),
                            ("accel+log", "the same and accel_log to jsonl at each step")):
            arm = c.arms[name]

            def cost(seconds):
                return (seconds - plain) * 1e6

            yield Result(f"four-lines/{name}", "us", cost(arm.median), aim=Aim("ours", "<=", 5.0, "<=5us"),
                         settings=f"{words}; over the same loop by hand, {plain * 1e6:.2f} us a step",
                         spread={"ours": spread(arm.samples, cost)})


ROWS = {
    "all-reduce-64MB": allreduce_64mb,
    "all-reduce-4B": allreduce_4b,
    "sync+adamw": sync_adamw,
    "gpt-step": gpt_step,
    "bf16-step": precision,
    "8-ranks": eight_ranks,
    "log": log_call,
    "start": start,
    "four-lines": four_lines,
}
