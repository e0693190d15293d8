# SPDX-License-Identifier: Apache-2.0
"""The scenarios, played by the stock client: _wandb_play.py NAME... tests/programs/wandb_scenario.c
plays the same from C. What is not on the server at the end goes to outcome.txt. Several are
played each in a folder of its name."""
import math
import os
import signal
import sys
import time

import wandb

HISTOGRAM = ([1, 3, 2], [0.0, 1.0, 2.0, 3.0])


def start(name, **arguments):
    return wandb.init(project="conformance", id=name, name=f"name of {name}", **arguments)


def outcome(*words):
    with open("outcome.txt", "a", encoding="utf-8") as file:
        print(*words, file=file)


def write(path, text):
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def scalars(name="scalars"):
    with start(name, config={"lr": 0.01}) as run:
        for step in range(20):
            run.log({"loss": 1.0 / (step + 1), "accuracy": step * 0.05, "epoch": step // 5},
                    step=step)


def accelerated():
    """From C through an accelerator."""
    scalars("accelerated")


def nested_config():
    with start("nested_config", config={"model": {"layers": [1, 2], "act": {"name": "relu"}},
                                        "lr": 0.1}) as run:
        run.log({"x": 1})
        run.config.update({"lr": 0.2, "added": {"deep": {"er": True}}}, allow_val_change=True)
        run.log({"x": 2})
        run.config.update({"model": {"layers": [3]}}, allow_val_change=True)


def config_types():
    with start("config_types", config={
            "int": 1, "big": 2 ** 53, "negative": -7, "float": 0.1, "tiny": 1e-30, "huge": 1e30,
            "true": True, "false": False, "none": None, "text": "é\n\"<>&", "empty": "",
            "list": [1, 2.5, "x", None, True], "object": {"a": {"b": {"c": {"d": 1}}}},
            "nan": math.nan, "inf": math.inf}) as run:
        run.log({"x": 1})


def steps():
    with start("steps") as run:
        run.log({"a": 1})
        run.log({"a": 2}, step=5)
        run.log({"b": 3}, step=5)
        run.log({"a": 4}, step=3)  # late: dropped
        run.log({"a": 5}, step=9)
        run.log({"a": 6}, commit=False)
        run.log({"b": 7})
        run.log({"a": 8}, step=100)
        run.log({}, step=200)
        run.log({"a": 9})


def values():
    with start("values") as run:
        run.log({"nan": math.nan, "inf": math.inf, "ninf": -math.inf, "s": "日本 é \u2028 \"\\",
                 "b": True, "n": None, "neg": -0.0, "i": -2 ** 53, "e": 1e-7})
        run.log({"nested": {"a": 1, "b": {"c": 2.5}}, "list": [1, 2, 3], "train/loss": 0.5,
                 "a.b": 1})
        run.log({"nested": {"a": 2}, "nan": 1.5})


def define_metric():
    with start("define_metric") as run:
        run.define_metric("epoch", hidden=True)
        run.define_metric("val/*", step_metric="epoch")
        run.define_metric("loss", summary="min")
        run.define_metric("acc", summary="max,last", step_metric="epoch")
        run.define_metric("mean", summary="mean")
        run.define_metric("first", summary="first")
        run.define_metric("quiet", summary="none")
        run.define_metric("deep.inner", summary="max")
        for step in range(5):
            run.log({"epoch": step * 2, "val/f1": 0.1 * step, "loss": (step - 2) ** 2,
                     "acc": [0.1, 0.9, 0.5, 0.7, 0.3][step], "mean": step, "first": step,
                     "quiet": step, "deep": {"inner": 4 - step}})


def summary():
    with start("summary") as run:
        run.log({"loss": 2.0, "other": 1})
        run.summary["loss"] = 0.5
        run.summary.update({"best": {"epoch": 3, "value": 0.25}, "text": "done"})
        run.log({"other": 2})
        run.summary["other"] = 7
        run.log({"third": 3})


def exit_code():
    run = start("exit_code")
    run.log({"x": 1})
    run.finish(exit_code=3)


def identity():
    with start("identity", entity="some-team", group="g 1", job_type="train", notes="two\nlines",
               tags=["t1", "té"]) as run:
        run.log({"x": 1})
        run.name = "another name"
        run.tags = run.tags + ("late",)
        run.notes = "changed"


def resume_allow():
    for part in range(2):
        with start("resume_allow", resume="allow", config={f"part{part}": part}) as run:
            for value in range(3):
                run.log({"x": part * 10 + value})


def resume_must():
    try:
        start("missing", resume="must")
        outcome("no error")
    except wandb.Error as error:
        outcome("refused", "missing" in str(error))
    with start("resume_must", notes="some notes", tags=["one"], config={"a": 1}) as run:
        run.log({"x": 1, "kept": 5})
    with start("resume_must", resume="must", config={"b": 2}) as run:
        run.log({"x": 2})


def resume_never():
    with start("resume_never", resume="never") as run:
        run.log({"x": 1})
    try:
        start("resume_never", resume="never")
        outcome("no error")
    except wandb.Error as error:
        outcome("refused", "resume_never" in str(error))


def resume_auto():
    """The first process is killed; the second, in the same folder, goes on."""
    if not os.path.exists("killed"):
        run = wandb.init(project="conformance", id="resume_auto", resume="auto")
        for step in range(5):
            run.log({"x": step})
        write("killed", "")
        signal.pause()
    with wandb.init(project="conformance", resume="auto") as run:
        outcome(run.id)
        run.log({"x": 100})


def gradient(width, height, shift=0):
    import numpy
    row = (numpy.arange(width) * 5 + shift) % 256
    return numpy.stack([numpy.tile(row, (height, 1))] * 3, axis=-1).astype(numpy.uint8)


def images():
    with start("images") as run:
        run.log({"one": wandb.Image(gradient(16, 8), caption="a caption"), "x": 1})
        run.log({"list": [wandb.Image(gradient(8, 8, shift), caption=f"c{shift}")
                          for shift in range(3)]})


def histogram():
    with start("histogram") as run:
        run.log({"given": wandb.Histogram(np_histogram=HISTOGRAM)})
        run.log({"values": wandb.Histogram([0.0, 0.5, 1.0, 1.0, 2.0, 4.0], num_bins=4)})


def table():
    with start("table") as run:
        run.log({"t": wandb.Table(columns=["n", "s", "b"],
                                  data=[[1, "a", True], [2.5, "b", False]])})


def html():
    with start("html") as run:
        run.log({"page": wandb.Html("<p>hello</p>"), "raw": wandb.Html("<b>x</b>", inject=False)})


def audio():
    with start("audio") as run:
        import numpy
        samples = (numpy.arange(800) % 100 - 50) / 64
        run.log({"sound": wandb.Audio(samples.astype(numpy.float32), sample_rate=8000,
                                      caption="saw")})


def artifact():
    with start("artifact") as run:
        run.log({"x": 1})
        made = wandb.Artifact("weights", "model", "some words", {"k": 1, "deep": {"a": [1, 2]}})
        made.add_file(write("w.bin", "weights " * 100))
        made.add_dir(os.path.dirname(write("folder/a/é.txt", "text")) + "/..", name="dir")
        made.add_file(write("empty", ""))
        made.add_reference("https://example.org/data/1", name="ref", checksum=False)
        run.log_artifact(made, aliases=["best", "v-one"])


def dedup():
    with start("dedup") as run:
        run.log({"x": 1})
        for text, alias in (("one", "a"), ("one", "b"), ("two", "c")):
            made = wandb.Artifact("set", "dataset")
            made.add_file(write("f.txt", text), policy="mutable")
            made.add_file(write("same.txt", "never changes"), policy="mutable")
            logged = run.log_artifact(made, aliases=[alias])
            if not run.offline:
                logged.wait()


def use():
    with start("use") as run:
        run.log({"x": 1})
        made = wandb.Artifact("set", "dataset", metadata={"k": "v"})
        made.add_file(write("f.txt", "one"))
        made.add_file(write("deep/g.txt", "two"), name="deep/g.txt")
        run.log_artifact(made, aliases=["first"]).wait()
        used = run.use_artifact("set:first")
        outcome(used.version, used.type, used.digest)
        root = used.download("got")
        for name in ("f.txt", "deep/g.txt"):
            with open(os.path.join(root, name), encoding="utf-8") as file:
                outcome(name, file.read())


def saved_files():
    with start("saved_files") as run:
        run.log({"x": 1})
        run.save(write("now.txt", "now"), policy="now")
        run.save(write("sub/end.txt", "before"), base_path=".", policy="end")
        write("sub/end.txt", "after")
        for name in ("a", "b"):
            write(f"many/{name}.json", name)
        run.save("many/*.json", base_path=".", policy="now")


def console():
    with start("console") as run:
        print("plain line", flush=True)
        for done in range(5):
            print(f"\rprogress {done}", end="", flush=True)
        print(flush=True)
        run.log({"x": 1})
        print("é 日本", flush=True)
        print("no newline at the end", end="", flush=True)


def wide():
    with start("wide") as run:
        for step in range(3):
            run.log({f"layer{index // 10}/w{index % 10}": index + step / 4
                     for index in range(1000)})


def large():
    with start("large") as run:
        for size in (100, 32760, 70000, 1 << 20, 5 << 20):
            run.log({"size": size, "text": "x" * size})
        run.log({"last": True})


def many():
    with start("many") as run:
        for step in range(3000):
            run.log({"loss": 1 / (step + 1), "step7": step % 7})


def segments():
    """One run in three logs."""
    for part in range(3):
        with start("segments", config={"part": part}) as run:
            for step in range(part * 10, part * 10 + 5):
                run.log({"x": step, f"only{part}": 1}, step=step)
        time.sleep(1.1)  # folders are called by the second


def main(names):
    if len(names) == 1:
        globals()[names[0]]()
        return
    base = os.getcwd()
    for name in names:
        os.makedirs(os.path.join(base, name))
        os.chdir(os.path.join(base, name))
        globals()[name]()
        wandb.teardown()


if __name__ == "__main__":
    main(sys.argv[1:])
