# SPDX-License-Identifier: Apache-2.0
# test-timeout: 120
"""`accel login`: where the key comes from, where it goes, and where it never does."""
import netrc
import os
import pty
import re
import signal
import subprocess
import termios
import time

from _launch import ACCEL, HANG, accel, check, contains, equal, main
from _wandb import KEY, Place, need_plugin, until

need_plugin()
OTHER = "machine other.example.org login me password secret  # mine\n"


def logged_out(place, **more):
    place.environment["WANDB_API_KEY"] = None
    place.environment |= more
    return place


def password(place, path=".netrc"):
    """What another reader of netrc finds."""
    machine = place.server.url.split("//")[1]
    return netrc.netrc(place.path(path)).authenticators(machine)


def mode(place, path):
    return os.stat(place.path(path)).st_mode & 0o777


def test_from_a_pipe():
    with Place() as place:
        logged_out(place)
        code, _, err = place.accel("login")
        equal(1, code)
        contains("no API key was found", err)
        code, out, err = place.accel("login", text=f"  {KEY} \r\nignored\n")
        equal((0, ""), (code, err))
        contains(f"Logged in to {place.server.url} as fixture; runs go to fixture-user", out)
        machine = place.server.url.split("//")[1]
        with open(place.path(".netrc"), encoding="utf-8") as file:
            equal(f"machine {machine}\n  login user\n  password {KEY}\n", file.read())
        equal(0o600, mode(place, ".netrc"))
        contains("The key is in", place.accel("login")[1], "it is there now, and is checked")
        place.log("one", 1)
        contains("1 run sent", place.accel("sync")[1], "and syncs find it")
        equal([], place.server.problems)


def test_what_is_not_kept():
    with Place() as place:
        logged_out(place)
        for text, words in (("short\n", "has 5 characters"), ("e" * 40 + "\n", "does not take"),
                            ("x" * 2000, "no key came"), ("a b" * 20 + "\n", "may only hold")):
            code, out, err = place.accel("login", text=text)
            equal((1, ""), (code, out))
            contains(words, err)
            check(text.strip() not in err, "the key is not shown")
        check(not os.path.exists(place.path(".netrc")), "nothing is kept")


def test_other_entries():
    machine = "api.wandb.ai"
    before = f"{OTHER}machine {machine}\n\tlogin user\n\tpassword old\n\nmachine last password x\n"
    with Place() as place:
        logged_out(place)
        with open(place.path("real"), "w", encoding="utf-8") as file:
            file.write(before.replace(machine, place.server.url.split("//")[1]))
        os.chmod(place.path("real"), 0o644)
        os.symlink("real", place.path(".netrc"))
        equal(0, place.accel("login", text=KEY)[0])
        check(os.path.islink(place.path(".netrc")), "a link stays one")
        with open(place.path("real"), encoding="utf-8") as file:
            found = file.read()
        check(found.startswith(OTHER) and found.endswith("\nmachine last password x\n"), found)
        check("old" not in found, found)
        equal(("user", KEY), password(place)[::2])
        equal(0o600, mode(place, "real"))
        equal(["real"], [name for name in os.listdir(place.folder) if "real" in name])


def test_netrc_elsewhere():
    with Place() as place:
        logged_out(place, NETRC=place.path("keys"))
        equal(0, place.accel("login", text=KEY)[0])
        equal(KEY, password(place, "keys")[2])
        check(not os.path.exists(place.path(".netrc")), "only there")
        os.mkdir(place.path("folder"))
        code, _, err = place.accel("login", text=KEY, NETRC=place.path("folder"))
        equal(1, code)
        contains("folder", err)


