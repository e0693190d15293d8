# SPDX-License-Identifier: Apache-2.0
# test-timeout: 120
"""The stock `wandb sync` uploads a run written in C to a server of our own on 127.0.0.1; what
arrives there is what the program logged."""
import os
import subprocess
import sys
import tempfile

import _wandb_log as log
from _wandb_server import Server

BUILD = os.environ["ACCEL_BUILD_DIR"]


def check(server, directory, output):
    problems = []

    def expect(what, wanted, found):
        if wanted != found:
            problems.append(f"{what}: wanted {wanted!r}, found {found!r}")

    (run,) = server.state()["runs"]
    expect("history", [(0, 1.12), (1, 1.12), (2, 1.12)],
           [(row["_step"], row["train_loss"]) for row in run["history"]])
    expect("summary", (0.8, 2), (run["summary"].get("valid_loss"), run["summary"].get("_step")))
    expect("end", ("finished", 0), (run["state"], run["exitcode"]))
    expect("config", {"value": 0.1}, run["config"].get("dropout"))
    expect("telemetry: lib_c", True, 56 in run["config"]["_wandb"]["value"]["t"]["3"])
    artifact = server.state()["artifacts"].get("my-wandb-team/my_project/some_artifact", {})
    expect("artifact", ("dataset", {"latest": "v0", "best": "v0"}),
           (artifact.get("type"), artifact.get("aliases")))
    expect("artifact's files", {"d/g.txt": 5, "f.txt": 5, "k": 0},
           {path: entry.get("size") for path, entry in artifact["versions"][0]["contents"].items()})
    expect("problems", [], server.problems)
    expect("marked as synced", True, os.path.exists(log.find_log(directory) + ".synced"))
    return problems + ([output] if problems else [])


def main():
    if not os.path.exists(os.path.join(BUILD, "lib", "accel", "libaccel-tracker-wandb.so")):
        print("skipped: the plugin was not built")
        return 77
    with tempfile.TemporaryDirectory() as base, Server() as server:
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith(("WANDB_", "XDG_"))}
        environment |= {"HOME": base, "TMPDIR": base, "WANDB_BASE_URL": server.url,
                        "WANDB_API_KEY": "a" * 40, "WANDB_ERROR_REPORTING": "false",
                        "WANDB__GRAPHQL_RETRY_MAX": "1"}
        file = os.path.join(base, "file.txt")
        with open(file, "w", encoding="utf-8") as stream:
            stream.write("hello")
        subprocess.run([os.path.join(BUILD, "bin", "program-wandb_run"), "seed", base, file],
                       cwd=base, env=environment, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=60)
        wandb = os.path.join(os.path.dirname(sys.executable), "wandb")
        done = subprocess.run([wandb, "sync", "-v", os.path.dirname(log.find_log(base))], cwd=base,
                              env=environment, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=100)
        problems = check(server, base, done.stdout)
        if done.returncode:
            problems.append(f"wandb sync: exit {done.returncode}\n{done.stdout}")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
