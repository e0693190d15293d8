# SPDX-License-Identifier: Apache-2.0
"""Training a GPT of PyTorch's: from C and C++ with accel, from Python with DistributedDataParallel and
with Accelerate."""
import dataclasses
import math
import pathlib
import statistics
import subprocess
import threading
import time

from arms import Arm, Comparison, Missing, environment
from rows import AHEAD, HERE, Aim, Result, compare, describe, spread, started

RANKS = 2
LOSSES_DIFFER = 2e-3  # relative: the same arithmetic in another order, over some ten steps


@dataclasses.dataclass
class Size:
    """A GPT, and what each rank trains it on at a time."""
    name: str
    width: int
    layers: int
    vocabulary: int
    context: int
    rows: int
    steps: int  # of a turn

    def words(self, megas):
        return (f"{megas:.3g} M parameters, {self.rows} x {self.context} tokens a rank, fp32, scaled_dot_product_"
                "attention, no dropout")


SMALL = Size("torch-gpt-1M", 128, 5, 256, 64, 4, 60)
LARGE = Size("torch-gpt-30M", 512, 8, 8192, 128, 4, 6)
TINY = Size("torch-gpt-tiny", 64, 1, 64, 16, 2, 3)


class Memory(threading.Thread):
    """The largest memory of an arm's processes while this runs: PSS, where a page that several
    processes share counts once."""

    def __init__(self, root):
        super().__init__(daemon=True)
        self.root, self.peak, self.peak_of_ranks, self.over = root, 0, 0, threading.Event()

    def run(self):
        while not self.over.is_set():
            sizes = {pid: pss(pid) for pid in family(self.root)}
            launcher = sizes.get(self.root, 0)
            self.peak = max(self.peak, sum(sizes.values()))
            self.peak_of_ranks = max(self.peak_of_ranks, sum(sizes.values()) - launcher)
            time.sleep(0.002)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.over.set()
        self.join()


def family(root):
    """The process and what it has started."""
    found, ahead = [], [root]
    while ahead:
        pid = ahead.pop()
        found.append(pid)
        for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                ahead += [int(word) for word in children.read_text().split()]
            except OSError:  # the thread has ended
                continue
    return found


def pss(pid):
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


class TrainingArm(Arm):
    """The last number of a turn is the loss."""

    def __init__(self, arm):
        super().__init__(arm.name, arm.command, arm.ranks, arm.settings, arm.env)
        self.losses = []

    def turn(self, *arguments):
        samples = super().turn(*arguments)
        self.losses.append(samples.pop())
        self.samples.pop()
        return samples