def test_another_host():
    with Place() as place:
        logged_out(place, WANDB_BASE_URL=None)
        os.makedirs(place.path(".config/wandb"))
        with open(place.path(".config/wandb/settings"), "w", encoding="utf-8") as file:
            file.write("[default]\nentity = they\nBASE_URL: https://old.example.org\n[x]\ny = 1\n")
        code, out, err = place.accel("login", "--host", place.server.url + "/", text=KEY)
        equal((0, ""), (code, err))
        contains(place.server.url, out)
        with open(place.path(".config/wandb/settings"), encoding="utf-8") as file:
            equal(f"[default]\nbase_url = {place.server.url}\nentity = they\n[x]\ny = 1\n",
                  file.read())
        contains(place.server.url, place.accel("login")[1], "it is the server from now on")
        for host, words in (("ftp://x", "no http"), ("http://u:p@x", "user name")):
            code, _, err = place.accel("login", "--host", host, text=KEY)
            equal(1, code)
            contains(words, err)


def test_without_the_server():
    with Place() as place:
        logged_out(place, WANDB_INIT_TIMEOUT="2")
        place.server.refuse()
        code, _, err = place.accel("login", text=KEY)
        equal(1, code)
        contains("--no-verify", err)
        check(not os.path.exists(place.path(".netrc")), "nothing is kept")
        code, out, _ = place.accel("login", "--no-verify", text=KEY)
        equal(0, code)
        contains("it was not checked", out)
        equal(KEY, password(place)[2])


def test_an_argument():
    """It works, with a warning, and is soon not to be seen any more."""
    with Place() as place:
        logged_out(place)
        place.server.inject("graphql", operation="Viewer", delay=2)
        process = place.start(ACCEL, "login", KEY)

        def arguments():
            with open(f"/proc/{process.pid}/cmdline", encoding="utf-8") as file:
                return file.read()
        until("it is gone", lambda: "****" in arguments())
        check(KEY not in arguments(), "the key in the arguments")
        code, _, err = place.end(process)
        equal(0, code)
        contains("can be seen by others", err)
        equal(KEY, password(place)[2])


def test_the_environment_goes_first():
    with Place() as place:
        code, _, err = place.accel("login", text=KEY)
        equal(0, code)
        contains("WANDB_API_KEY is set, and goes before", err)


def ask(place, text, *words):
    """On a terminal: (exit code, what it showed, whether the terminal is as it was)."""
    main_end, end = pty.openpty()
    before = termios.tcgetattr(end)
    process = place.start(ACCEL, "login", *words, stdin=end, preexec_fn=os.setsid)
    limit = time.monotonic() + HANG
    while termios.tcgetattr(end)[3] & termios.ECHO:
        check(time.monotonic() < limit and process.poll() is None, "it never asked")
        time.sleep(0.01)
    os.write(main_end, text.encode())
    out, err = process.communicate(timeout=HANG)
    same = termios.tcgetattr(end) == before
    os.set_blocking(main_end, False)
    try:
        shown = os.read(main_end, 4096).decode()
    except BlockingIOError:
        shown = ""
    os.close(main_end)
    os.close(end)
    return process.returncode, out + err + shown, same


def test_on_a_terminal():
    with Place() as place:
        logged_out(place)
        code, shown, same = ask(place, KEY + "\n")
        equal((0, True), (code, same), shown)
        contains("API key", shown)
        check(KEY not in shown, "the key is shown")
        equal(KEY, password(place)[2])
        code, shown, same = ask(place, "\x03", "--relogin")
        equal((128 + signal.SIGINT, True), (code, same), shown)
        equal(KEY, password(place)[2])


def test_what_is_refused():
    for arguments, words in ((["--host"], "--host needs a value"),
                             (["--frobnicate"], "unknown option --frobnicate"),
                             (["a", "b"], "more than one key")):
        result = subprocess.run([ACCEL, "login", *arguments], stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, timeout=HANG, check=False)
        equal((2, ""), (result.returncode, result.stdout))
        contains(words, result.stderr)


def test_manual_page():
    with open(os.path.join(os.environ["ACCEL_SOURCE_DIR"], "man", "accel-login.1"),
              encoding="utf-8") as file:
        page = file.read().replace("Fl Fl ", "--")
    for option in re.findall(r"--[a-z][a-z-]+", accel("help", "login")[1]):
        contains(option, page)


main(globals())
