# SPDX-License-Identifier: Apache-2.0
"""Run clients, stock's and ours, against a server of _wandb_server.py."""
import concurrent.futures
import glob
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("ACCEL_BUILD_DIR", "")
KEY = "f" * 20 + "0" * 20
STOCK = [sys.executable, os.path.join(HERE, "_wandb_play.py")]
OURS = [os.path.join(BUILD, "bin", "program-wandb_scenario")]
WANDB = os.path.join(os.path.dirname(sys.executable), "wandb")

# Both clients wait long after a failure; in a test they need not.
SHORT_WAITS = {f"WANDB__{client}_RETRY_WAIT_{bound}_SECONDS": value
               for client in ("GRAPHQL", "FILE_STREAM", "FILE_TRANSFER")
               for bound, value in (("MIN", "1"), ("MAX", "1"))}


def players():
    """Who plays scenarios: stock, and ours where the plugin was built."""
    found = {"stock": STOCK}
    if os.path.exists(OURS[0]):
        found["ours"] = OURS
    return found


def syncs():
    """What syncs logs: stock's command, and ours where it was built."""
    found = {"stock": [WANDB, "sync"]}
    ours = os.path.join(BUILD, "bin", "program-wandb_sync")
    if os.path.exists(ours):
        found["ours"] = [ours]
    return found


def environment(folder, server=None, **more):
    """A client's environment: nothing of this user's, all files below `folder`."""
    kept = {key: value for key, value in os.environ.items()
            if not key.startswith(("WANDB_", "XDG_", "SLURM_"))
            and "proxy" not in key.lower()}
    found = {**kept, "HOME": folder, "TMPDIR": folder, "WANDB_ERROR_REPORTING": "false",
             "WANDB_DISABLE_GIT": "true", "WANDB__DISABLE_STATS": "true", "WANDB_SILENT": "true",
             "WANDB_INIT_TIMEOUT": "60", **SHORT_WAITS}
    if server:
        found |= {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, "WANDB_MODE": "online"}
    else:
        found |= {"WANDB_MODE": "offline"}
    return {**found, **more}


def run(command, folder, env, timeout=120, code=0):
    """Run to its end: what it printed. Another exit code than `code` is an error."""
    done = subprocess.run(command, cwd=folder, env=env, timeout=timeout, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode != code:
        logs = "".join(tail(path) for path in glob.glob(
            os.path.join(folder, "wandb", "*run-*", "logs", "debug-internal.log")))
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}\n{logs}")
    return done.stdout


def tail(path, lines=15):
    with open(path, encoding="utf-8", errors="replace") as file:
        return path + "\n" + "".join(file.readlines()[-lines:])


def outcome(folder):
    try:
        with open(os.path.join(folder, "outcome.txt"), encoding="utf-8") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def in_parallel(jobs, workers=4):
    """Call each of `jobs`; the results, in their order."""
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda job: job(), jobs))


def in_background(job):
    """A future of the call."""
    pool = concurrent.futures.ThreadPoolExecutor(1)
    try:
        return pool.submit(job)
    finally:
        pool.shutdown(wait=False)


def folders(folder):
    """The run directories below a folder, oldest first."""
    return [os.path.dirname(path) for path in logs(folder)]


def logs(folder):
    """The logs of all runs below a folder, oldest first."""
    return sorted(glob.glob(os.path.join(folder, "wandb", "*run-*", "run-*.wandb")))
