# SPDX-License-Identifier: Apache-2.0
# test-timeout: 180
"""Online runs and syncs whose way is not straight: killed, cut off, in several pieces, followed,
refused, stopped. What the server knows at the end is every row once, at its place."""
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import _wandb_client as client
import _wandb_log as log
import _wandb_state as state
from _wandb_server import Server

PROGRAM = os.path.join(client.BUILD, "bin", "program-wandb_upload")
SOON = {"WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "0.2"}
GUARD = 60


class Wrong(Exception):
    pass


def expect(what, wanted, found):
    if wanted != found:
        raise Wrong(f"{what}: wanted {wanted!r}, found {found!r}")


def contains(what, text, found):
    if text not in found:
        raise Wrong(f"{what}: {text!r} is not in {found!r}")


def until(what, condition):
    limit = time.monotonic() + GUARD
    while not condition():
        if time.monotonic() > limit:
            raise Wrong(f"never: {what}")
        time.sleep(0.05)


class Place:
    """A folder of runs, and the programs that work in it."""

    def __init__(self, folder, server, **more):
        self.folder, self.server = folder, server
        self.environment = client.environment(folder, server, **more)

    def command(self, *words, code=0, **more):
        return client.run([PROGRAM, *map(str, words)], self.folder, {**self.environment, **more},
                          GUARD, code)

    def log(self, *words, code=0, **more):
        return self.command("log", *words, code=code, **more)

    def sync(self, *words, code=0):
        return self.command("sync", *words, code=code)

    def start(self, *words, **more):
        return subprocess.Popen([PROGRAM, *map(str, words)], cwd=self.folder, text=True,
                                env={**self.environment, **more}, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def folders(self):
        """Oldest first."""
        return sorted(client.folders(self.folder))

    def rows(self, name="wandb-history.jsonl"):
        with self.server.lock:
            return [row["i"] for run in self.server.runs.all.values() for row in run.rows(name)]


def records(folder):
    """The kinds of the records that a log has so far."""
    (path,) = glob.glob(os.path.join(folder, "*.wandb"))
    return [record.WhichOneof("record_type") for record in log.records(path)]


def end(process, code=0):
    output, _ = process.communicate(timeout=GUARD)
    if process.returncode != code:
        raise Wrong(f"exit {process.returncode}: {output}")
    return output


def ended_well(server, rows):
    run = server.state()["runs"][0]
    expect("rows", list(range(rows)), [row["i"] for row in run["history"]])
    expect("steps", list(range(rows)), [row["_step"] for row in run["history"]])
    expect("end", ("finished", 0), (run["state"], run["exitcode"]))
    expect("summary", rows - 1, run["summary"].get("i"))


# ---- what may happen ----

def a_key_is_nowhere(place, server):
    """The key is in no file, no output and no argument, also where the server echoes it."""
    server.inject("file_stream", times=1, status=500, text=f"what is {client.KEY} here?")
    process = place.start("log", "secret", 3, 0, "wait", WANDB_SILENT="false", **SOON)
    until("a row", lambda: place.rows() == [0, 1, 2])
    with open(f"/proc/{process.pid}/cmdline", encoding="utf-8") as file:
        expect("arguments", False, client.KEY in file.read())
    output, _ = process.communicate("\n", timeout=GUARD)
    expect("output", False, client.KEY in output)
    for folder, _, names in os.walk(place.folder):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                expect(f"{folder}/{name}", False, client.KEY.encode() in file.read())
    ended_well(server, 3)


def a_sync_is_repeated(place, server):
    place.log("again", 5, WANDB_MODE="offline")
    (folder,) = place.folders()
    contains("sync", "1 synced, 0 skipped", place.sync(folder))
    contains("marked", "0 synced, 1 skipped", place.sync(folder))
    once = state.compared(server)
    contains("again", "1 synced", place.sync(folder, "synced"))
    expect("state", [], state.differences(once, state.compared(server), names=("once", "twice")))
    ended_well(server, 5)


def a_log_grows_after_its_sync(place, server):
    """A marker older than the log does not count."""
    process = place.start("log", "grows", 4, 0, "wait", WANDB_MODE="offline")
    process.stdout.readline()
    (folder,) = place.folders()
    until("four rows", lambda: records(folder).count("history") == 4)
    place.sync(folder)
    expect("before its end", 1, server.state()["runs"][0]["exitcode"])
    process.communicate("\n", timeout=GUARD)
    contains("sync", "1 synced", place.sync(folder))
    ended_well(server, 4)


def an_online_run_is_killed(place, server):
    process = place.start("log", "killed", 2000, 2, **SOON)
    until("some rows", lambda: len(place.rows()) > 20)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (folder,) = place.folders()
    contains("without include_online", "1 skipped", place.sync(folder))
    contains("sync", "1 synced", place.sync(folder, "online"))
    rows = place.rows()
    expect("rows", list(range(len(rows))), rows)
    run = server.state()["runs"][0]
    expect("end", ("failed", 1), (run["state"], run["exitcode"]))
    place.sync(folder, "online", "synced")
    expect("rows after another sync", rows, place.rows())


def a_finish_is_cut_short(place, server):
    """The limit ends the wait; what is missing is sent later, at its place."""
    place.environment |= {"WANDB_FINISH_TIMEOUT": "1", "WANDB_SILENT": "false"}
    process = place.start("log", "late", 10, 0, "wait", **SOON)
    until("the rows", lambda: len(place.rows()) == 10)
    server.inject("any", times=None, silent=True)
    output, _ = process.communicate("\n", timeout=GUARD)
    expect("exit", 0, process.returncode)
    contains("what to do", "--include-online", output)
    server.faults.clear()
    expect("before the sync", "running", server.state()["runs"][0]["state"])
    place.sync(*place.folders(), "online")
    ended_well(server, 10)


def the_network_goes_and_returns(place, server):
    process = place.start("log", "away", 300, 10, **SOON)
    until("some rows", lambda: len(place.rows()) > 20)
    server.inject("any", times=None, cut="request")
    time.sleep(1)
    before = len(place.rows())
    server.faults.clear()
    end(process)
    expect("something was left to send", True, before < 300)
    ended_well(server, 300)


def segments_of_one_run(place, server):
    """Offline pieces of one id, each with a log of its own, become one run, in any later sync too."""
    for rows in (3, 4):
        place.log("pieces", rows, WANDB_MODE="offline", WANDB_RESUME="allow")
    folders = place.folders()
    expect("logs", 2, len(folders))
    contains("sync", "2 synced", place.sync(os.path.dirname(folders[0])))
    ended_well(server, 7)
    place.sync(folders[0], "synced")
    place.sync(folders[1], "synced")
    ended_well(server, 7)


def online_goes_on(place, server):
    place.log("more", 3)
    contains("step and config", "step 3 config", place.log("more", 2, WANDB_RESUME="must"))
    ended_well(server, 5)
    contains("never", "exists", place.log("more", 1, WANDB_RESUME="never", code=3))
    contains("must", "no run 'other'", place.log("other", 1, WANDB_RESUME="must", code=3))
    expect("runs", 1, len(server.state()["runs"]))


def a_growing_log_is_followed(place, server):
    """A login node sends what a job without a network writes."""
    process = place.start("log", "job", 100, 10, "wait", WANDB_MODE="offline")
    process.stdout.readline()
    follower = place.start("sync", *place.folders(), "follow", **SOON)
    until("rows while it runs", lambda: 0 < len(place.rows()) < 100)
    process.communicate("\n", timeout=GUARD)
    contains("sync", "1 synced", end(follower))
    ended_well(server, 100)


def two_syncs_at_once(place, server):
    process = place.start("log", "both", 3, 0, "wait", WANDB_MODE="offline")
    process.stdout.readline()
    (folder,) = place.folders()
    follower = place.start("sync", folder, "follow", **SOON)
    until("rows", lambda: len(place.rows()) == 3)
    contains("the second", "another process is sending", place.sync(folder, code=3))
    process.communicate("\n", timeout=GUARD)
    end(follower)
    ended_well(server, 3)


def another_name_for_it(place, server):
    place.log("mine", 2, WANDB_MODE="offline")
    contains("sync", "/they/theirs/runs/copy", place.sync(
        *place.folders(), "entity=they", "project=theirs", "id=copy"))
    expect("path", "they/theirs/copy", server.state()["runs"][0]["path"])
    place.sync(*place.folders(), "synced")
    expect("both", {"they/theirs/copy", "fixture-user/p/mine"},
           {run["path"] for run in server.state()["runs"]})


def somebody_presses_stop(place, server):
    process = place.start("log", "stop", 3, 0, "wait", **SOON)
    until("the rows", lambda: len(place.rows()) == 3)
    expect("not yet", False, server.run().stopped)
    server.control({"stop": "stop"})
    posts = server.run().posts
    until("a heartbeat", lambda: server.run().posts > posts)
    output, _ = process.communicate("\n", timeout=GUARD)
    contains("the program", "\nstopped\n", output)
    ended_well(server, 3)


def headers_of_the_users(place, server):
    """Reach the API; what is no JSON object of texts is refused, without being quoted."""
    seen = []
    check = server.api.RequestHandlerClass.parse_request

    class Handler(server.api.RequestHandlerClass):
        def parse_request(self):
            good = check(self)
            seen.append((self.path, self.headers.get("X-Ours")))
            return good

    server.api.RequestHandlerClass = Handler
    place.log("headers", 1, WANDB__EXTRA_HTTP_HEADERS='{"X-Ours": "yes"}')
    expect("headers", {"yes"}, {header for path, header in seen})
    for wrong in ('{"X-Ours": 1}', '["a secret"]', '{"a": "b\\r\\nc: d"}'):
        output = place.log("headers", 1, WANDB__EXTRA_HTTP_HEADERS=wrong, code=3)
        contains("error", "'x_extra_http_headers' is no JSON object of texts", output)
        expect("secrecy", False, "secret" in output)


def a_wrong_key(place, server):
    place.environment["WANDB_API_KEY"] = "0" * 40
    server.key = client.KEY
    output = place.log("wrong", 1, code=3)
    contains("error", "error: ACCEL_ERR_INVALID: ", output)
    contains("error", "HTTP 401", output)


def nobody_answers(place, server):
    place.environment |= {"WANDB_INIT_TIMEOUT": "1", "WANDB_FINISH_TIMEOUT": "1",
                          "WANDB_SILENT": "false"}
    server.inject("any", times=None, silent=True)
    contains("with resume", "error: ", place.log("none", 1, WANDB_RESUME="allow", code=3))
    contains("without", "There is no answer", place.log("none", 2))
    server.faults.clear()
    place.sync(place.folders()[-1], "online")
    ended_well(server, 2)


def wrong_answers(place, server):
    """No JSON, too deep a JSON, no data: errors, and the run goes on."""
    server.inject("graphql", operation="UpsertBucket", times=1, skip=1, text="<html>no")
    server.inject("file_stream", times=1, text="[" * 100000, apply=True)
    server.inject("file_stream", times=1, text="{\"stopped\": 7}", apply=True)
    process = place.start("log", "odd", 4, 300, "wait", **SOON)
    until("the rows", lambda: len(place.rows()) == 4)
    output, _ = process.communicate("\n", timeout=GUARD)
    contains("the program", "\nnot stopped\n", output)
    ended_well(server, 4)
    expect("faults left", [], server.faults.ordered)


def a_broken_log(place, server):
    place.log("broken", 3, WANDB_MODE="offline")
    (folder,) = place.folders()
    path = os.path.join(folder, "run-broken.wandb")
    empty = os.path.join(place.folder, "empty")
    os.makedirs(empty)
    with open(path, "r+b") as file:
        file.truncate(os.path.getsize(path) - 5)
    contains("sync", "1 synced", place.sync(folder))
    expect("rows", [0, 1, 2], place.rows())
    expect("state", "failed", server.state()["runs"][0]["state"])
    with open(path, "wb") as file:
        file.write(b"no log")
    contains("no log", "is no .wandb log", place.sync(folder, "synced", code=3))
    contains("nothing", "holds no run", place.sync(empty, code=3))


def stock_then_ours(place, server):
    """A log of the stock client, sent by ours, is what stock's own sync makes of it."""
    folder = os.path.join(place.folder, "stock")
    os.makedirs(folder)
    environment = client.environment(folder)
    client.run([*client.STOCK, "define_metric", "summary", "nested_config", "console"], folder,
               environment, GUARD)
    for run in client.folders(folder):
        place.sync(run, "unmarked")
    with Server() as other:
        environment = client.environment(folder, other)
        for run in client.folders(folder):
            client.run([client.WANDB, "sync", run], folder, environment, GUARD)
        expect("problems", [], server.problems + other.problems)
        expect("state", [], state.differences(state.compared(other), state.compared(server)))


CASES = [a_key_is_nowhere, a_sync_is_repeated, a_log_grows_after_its_sync, an_online_run_is_killed,
         a_finish_is_cut_short, the_network_goes_and_returns, segments_of_one_run, online_goes_on,
         a_growing_log_is_followed, two_syncs_at_once, another_name_for_it, somebody_presses_stop,
         headers_of_the_users,
         a_wrong_key, nobody_answers, wrong_answers, a_broken_log, stock_then_ours]

# Cases in which the client is made to do what a server complains of.
COMPLAINTS = {"a_wrong_key"}
MORE = {"somebody_presses_stop": {"WANDB_HEARTBEAT_SECONDS": "1"}}


def play(case, base):
    folder = os.path.join(base, case.__name__)
    os.makedirs(folder)
    try:
        with Server() as server:
            case(Place(folder, server, **MORE.get(case.__name__, {})), server)
            if case.__name__ not in COMPLAINTS:
                expect("complaints", [], server.problems)
    except (Wrong, RuntimeError, subprocess.TimeoutExpired) as error:
        return [f"{case.__name__}: {error}"]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return []


def main(names):
    if not os.path.exists(os.path.join(client.BUILD, "lib", "accel", "libaccel-tracker-wandb.so")):
        print("skipped: the plugin was not built")
        return 77
    cases = [case for case in CASES if not names or case.__name__ in names]
    with tempfile.TemporaryDirectory() as base:
        problems = sum(client.in_parallel([lambda case=case: play(case, base)
                                           for case in cases], 6), [])
    print("\n".join(problems) or f"{len(cases)} cases")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
