# SPDX-License-Identifier: Apache-2.0
"""Logging to W&B servers that work, and to some that do not."""
import contextlib
import json
import subprocess
import sys
import urllib.request

from arms import Arm, Comparison
from rows import HERE, Aim, compare

SERVER = HERE.parent / "tests" / "oracle" / "_wandb_server.py"
# what is ordered of the server for all that carries rows and files, once the run has begun
HINDRANCES = {
    "working": [],
    "silent": [{"silent": True}],
    "failing": [{"status": 500}],
    "byte-a-second": [{"drip": 1}],
}


@contextlib.contextmanager
def server(faults):
    """The address of a server in a process of its own."""
    process = subprocess.Popen([sys.executable, SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)
    try:
        url = process.stdout.readline().strip()
        order = {"faults": [{"endpoint": endpoint, "times": None, **fault} for fault in faults
                            for endpoint in ("file_stream", "put")]}
        urllib.request.urlopen(urllib.request.Request(url + "/control", json.dumps(order).encode()),
                               timeout=20).close()
        yield url
    finally:
        process.kill()
        process.communicate()


def environment(url):
    folders = {f"WANDB_{what}DIR": "{folder}" for what in ("", "DATA_", "CACHE_", "CONFIG_")}
    return {"WANDB_MODE": "online", "WANDB_SILENT": "true", "WANDB_BASE_URL": url, "WANDB_API_KEY": "a" * 40,
            "WANDB_FINISH_TIMEOUT": "2", "WANDB_ERROR_REPORTING": "false", **folders}


def log_online(bench):
    """accel_log of four numbers, online: against mode disabled, and the stock client"""
    samples = bench.number(2000, 50)
    python = bench.oracle / "bin" / "python"

    def micro(seconds):
        return seconds * 1e6

    with contextlib.ExitStack() as servers, Comparison(bench.rounds) as c:
        c.add("disabled", bench.ours("disabled", 1, "log", ".", "wandb", "async", samples,
                                     env={"WANDB_MODE": "disabled"}))
        for name, faults in HINDRANCES.items():
            url = servers.enter_context(server(faults))
            c.add(name, bench.ours(name, 1, "log", ".", "wandb", "async", samples, env=environment(url)))
        url = servers.enter_context(server([]))
        c.add_peer("wandb run.log", Arm("wandb", [python, HERE / "peers" / "wandb_log.py", ".", samples], 1,
                                        "online", environment(url)))
        c.run()
        for name in HINDRANCES:
            yield compare(c, f"log-online/{name}", name, "disabled", "us", micro,
                          aim=Aim("ours", "<=", 1.0, "<=1us"),
                          settings=f"4 numbers a call, median of calls, journal async, server {name}; "
                                   "peer: ours in mode disabled")
        yield compare(c, "log-online/stock", "working", "wandb run.log", "us", micro,
                      version=bench.versions(python, "wandb"), aim=Aim("ratio", ">=", 50.0, ">=50x"),
                      settings="4 numbers a call, median of calls, journal async, server working")


ROWS = {"log-online": log_online}
