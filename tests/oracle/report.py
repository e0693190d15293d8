# SPDX-License-Identifier: Apache-2.0
# test-timeout: 180
"""`accel report` on a log of the stock client: what it logged is on the page, metric by metric and
point by point, as the stock package's own messages read the log."""
import json
import math
import os
import subprocess
import sys
import tempfile

import _wandb_log

sys.path.insert(0, os.path.join(os.environ["ACCEL_SOURCE_DIR"], "tests", "cli"))
from _report import BUILD, page_of, self_contained

ROWS = 250
HOSTILE = "</script><script>document.title='owned'</script>"
PROGRAM = r"""
import math, os, sys, time
import numpy as np
import wandb

directory, rows, hostile = sys.argv[1], int(sys.argv[2]), sys.argv[3]
run = wandb.init(project="p", name="stock", dir=directory, tags=["a"], mode="offline", notes=hostile,
                 config={"lr": 0.01, "nest": {"betas": [0.9, 0.95]}, "hostile": hostile},
                 settings=wandb.Settings(x_stats_sampling_interval=0.1))
for i in range(rows):
    row = {"loss": math.exp(-i / 80) + i % 7, "nest": {"a": i, "b": {"c": i * i}}, hostile: i,
           "text": "words", "flag": i % 2 == 0}
    if i % 50 == 0:
        row["hist"] = wandb.Histogram(np.arange(100))
        row["image"] = wandb.Image(np.zeros((8, 8, 3), dtype=np.uint8))
        print("\x1b[1mepoch\x1b[0m", i, flush=True)
    if i == 100:
        row["loss"] = math.nan
    run.log(row, step=3 * i)
    time.sleep(0.004)
run.log({"table": wandb.Table(columns=["a"], data=[[1]])})
artifact = wandb.Artifact("weights", "model")
artifact.add_file(__file__, name="program.py")
run.log_artifact(artifact)
run.define_metric("loss", summary="min")
run.finish(exit_code=int(sys.argv[4]))
"""


def expected_points(log):
    """{name: [(step, value)]} of the numbers in the history, by the stock messages."""
    points = {}
    for payload in _wandb_log.payloads(log):
        record = _wandb_log.wandb_internal_pb2.Record.FromString(payload)
        if record.WhichOneof("record_type") != "history":
            continue
        items = {tuple(i.nested_key) or (i.key,): json.loads(i.value_json)
                 for i in record.history.item}
        media = [name[:-1] for name in items if name[-1] == "_type"]
        for name, value in items.items():
            if isinstance(value, (int, float)) and not name[0].startswith("_") and \
                    not any(name[:len(m)] == m for m in media):
                points.setdefault(".".join(name), []).append((items[("_step",)], value))
    return points


def same(a, b):
    a, b = float(a), float(b)
    return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=1e-9)


def stock_run(folder, exit_code=0):
    program = os.path.join(folder, "program.py")
    with open(program, "w", encoding="utf-8") as file:
        file.write(PROGRAM)
    command = [sys.executable, program, folder, str(ROWS), HOSTILE, str(exit_code)]
    subprocess.run(command, check=True, timeout=150, capture_output=True,
                   env={**os.environ, "HOME": folder, "TMPDIR": folder, "WANDB_SILENT": "true"})
    return command


def main():
    with tempfile.TemporaryDirectory() as folder:
        command = stock_run(folder, 3)
        page = page_of(os.path.join(folder, "wandb", "latest-run"))
        self_contained(page)
        run, = page.runs
        points = expected_points(run["source"])
        assert len(points["loss"]) == ROWS and set(points) == set(run["history"]), set(run["history"])
        for name, expected in points.items():
            found = [(step, value) for step, _, value in run["history"][name]]
            assert len(expected) == len(found), name
            assert all(s == t and same(a, b) for (s, a), (t, b) in zip(expected, found)), name
        times = [seconds for _, seconds, _ in run["history"]["loss"]]
        assert times == sorted(times) and 0 <= times[0] < times[-1] < 100, times[::50]
        assert run["config"] == {"lr": 0.01, "nest": {"betas": [0.9, 0.95]}, "hostile": HOSTILE}
        assert (run["name"], run["project"], run["tags"]) == ("stock", "p", ["a"])
        assert (run["notes"], run["exit_code"], run["warnings"]) == (HOSTILE, 3, [])
        assert run["media"] == {"hist": "histogram", "image": "image-file", "table": "table-file"}
        assert run["summary"]["nest"] == {"a": ROWS - 1, "b": {"c": (ROWS - 1) ** 2}}, run["summary"]
        assert run["console"]["head"].startswith("epoch 0\nepoch 50\nepoch 100\n"), run["console"]
        assert {"proc.memory.rssMB", "cpu"} <= set(run["system"]), set(run["system"])
        assert all(value > 0 for _, _, value in run["system"]["proc.memory.rssMB"])
        weights = next(a for a in run["artifacts"] if a["name"] == "weights")
        assert weights["entries"][0]["path"] == "program.py"
        assert weights["size"] == os.path.getsize(command[1])
        environment = run["environment"]
        assert environment["args"] == command[2:] and environment["program"] == command[1], environment
        print(f"report: {len(points)} metrics, {sum(map(len, points.values()))} points equal")


if __name__ == "__main__":
    if not list(BUILD.glob("libexec/accel/accel-report")):
        print("skipped: accel-report was not built")
        sys.exit(77)
    main()
