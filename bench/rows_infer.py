# SPDX-License-Identifier: Apache-2.0
"""Inference with a GPT of PyTorch's: from C and C++ with accel, from Python with Accelerate."""
import re
import shutil
import statistics
import subprocess

from arms import Arm, Comparison, Missing, environment
from rows import AHEAD, HERE, Aim, Result, compare, spread, started
from rows_torch import Memory, family

OURS = {"c": "torch_infer", "c++": "torch_infer_cpp"}
PEERS = {"Accelerate": "load", "Accelerate, weights mapped": "assign"}
BATCH = 8


class Inference:
    """The files, and the arms that answer what is in them."""

    def __init__(self, bench, ranks):
        self.bench, self.ranks = bench, ranks
        self.python = bench.oracle / "bin" / "python"
        self.folder = bench.scratch / "infer"
        self.size = bench.number((512, 8, 8192, 64, 64), (64, 1, 64, 16, 10))  # the last: inputs
        self.write()
        self.weights = (self.folder / "scores.safetensors").stat().st_size
        self.version = bench.versions(self.python, "torch", "accelerate")
        self.words = (f"{ranks} ranks, {self.weights / 4e6:.3g} M parameters, {self.size[4]} inputs of {self.size[3]} "
                      f"tokens, {BATCH} at a time")

    def write(self):
        """Unless it was for another number of ranks."""
        if self.folder.exists():
            return
        self.folder.mkdir()
        words = [self.python, HERE / "peers" / "torch_infer.py", "write", self.folder, *self.size]
        try:
            run = subprocess.run([str(word) for word in words], env=environment(), capture_output=True, text=True,
                                 stdin=subprocess.DEVNULL)
        except OSError as error:
            raise Missing(f"{self.python}, which exports the model: {error.strerror}") from None
        if run.returncode != 0:
            raise Missing(run.stderr.strip().splitlines()[-1][:160])

    def files(self, name):
        """A copy for each arm: pages that arms share would be counted by halves."""
        folder = self.bench.scratch / f"infer.{name.replace(' ', '-')}"
        if not folder.exists():
            shutil.copytree(self.folder, folder)
        return folder

    def commands(self):
        # sessions, as torchrun gives them to its ranks: Linux shares busy cores by sessions
        launch = [self.bench.build / "bin" / "accel", "launch", "-n", self.ranks, "--no-prefix", "setsid", "--wait"]
        accelerate = [self.python, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu",
                      "--num_processes", self.ranks, "--num_machines", 1, "--mixed_precision", "no",
                      "--dynamo_backend", "no", "--num_cpu_threads_per_process", 1,
                      HERE / "peers" / "torch_infer.py"]
        return {**{language: [*launch, self.bench.program(program), self.files(language), BATCH]
                   for language, program in OURS.items()},
                **{peer: [*accelerate, self.files(peer), BATCH, way] for peer, way in PEERS.items()}}

    def arms(self):
        return {name: Arm(name, command, self.ranks) for name, command in self.commands().items()}


def answers(arm):
    return [int(line) for line in (arm.folder / "answers").read_text().split()]


def check_answers(arms, inputs):
    """Arms that answer something else have nothing to compare."""
    expected = answers(arms["c"])
    if len(expected) != inputs or len(set(expected)) < 2:
        raise Missing(f"{len(expected)} answers to {inputs} inputs, {len(set(expected))} different ones")
    for name, arm in arms.items():
        if answers(arm) != expected:
            different = sum(a != b for a, b in zip(answers(arm), expected))
            raise Missing(f"{different} of {inputs} answers of {name} are others than those of c")


