# SPDX-License-Identifier: Apache-2.0
# test-timeout: 180
"""`accel sync`: which logs it sends, following, interruptions, and what it says."""
import os
import re
import signal
import time

from _launch import ACCEL, accel, check, contains, equal, main
from _wandb import Place, need_plugin, until

need_plugin()


def test_all_runs_of_a_folder():
    with Place() as place:
        for name in ("one", "two", "three"):
            place.log(name, 3)
        code, out, _ = place.accel("sync", "--dry-run", WANDB_API_KEY=None)
        equal((0, 3), (code, out.count("to send")), "a list, without a key")
        equal({}, place.rows(), "nothing was sent")
        code, out, err = place.accel("sync")
        equal((0, ""), (code, err))
        contains("3 runs sent\n", out)
        contains(f"3 rows, 4 files: {place.server.url}/fixture-user/p/runs/two\n", out)
        equal(dict.fromkeys(("one", "two", "three"), [0, 1, 2]), place.rows())
        equal((0, "0 runs sent, 3 left out: already synced\n", ""), place.accel("sync"))
        place.log("four", 1)
        contains("1 run sent, 3 left out", place.accel("sync", "-j", 1)[1])
        contains("4 runs sent", place.accel("sync", "--include-synced")[1])
        equal([0, 1, 2], place.rows()["one"], "a repeated sync doubles nothing")
        equal([], place.server.problems)


def test_one_run():
    with Place() as place:
        place.log("one", 2)
        place.log("two", 2)
        first, second = sorted(place.logs(), key=lambda path: "two" in path)
        contains("1 run sent", place.accel("sync", os.path.dirname(first))[1], "its folder")
        equal(["one"], list(place.rows()))
        equal((0, "", ""), place.accel("sync", "-q", second), "quietly")
        equal({"one", "two"}, set(place.rows()))
        contains("already synced", place.accel("sync", "wandb/latest-run")[1], "the link")
        contains("/they/theirs/runs/copy", place.accel(
            "sync", "--include-synced", "--no-mark-synced", "-e", "they", "-p", "theirs",
            "--id", "copy", first)[1])
        equal([0, 1], place.rows()["copy"])
        contains("2 runs sent", place.accel("sync", "--include-synced")[1], "to where they were")
        equal({"one": [0, 1], "two": [0, 1], "copy": [0, 1]}, place.rows())
        equal([], place.server.problems)


def test_where_runs_are():
    with Place() as place:
        code, _, err = place.accel("sync")
        equal(1, code)
        contains("wandb: No such file or directory", err)
        os.mkdir(place.path("elsewhere"))
        place.log("one", 1, WANDB_DIR=place.path("elsewhere"))
        contains("1 run sent", place.accel("sync", WANDB_DIR=place.path("elsewhere"))[1])
        code, _, err = place.accel("sync", "nowhere", "elsewhere/wandb")
        equal(1, code, "one of two is not there")
        contains("nowhere", err)
        code, _, err = place.accel("sync", place.folder)
        equal(1, code)
        contains("holds no run", err)


def test_what_is_refused():
    for arguments, words in (
            (["--jobs", "0"], "--jobs is '0'; expected 1 to 64"),
            (["--idle", "x", "-f"], "--idle is 'x'"), (["--idle", "5"], "--idle is for --follow"),
            (["--project"], "--project needs a value"), (["--id", ""], "--id is empty"),
            (["--frobnicate"], "unknown option --frobnicate")):
        code, out, err = accel("sync", *arguments)
        equal((2, ""), (code, out))
        contains(words, err)
    with Place() as place:
        place.log("one", 1)
        place.log("two", 1)
        code, _, err = place.accel("sync", "--id", "x")
        equal(2, code)
        contains("--id is for one log, and here are 2", err)
        code, _, err = place.accel("sync", WANDB_API_KEY=None)
        equal(1, code)
        contains("no API key was found", err)
        equal(1, err.count("\n"), "said once")
        code, _, err = place.accel("sync", WANDB_API_KEY="e" * 40)
        equal((1, False), (code, "e" * 40 in err))
        contains("401", err)
        equal({}, place.rows())


