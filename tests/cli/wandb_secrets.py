# SPDX-License-Identifier: Apache-2.0
# test-timeout: 120
"""The API key is in nothing that a run, a sync or a login leaves behind or says, wherever the key
came from and however it ended; and it goes to its own server only."""
import os
import signal

from _launch import check, contains, equal, main
from _wandb import KEY, PROGRAM, Place, need_plugin, until

need_plugin()
FEW = {f"WANDB__{name}_RETRY_MAX": "1" for name in ("GRAPHQL", "FILE_STREAM", "FILE_TRANSFER")}


def places():
    """One with the key in the environment, one with it in netrc."""
    for in_netrc in (False, True):
        with Place() as place:
            place.environment |= {**FEW, "WANDB_SILENT": "false", "WANDB_MODE": "online"}
            if in_netrc:
                place.environment["WANDB_API_KEY"] = None
                machine = place.server.url.split("//")[1]
                with open(place.path(".netrc"), "w", encoding="utf-8") as file:
                    file.write(f"machine {machine}\n  login user\n  password {KEY}\n")
                os.chmod(place.path(".netrc"), 0o600)
            yield place


def check_nowhere(place, *said):
    for text in said:
        check(KEY not in text, f"the key is said: {text!r}")
    for folder, _, names in os.walk(place.folder):
        for name in names:
            path = os.path.join(folder, name)
            if path == place.path(".netrc") or not os.path.isfile(path):
                continue
            with open(path, "rb") as file:
                check(KEY.encode() not in file.read(), f"the key is in {path}")
    check(not any("key" in problem for problem in place.server.problems), place.server.problems)


def echo(place, endpoint, status, **more):
    """The server says the key, as a proxy that shows what it got may do."""
    place.server.inject(endpoint, status=status, text=f"api:{KEY} is not welcome", **more)


def test_a_run_and_its_sync():
    for place in places():
        echo(place, "file_stream", 500, times=1)
        code, *said = place.end(place.start(PROGRAM, "log", "one", 3, 0, "wait", KEY), "\n")
        equal(0, code, said)  # the key is among its arguments, which a run records
        check_nowhere(place, *said)
        with open(place.logs()[0], "rb") as file:
            check(b"*" * len(KEY) in file.read(), "the arguments are recorded")
        equal([0, 1, 2], place.rows()["one"])
        code, *said = place.accel("sync", "--include-online", "--include-synced")
        equal(0, code, said)
        check_nowhere(place, *said)


def test_what_fails():
    for place in places():
        echo(place, "graphql", 401, operation="UpsertBucket", times=None)
        code, *said = place.end(place.start(PROGRAM, "log", "refused", 3))
        equal(3, code)
        contains("HTTP 401", said[0])
        check_nowhere(place, *said)
        place.log("later", 2)
        code, *said = place.accel("sync")
        equal(1, code)
        contains("HTTP 401", said[1])
        check_nowhere(place, *said)
        echo(place, "graphql", 403, operation="Viewer", times=None)
        code, *said = place.accel("login", text=KEY + "\n")
        equal(1, code)
        check_nowhere(place, *said)


def test_a_crash():
    for place in places():
        process = place.start(PROGRAM, "log", "killed", 3, 0, "wait")
        until("rows", lambda: place.rows().get("killed") == [0, 1, 2])
        with open(f"/proc/{process.pid}/cmdline", encoding="utf-8") as file:
            check(KEY not in file.read(), "the key is an argument")
        process.send_signal(signal.SIGABRT)
        _, *said = place.end(process)
        check_nowhere(place, *said)
        code, *said = place.accel("sync", "--include-online")
        equal(0, code, said)
        check_nowhere(place, *said)


def test_a_key_in_the_address():
    with Place() as place:
        address = place.server.url.replace("//", f"//api:{KEY}@")
        place.log("one", 1)
        for words in (["sync"], ["login"], ["login", "--host", address]):
            base = place.server.url if "--host" in words else address
            code, *said = place.accel(*words, WANDB_BASE_URL=base)
            equal(1, code, words)
            contains("user name", said[1])
            check_nowhere(place, *said)


def test_who_may_read():
    """What runs and syncs leave obeys the umask, and keys are their owner's alone."""
    with Place() as place:
        before = os.umask(0o077)
        try:
            place.log("one", 1)
            equal(0, place.accel("sync")[0])
        finally:
            os.umask(before)
        for folder, names, files in os.walk(place.path("wandb")):
            for name in names + files:
                path = os.path.join(folder, name)
                check(os.path.islink(path) or os.stat(path).st_mode & 0o077 == 0, path)
        place.environment["WANDB_API_KEY"] = None
        equal(0, place.accel("login", text=KEY)[0])
        equal(0o600, os.stat(place.path(".netrc")).st_mode & 0o777)


def test_another_server():
    """Of the keys in netrc each server gets its own, also when it sends us to another one."""
    with Place() as one, Place() as other:
        one.environment["WANDB_API_KEY"] = None
        with open(one.path(".netrc"), "w", encoding="utf-8") as file:
            file.write(f"machine {one.server.url.split('//')[1]} login user password {KEY}\n")
        code, _, err = one.accel("login", WANDB_BASE_URL=other.server.url)
        equal(1, code)
        contains("no API key was found", err)
        one.server.inject("graphql", times=None, status=307, text="",
                          headers={"Location": other.server.url + "/graphql"})
        code, _, err = one.accel("login")
        equal(1, code, err)
        equal([], list(other.server.requests), "nothing was asked there")


main(globals())