def mapped(pids):
    """Bytes of the weights' files in the memory of all of these, each page once."""
    total, ours = 0, False
    for pid in pids:
        for line in open(f"/proc/{pid}/smaps"):
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                ours = line.rstrip().endswith(("scores.pt", "scores.safetensors"))
            elif ours and line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def throughput_and_memory(inference):
    """Inputs a second, and then the memory while some more are answered."""
    bench, ranks, inputs = inference.bench, inference.ranks, inference.size[4]
    with Comparison(bench.rounds) as c:
        for name, arm in inference.arms().items():
            (c.add if name in OURS else c.add_peer)(name, arm)
        c.run()
        check_answers(c.arms, inputs)
        for language in OURS:
            for peer in PEERS:
                yield compare(c, f"torch-infer/throughput/{ranks}/{language}", language, peer, "inputs/s",
                              lambda seconds: inputs / seconds, aim=Aim("ratio", ">=", 1.0, ">=1x"),
                              more_is_better=True, version=inference.version, settings=inference.words)
        memories, weights = {}, {}
        for name, arm in c.arms.items():
            with Memory(arm.process.pid) as memories[name]:
                arm.turn()
            weights[name] = mapped(family(arm.process.pid))
        for language in OURS:
            for peer in PEERS:
                yield memory_result(inference, memories, weights, language, peer, c.missing)
            yield weights_result(inference, weights, language)


def memory_result(inference, memories, weights, language, peer, missing):
    ours = memories[language].peak_of_ranks / 1e6
    result = Result(f"torch-infer/memory/{inference.ranks}/{language}", "MB", ours, peer, aim=AHEAD,
                    version=inference.version, missing=missing.get(peer), spread={"ours": spread([ours], float)},
                    settings=f"{inference.words}; PSS of all ranks; {weights[language] / 1e6:.0f} MB of it are "
                             "the weights")
    if peer in memories:
        result.peer = memories[peer].peak_of_ranks / 1e6
        result.spread["peer"] = spread([result.peer], float)
        copies = (f"mapped, {weights[peer] / 1e6:.0f} MB" if weights[peer] > inference.weights / 2 else
                  f"{inference.ranks} copies, {inference.ranks * inference.weights / 1e6:.0f} MB")
        result.settings += f", the peer's: {copies}"
    return result


def weights_result(inference, weights, language):
    """Of all ranks, beside those of one."""
    ours, one = weights[language] / 1e6, inference.weights / 1e6
    return Result(f"torch-infer/weights/{inference.ranks}/{language}", "MB", ours, "one copy", one,
                  Aim("ratio", ">=", 1 / 1.2, "<=1.2copies"),
                  f"{inference.words}; PSS of the mapped weights, all ranks", spread={"ours": spread([ours], float)})


def first_answer(inference):
    """From the start of the launcher until every rank has answered one input."""
    bench, commands = inference.bench, inference.commands()
    times, missing = {name: [] for name in commands}, {}
    for turn in range(bench.number(5, 1)):
        for name in list(commands) if turn % 2 == 0 else reversed(list(commands)):
            if name in missing:
                continue
            try:
                times[name].append(started(bench, commands[name], inference.ranks))
            except Missing as reason:
                if name in OURS:
                    raise
                missing[name] = str(reason)
    for language in OURS:
        for peer in PEERS:
            result = Result(f"torch-infer/first-answer/{inference.ranks}/{language}", "s",
                            statistics.median(times[language]), peer, aim=AHEAD, version=inference.version,
                            missing=missing.get(peer), spread={"ours": spread(times[language], float)},
                            settings=f"{inference.words}; from the start of the launcher until each rank has "
                                     "answered one")
            if not result.missing:
                result.peer = statistics.median(times[peer])
                result.spread["peer"] = spread(times[peer], float)
            yield result


def torch_infer(bench):
    """inference with a GPT of PyTorch's, 2 and 4 ranks: C and C++ against Python's Accelerate"""
    for program in OURS.values():
        if not bench.program(program).exists():
            raise Missing(f"{bench.program(program)} is not built: that wants libtorch 2.13 (make oracle)")
    for ranks in bench.number((2, 4), (2,)):
        inference = Inference(bench, ranks)
        yield from throughput_and_memory(inference)
        yield from first_answer(inference)


ROWS = {"torch-infer": torch_infer}