def test_jobs_are_followed():
    """Before the first has begun; one begins later; the end is theirs."""
    with Place() as place:
        follower = place.start(ACCEL, "sync", "--follow", "wandb")
        contains("waiting for a run", follower.stderr.readline())
        first = place.begin("first", 20, 10)
        until("rows while it runs", lambda: place.rows().get("first"))
        second = place.begin("second", 5)
        until("rows of the later one", lambda: place.rows().get("second") == list(range(5)))
        equal("running", place.states()["second"])
        place.end(second, "\n")
        check(follower.poll() is None, "one is still running")
        place.end(first, "\n")
        code, out, err = place.end(follower)
        equal((0, ""), (code, err))
        contains("2 runs sent", out)
        equal({"first": list(range(20)), "second": list(range(5))}, place.rows())
        equal({"first": "finished", "second": "finished"}, place.states())


def test_killed_jobs_are_followed():
    """A log that has no end is over when its run has a newer one, or when it grows no more."""
    with Place() as place:
        for rows in (3, 2):
            job = place.begin("chain", rows, WANDB_RESUME="allow")
            time.sleep(0.3)  # until what was logged is written
            job.kill()
            place.end(job)
        code, out, err = place.accel("sync", "--follow", "--idle", "1")
        equal(0, code, err)
        contains("2 runs sent", out)
        equal({"chain": list(range(5))}, place.rows())
        equal({"chain": "failed"}, place.states())


def test_interrupted():
    for number in (signal.SIGINT, signal.SIGTERM):
        with Place() as place:
            place.log("one", 5)
            place.log("two", 5)
            place.server.inject("file_stream", times=None, status=500)
            process = place.start(ACCEL, "sync")
            until("it is asked", lambda: any(request.endpoint == "file_stream"
                                             for request in place.server.requests))
            process.send_signal(number)
            code, _, err = place.end(process)
            equal(128 + number, code)
            contains("the next sync goes on", err)
            place.server.faults.clear()
            contains("2 runs sent", place.accel("sync")[1])
            equal({"one": list(range(5)), "two": list(range(5))}, place.rows())
            equal([], place.server.problems)


def test_two_at_once():
    with Place() as place:
        job = place.begin("one", 3)
        follower = place.start(ACCEL, "sync", "--follow")
        until("rows", lambda: place.rows().get("one") == [0, 1, 2])
        code, _, err = place.accel("sync")
        equal(1, code)
        contains("another process is sending", err)
        place.end(job, "\n")
        equal(0, place.end(follower)[0])
        equal({"one": [0, 1, 2]}, place.rows())


def test_a_forever_ends_when_told():
    with Place() as place:
        place.log("one", 1)
        follower = place.start(ACCEL, "sync", "--forever")
        until("the first", lambda: place.states().get("one") == "finished")
        place.log("two", 1)
        until("the second", lambda: place.states().get("two") == "finished")
        check(follower.poll() is None, "it goes on looking")
        follower.send_signal(signal.SIGTERM)
        equal(128 + signal.SIGTERM, place.end(follower)[0])


def test_files_that_are_missed():
    with Place() as place:
        place.log("one", 1)
        place.server.inject("put", times=None, status=403)
        code, _, err = place.accel("sync")
        equal(1, code)
        contains("could not be sent; the next sync tries again", err)
        place.server.faults.clear()
        equal(0, place.accel("sync")[0])
        check("config.yaml" in place.server.run().files, "they arrive")


def test_manual_page():
    page = open(os.path.join(os.environ["ACCEL_SOURCE_DIR"], "man", "accel-sync.1"),
                encoding="utf-8").read().replace("Fl Fl ", "--")
    for option in re.findall(r"--[a-z][a-z-]+", accel("help", "sync")[1]):
        contains(option, page)


main(globals())
