# SPDX-License-Identifier: Apache-2.0
"""The accel tool itself: help, version, unknown commands, and `accel env`."""
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import tempfile

from _launch import ACCEL, BUILD, accel, check, contains, equal, main

SOURCE = pathlib.Path(os.environ["ACCEL_SOURCE_DIR"])


def version():
    header = (SOURCE / "include/accel/version.h").read_text()
    return re.search(r'ACCEL_VERSION "(.*)"', header).group(1)


def test_version():
    for option in ("--version", "-V"):
        equal((0, f"accel {version()}\n", ""), accel(option))


def test_help():
    code, out, err = accel("--help")
    equal((0, ""), (code, err))
    contains("accel launch -n 4 ./train", out, "it teaches by examples")
    equal((2, "", out), accel(), "without a command it is shown as an error")
    for same in (["-h"], ["help"]):
        equal((0, out, ""), accel(*same))


def test_help_of_commands():
    for command in ("launch", "report", "env"):
        code, out, err = accel("help", command)
        equal((0, ""), (code, err))
        contains(f"Usage: accel {command}", out)
        for option in ("--help", "-h"):
            equal((0, out, ""), accel(command, option))
        check(all(len(line) <= 95 for line in out.splitlines()), "fits a terminal")
    equal((0, accel("help", "launch")[1], ""), accel("launch", "-n", 2, "--help"))


def test_man_page_and_help_agree():
    page = (SOURCE / "man/accel.1").read_text().replace("Fl Fl ", "--")
    for option in re.findall(r"--[a-z][a-z-]+", accel("help", "launch")[1]):
        contains(option, page, "accel.1")


def test_unknown():
    equal((2, "", "accel: unknown command 'lauch'; did you mean 'launch'?\n"), accel("lauch"))
    equal((2, "", "accel: unknown command 'evn'; did you mean 'env'?\n"), accel("evn"))
    equal((2, "", "accel: unknown command 'frobnicate'; `accel --help` lists them\n"),
          accel("frobnicate"))
    code, _, err = accel("-n", 4, "./train")
    equal(2, code)
    contains("options of a command come after its name", err)
    equal(2, accel("help", "lauch")[0])
    code, _, err = accel("env", "--frobnicate")
    equal(2, code)
    contains("--frobnicate", err)
    code, _, err = accel("env", "x")
    equal(2, code)
    contains("'x'", err)


def test_a_full_disk():
    for arguments in (["--help"], ["--version"], ["env"], ["env", "--json"], ["launch", "--help"]):
        with open("/dev/full", "wb") as full:
            result = subprocess.run([ACCEL, *arguments], stdout=full, stderr=subprocess.PIPE,
                                    timeout=60, check=False)
        equal(1, result.returncode, arguments)
        contains(b"cannot write", result.stderr)


def test_env():
    secret = "s3cr3tvalue"
    variables = {"RANK": "3", "ACCEL_LOG_LEVEL": "info", "WANDB_API_KEY": secret,
                 "WANDB_BASE_URL": f"https://me:{secret}@host", "WANDB_MODE": "offline",
                 "HF_TOKEN": secret, "ACCEL_TEST_TOKEN": secret, "OMP_NUM_THREADS": "7"}
    code, out, err = accel("env", env=variables)
    equal((0, ""), (code, err))
    check(secret not in out, "secrets are not shown")
    facts = dict(line.split(": ", 1) for line in out.splitlines())
    equal(version(), facts["accel"])
    equal(platform.release(), facts["kernel"].split()[1])
    equal(f"glibc {os.confstr('CS_GNU_LIBC_VERSION').split()[1]}", facts["libc"])
    contains(f"{len(os.sched_getaffinity(0))} usable", facts["cpus"])
    equal(pathlib.Path(facts["library"]).resolve().parent, (BUILD / "lib").resolve())
    check(re.match(r"(gcc|clang) \d+\.\d+", facts["compiler"]), facts["compiler"])
    equal(["3", "info", "offline", "7"],
          [facts[name] for name in ("RANK", "ACCEL_LOG_LEVEL", "WANDB_MODE", "OMP_NUM_THREADS")])
    equal("(set, not shown)", facts["WANDB_API_KEY"])
    equal("(set, not shown)", facts["WANDB_BASE_URL"])
    check("HF_TOKEN" not in facts, "only what we read")
    if shutil.which("mpirun"):
        equal(os.path.realpath(shutil.which("mpirun")), facts["mpirun"])


def test_env_json():
    text = accel("env", env={"ACCEL_X": "1"})[1]
    code, out, err = accel("env", "--json", env={"ACCEL_X": "1"})
    equal((0, ""), (code, err))
    facts = json.loads(out)
    equal({line.split(": ")[0] for line in text.splitlines()}, set(facts))
    check(all(isinstance(value, (str, list)) for value in facts.values()), "texts, or lists of them")
    environment = {**os.environb, b"ACCEL_X": b"\xff"}
    result = subprocess.run([ACCEL, "env", "-j"], env=environment, capture_output=True, check=True,
                            timeout=60)
    equal("(not UTF-8)", json.loads(result.stdout)["ACCEL_X"])


def test_env_names_plugins():
    with tempfile.TemporaryDirectory() as folder:
        where = pathlib.Path(folder)
        (where / "libaccel-tracker-broken.so").write_text("no object")
        (where / "notes.txt").write_text("no plugin")
        library = next((BUILD / "lib").glob("libaccel.so*")).resolve()
        shutil.copy(library, where / "libaccel-tracker-other.so")
        out = accel("env", env={"ACCEL_PLUGIN_PATH": f"{folder}:/does/not/exist"})[1]
        contains(f"plugin directory: {folder}\n", out)
        contains("plugin directory: /does/not/exist (cannot be read)\n", out)
        contains(f"plugin: {folder}/libaccel-tracker-broken.so: does not load: ", out)
        contains(f"plugin: {folder}/libaccel-tracker-other.so: has no symbol", out)
        check("notes" not in out, out)
        facts = json.loads(accel("env", "-j", env={"ACCEL_PLUGIN_PATH": folder})[1])
        equal(2, len(facts["plugin directory"]), "a list of them")


if __name__ == "__main__":
    main(globals())