class Gpt:
    """One size of it: the files, and the arms that train it."""

    def __init__(self, bench, size):
        self.bench, self.size = bench, size
        self.python = bench.oracle / "bin" / "python"
        self.folder = bench.scratch / size.name
        self.megas = self.write()

    def write(self):
        """The files, unless another row has written them: millions of parameters."""
        size, model = self.size, HERE / "peers" / "_gpt.py"
        if not self.folder.exists():
            self.folder.mkdir()
            words = [size.width, size.layers, size.vocabulary, size.context, size.rows]
            try:
                run = subprocess.run([self.python, model, self.folder, *map(str, words)], env=environment(),
                                     capture_output=True, text=True, stdin=subprocess.DEVNULL)
            except OSError as error:
                raise Missing(f"{self.python}, which exports the model: {error.strerror}") from None
            if run.returncode != 0:
                raise Missing(run.stderr.strip().splitlines()[-1][:160])
        return (self.folder / "weights.safetensors").stat().st_size / 4e6

    def our_command(self, program, *arguments):
        """A session for each rank, as torchrun makes it: Linux shares the cores by sessions, so that
        on a busy machine the arms would not get as much."""
        return [self.bench.build / "bin" / "accel", "launch", "-n", RANKS, "--no-prefix", "setsid", "--wait",
                self.bench.program(program), self.folder, self.size.steps, *arguments]

    def ours(self, program, *arguments, env=None):
        return TrainingArm(Arm(program, self.our_command(program, *arguments), RANKS, env=env))

    def launchers(self):
        """`accelerate launch --cpu` starts one process; --multi_gpu starts two, also without a GPU."""
        return {"ddp": [self.python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", RANKS],
                "accelerate": [self.python, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu",
                               "--num_processes", RANKS, "--num_machines", 1, "--mixed_precision", "no",
                               "--dynamo_backend", "no", "--num_cpu_threads_per_process", 1]}

    def peer_command(self, way, bucket, graph):
        return [*self.launchers()[way], HERE / "peers" / "torch_gpt.py", self.folder, self.size.steps, way, bucket,
                graph]

    def peer(self, way):
        """With each of a few settings."""
        choices = [(25, "static"), (25, "-"), (100, "static")]
        for bucket, graph in choices[:self.bench.number(3, 1)]:
            words = f"Gloo, AdamW(fused=True), gradient_as_bucket_view, buckets of {bucket} MB"
            yield TrainingArm(Arm(way, self.peer_command(way, bucket, graph), RANKS,
                                  words + (", static_graph" if graph == "static" else "")))


OURS = {"c": ("torch_gpt", "during"), "c++": ("torch_gpt_cpp",)}
PEERS = {"torch DDP": "ddp", "Accelerate": "accelerate"}


def check_losses(size, arms):
    """Arms that compute something else have nothing to compare. Of the first turns: later on rounding
    errors have grown, as they do in training."""
    first_name, first = next(iter(arms.items()))
    for name, arm in arms.items():
        for turn, (expected, found) in enumerate(zip(first.losses[:2], arm.losses)):
            if not abs(found - expected) <= LOSSES_DIFFER * expected:
                raise Missing(f"the losses differ after turn {turn}: {expected} of {first_name}, {found} of {name}")
    if not first.losses[-1] < math.log(size.vocabulary):
        raise Missing(f"nothing was learnt: the loss is {first.losses[-1]}, that of guessing")


def versions(gpt):
    return {"torch DDP": gpt.bench.torch_version(),
            "Accelerate": gpt.bench.versions(gpt.python, "torch", "accelerate")}


def steps_and_memory(gpt):
    """Steps a second, and then the memory of some more steps."""
    bench, name, words = gpt.bench, gpt.size.name, gpt.size.words(gpt.megas)
    with Comparison(bench.rounds) as c:
        for language, command in OURS.items():
            c.add(language, gpt.ours(*command))
        for peer, way in PEERS.items():
            c.add_peer(peer, *gpt.peer(way))
        c.run()
        check_losses(gpt.size, c.arms)
        for language in OURS:
            for peer, version in versions(gpt).items():
                yield compare(c, f"{name}/steps/{language}", language, peer, "steps/s", lambda s: 1 / s, aim=AHEAD,
                              more_is_better=True, version=version, settings=f"2 ranks, {words}")
        peaks = peak_memories(c)
        for language in OURS:
            for peer, version in versions(gpt).items():
                yield memory_result(c, f"{name}/memory/{language}", peaks, language, peer, version)


def peak_memories(comparison):
    """Of each arm, in one more turn."""
    peaks = {}
    for name, arm in comparison.arms.items():
        try:
            with Memory(arm.process.pid) as peaks[name]:
                arm.turn()
        except Missing as reason:
            if name in OURS:
                raise
            comparison.missing[name] = str(reason)
        else:
            if not peaks[name].peak_of_ranks:
                raise Missing("/proc does not tell of the processes' memory (smaps_rollup, children)")
    return peaks


def memory_result(comparison, name, peaks, language, peer, version):
    ours, aim = peaks[language], Aim("ratio", ">=", 1 / 0.6, "<=60%")
    result = Result(name, "MB", ours.peak / 1e6, peer, version=version, aim=aim,
                    spread={"ours": spread([ours.peak], lambda size: size / 1e6)},
                    missing=comparison.missing.get(peer))
    words = "largest PSS of all processes during some steps, the launcher's included; ranks alone: "
    if not result.missing:
        result.peer = peaks[peer].peak / 1e6
        result.spread["peer"] = spread([peaks[peer].peak], lambda size: size / 1e6)
        words += f"{ours.peak_of_ranks / 1e6:.0f} and {peaks[peer].peak_of_ranks / 1e6:.0f} MB"
        result.settings = f"{words}; {describe(comparison.arms[peer])}"
    else:
        result.settings = f"{words}{ours.peak_of_ranks / 1e6:.0f} MB"
    return result


def first_step(gpt):
    """From the start of the launcher to the end of the first step."""
    bench, size = gpt.bench, gpt.size
    commands = {**{language: gpt.our_command(*command) for language, command in OURS.items()},
                **{peer: gpt.peer_command(way, 25, "-") for peer, way in PEERS.items()}}
    times, missing = {name: [] for name in commands}, {}
    for turn in range(bench.number(5, 1)):
        for name in list(commands) if turn % 2 == 0 else reversed(list(commands)):
            try:
                times[name].append(started(bench, commands[name], RANKS))
            except Missing as reason:
                if name in OURS:
                    raise
                missing[name] = str(reason)
    for language in OURS:
        for peer, version in versions(gpt).items():
            result = Result(f"{size.name}/first-step/{language}", "s", statistics.median(times[language]), peer,
                            aim=AHEAD, version=version, missing=missing.get(peer),
                            settings="2 ranks, from the start of the launcher; " + gpt.size.words(gpt.megas),
                            spread={"ours": spread(times[language], float)})
            if not result.missing:
                result.peer = statistics.median(times[peer])
                result.spread["peer"] = spread(times[peer], float)
            yield result


def require_programs(bench):
    for program, *_ in OURS.values():
        if not bench.program(program).exists():
            raise Missing(f"{bench.program(program)} is not built: that wants libtorch 2.13 (make oracle)")


def torch_gpt(bench):
    """a GPT of PyTorch's, 2 ranks: C and C++ against Python's DDP and Accelerate"""
    require_programs(bench)
    for size in [TINY] if bench.quick else [SMALL, LARGE]:
        gpt = Gpt(bench, size)
        yield from steps_and_memory(gpt)
        yield from first_step(gpt)


def torch_overlap(bench):
    """reduction during the backward against reduction after it, over a slow wire"""
    require_programs(bench)
    gpt, wire_ms = Gpt(bench, bench.number(LARGE, TINY)), bench.number(50, 5)
    with Comparison(bench.rounds) as c:
        for when in ("during", "after"):
            c.add(when, gpt.ours("torch_gpt", when, env={"ACCEL_TEST_WIRE_US": str(1000 * wire_ms)}))
        c.run()
        check_losses(gpt.size, c.arms)
        yield compare(c, "torch-overlap", "during", "after", "ms", lambda s: s * 1e3, aim=AHEAD,
                      settings=f"2 ranks, {gpt.size.words(gpt.megas)}; a delay of {wire_ms} ms for each bucket; both "
                               "arms ours, reducing as hooks say that gradients are ready, or after the backward")


ROWS = {"torch-gpt": torch_gpt, "torch-overlap": torch_overlap}
