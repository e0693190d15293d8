# SPDX-License-Identifier: Apache-2.0
"""Wrong options and programs: one clear line, the right exit code, and no rank started."""
import os
import pathlib
import tempfile

from _launch import RANK, accel, check, contains, equal, launch, main


def refused(code, part, *arguments, env=None):
    found, out, err = accel("launch", *arguments, env=env)
    equal((code, ""), (found, out), f"{arguments}: {err}")
    equal(1, err.count("\n"), f"{arguments}: one line: {err}")
    check(err.startswith("accel launch: "), err)
    contains(part, err, f"{arguments}")


def test_numbers():
    for text in ("0", "-1", "abc", "", "3x", "1.5", "99999999999999999999", "4097", " 2", "+2", "0x2"):
        refused(2, f"'{text}'; expected a whole number from 1 to 4096", "-n", text, RANK)
        refused(2, f"--num-processes is '{text}'", f"--num_processes={text}", RANK)
    for text in ("0", "-1", "many"):
        refused(2, f"--threads is '{text}'", "--threads", text, RANK)
    for text in ("-1", "soon", "inf", "nan", "0x1", "1e3", ""):
        refused(2, f"--grace is '{text}'", f"--grace={text}", RANK)


def test_missing():
    refused(2, "no program given")
    refused(2, "no program given", "-n", 2)
    refused(2, "no program given", "-n", 2, "--")
    refused(2, "-n needs a value", "-n")
    refused(2, "--log_dir needs a value", "--log_dir")
    refused(2, "--quiet takes no value", "--quiet=1", RANK)


def test_unknown():
    refused(2, "unknown option --num-proceses; did you mean --num-processes?",
            "--num-proceses", 2, RANK)
    refused(2, "unknown option --logdir; did you mean --log-dir?", "--logdir", "x", RANK)
    refused(2, "unknown option --frobnicate; `accel launch --help`", "--frobnicate", RANK)
    refused(2, "unknown option -x", "-x", RANK)


def test_refused_by_name():
    """What `accelerate launch` has and this launcher has not."""
    for name, part in (("--multi_gpu", "-n N"), ("--num_machines=2", "mpirun, srun or torchrun"),
                       ("--config_file=x.yaml", "command line"), ("--use-fsdp", "in the program"),
                       ("--deepspeed_config_file=x", "DeepSpeed"), ("--zero_stage=3", "DeepSpeed"),
                       ("--main_process_port=0", "MASTER_PORT"), ("--gpu_ids=0", "CUDA_VISIBLE"),
                       ("--max_restarts=3", "not restarted"), ("-m", "python3 -m MODULE"),
                       ("--rdzv_backend=c10d", "no rendezvous"), ("--debug", "always checked"),
                       ("--dynamo_backend=inductor", "torch.compile"), ("--tee=3", "--log-dir")):
        refused(2, part, name, RANK)
        err = accel("launch", name, RANK)[2]
        contains(name.split("=")[0].replace("_", "-"), err.replace("_", "-"), "by its name")


def test_programs():
    with tempfile.TemporaryDirectory() as folder:
        where = pathlib.Path(folder)
        refused(127, "nothing: no such program", "nothing")
        refused(127, "no such program", where / "nothing")
        refused(127, "name is empty", "")
        refused(126, "is a directory", folder)
        (where / "data").write_text("x")
        refused(126, "data: cannot be executed: Permission denied", where / "data")
        (where / "text").write_text("not a program")
        (where / "text").chmod(0o755)
        refused(126, "neither a program", "-n", 3, where / "text")
        (where / "script").write_text("#!/does/not/exist\n")
        (where / "script").chmod(0o755)
        refused(126, "interpreter", "-n", 3, where / "script")
        (where / "good").write_text("#!/bin/sh\necho found\n")
        (where / "good").chmod(0o755)
        path = {"PATH": f"/does/not/exist:{folder}:{os.environ['PATH']}"}
        equal((0, "[0] found\n", ""), launch("-n", 1, "good", env=path), "in PATH")
        os.chdir(folder)
        refused(127, "say ./good", "good")
        os.chdir("/")


def test_too_many_files():
    code, out, err = accel_with_files(40, "-n", 30, RANK)
    equal((125, ""), (code, out))
    contains("Too many open files", err)


def accel_with_files(limit, *arguments):
    import resource
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        return launch(*arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


if __name__ == "__main__":
    main(globals())
