# SPDX-License-Identifier: Apache-2.0
# test-timeout: 240
"""The program of W&B's guide on Accelerate: once in Python under stock accelerate and stock
wandb, once in C (examples/seed_page.c), on one and on two processes. The logs must be equal
field by field, apart from the list in docs/wandb.md; and the stock `wandb sync` of each into a
server on this machine must leave the same there."""
import json
import os
import subprocess
import sys
import tempfile

import _wandb_log as log
from _wandb_server import Server
from _wandb_state import compared

BUILD, SOURCE = os.environ["ACCEL_BUILD_DIR"], os.environ["ACCEL_SOURCE_DIR"]
SEED_PAGE = os.path.join(BUILD, "examples", "seed_page")
LAUNCH = [os.path.join(BUILD, "bin", "accel"), "launch", "-n", "2"]


def seed_page(file):
    """The guide's calls, as they stand there."""
    import wandb
    from accelerate import Accelerator

    accelerator = Accelerator(log_with="wandb", cpu=True)
    accelerator.init_trackers("my_project", config={"dropout": 0.1, "learning_rate": 1e-2},
                              init_kwargs={"wandb": {"entity": "my-wandb-team"}})
    for global_step in range(3):
        accelerator.log({"train_loss": 1.12, "valid_loss": 0.8}, step=global_step)

    some_artifact_to_log = wandb.Artifact("some_artifact", "dataset")
    some_artifact_to_log.add_file(file, "data.txt")
    wandb_tracker = accelerator.get_tracker("wandb")
    if accelerator.is_main_process:
        wandb_tracker.tracker.log_artifact(some_artifact_to_log)

    wandb_run = accelerator.get_tracker("wandb", unwrap=True)
    if accelerator.is_main_process:
        wandb_run.log_artifact(some_artifact_to_log)
    accelerator.end_training()


def environment(home):
    kept = {key: value for key, value in os.environ.items()
            if not key.startswith(("WANDB_", "XDG_", "SLURM_"))}
    return {**kept, "HOME": home, "WANDB_DATA_DIR": os.path.join(home, "data"),
            "WANDB_MODE": "offline", "TMPDIR": home}


def run(side, command, base):
    directory = os.path.join(base, side)
    os.mkdir(directory)
    file = os.path.join(base, "file.txt")
    with open(file, "w", encoding="utf-8") as stream:
        stream.write("hello")
    done = subprocess.run([*command, file], cwd=directory, env=environment(base), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120)
    if done.returncode:
        sys.exit(f"{side}: exit {done.returncode}\n{done.stdout}")
    found = log.find_log(directory)
    assert f"wandb sync {os.path.dirname(found)}" in done.stdout.replace(" ./", f" {directory}/"), \
        f"{side}: the command that syncs is not said\n{done.stdout}"
    return found


def sync_by_stock(path, base):
    """The stock `wandb sync` of a log into a server on this machine: what arrived there."""
    wandb = os.path.join(os.path.dirname(sys.executable), "wandb")
    with Server() as server:
        env = {**environment(base), "WANDB_BASE_URL": server.url, "WANDB_API_KEY": "a" * 40,
               "WANDB_MODE": "online", "WANDB_ERROR_REPORTING": "false",
               "WANDB__GRAPHQL_RETRY_MAX": "1"}
        done = subprocess.run([wandb, "sync", os.path.dirname(path)], cwd=base, env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100)
        assert done.returncode == 0, done.stdout

        return compared(server, ids=False)


def read(path):
    """The log, with the folder the program ran in called DIR."""
    directory = path.split("/wandb/")[0]
    return json.loads(json.dumps(log.read(path)).replace(directory, "DIR"))


def main():
    if sys.argv[1:2] == ["--python"]:
        return seed_page(sys.argv[2])
    with tempfile.TemporaryDirectory() as base:
        stock = run("stock", [sys.executable, __file__, "--python"], base)
        ours = {"one process": run("one", [SEED_PAGE], base),
                "two processes": run("two", [*LAUNCH, SEED_PAGE], base)}
        failed = False
        for name, path in ours.items():
            differences, used = log.compare(read(stock), read(path))
            for line in differences:
                print(f"{name}: {line}")
            failed |= bool(differences)
            print(f"{name}: equal but for {sorted(used)}")
            assert len(log.inspect(path, "--json").splitlines()) == len(log.read(path))
        assert not failed
        arrived = [sync_by_stock(path, base) for path in (stock, *ours.values())]
        (stock_run,) = arrived[0]["runs"].values()
        assert len(stock_run["history"]) == 3 and arrived[0]["artifacts"], arrived[0]
        assert arrived[1] == arrived[0] and arrived[2] == arrived[0], arrived
    print("ok")


if __name__ == "__main__":
    sys.exit(main())
