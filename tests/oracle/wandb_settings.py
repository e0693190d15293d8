# SPDX-License-Identifier: Apache-2.0
# test-timeout: 120
"""Settings from files, environment and arguments, at random, come out as in the stock client."""
import json
import os
import random
import subprocess
import sys
import tempfile

import wandb

BUILD = os.environ.get("ACCEL_BUILD_DIR", "")
PROGRAM = os.path.join(BUILD, "bin", "program-wandb_settings")
TRIALS = 60

TEXTS = ["entity", "run_name", "run_notes", "run_group", "run_job_type", "host", "username", "email",
         "docker", "git_remote", "git_remote_url", "git_commit", "app_url_override", "x_label"]
FLAGS = ["silent", "quiet", "symlink", "insecure_disable_ssl", "finish_timeout_raises", "x_primary",
         "x_disable_stats", "x_disable_meta", "x_update_finish_state", "show_errors",
         "allow_val_change", "use_dot_wandb", "disable_git"]
NUMBERS = ["init_timeout", "finish_timeout", "x_stats_sampling_interval",
           "x_graphql_timeout_seconds", "x_file_stream_transmit_interval",
           "x_file_transfer_retry_wait_min_seconds"]
COUNTS = ["heartbeat_seconds", "x_graphql_retry_max", "max_end_of_run_history_metrics",
          "x_file_stream_max_line_bytes"]
LISTS = ["run_tags", "ignore_globs"]
URLS = ["https://api.wandb.ai/", "http://localhost:8080", "https://wandb.example.org/sub",
        "https://api.wandb.test", "https://forge.coreweave.com/api/wandb", "http://[::1]:80/"]
SPECIAL = {"run_name": "WANDB_NAME", "run_notes": "WANDB_NOTES", "run_tags": "WANDB_TAGS",
           "run_job_type": "WANDB_JOB_TYPE", "email": "WANDB_USER_EMAIL",
           "app_url_override": "WANDB_APP_URL", "x_graphql_timeout_seconds": "WANDB_HTTP_TIMEOUT"}
ARGUMENTS = {"entity": "entity", "run_name": "name", "run_notes": "notes", "run_group": "group",
             "run_job_type": "job_type", "run_tags": "tags"}
CHECKED = [*TEXTS, *FLAGS, *NUMBERS, *COUNTS, *LISTS, "base_url", "project", "resume", "run_id"]


def value(chance, name):
    """(as text, as an argument)"""
    if name in FLAGS:
        yes = chance.random() < .5
        return chance.choice(["1", "true", "T", "yes", "on"] if yes else
                             ["0", "False", "f", "NO", "off"]), yes
    if name in NUMBERS:
        number = chance.choice([.5, 1.0, 30.25, 1000.0])
        return chance.choice([str(number), f"{number:e}"]), number
    if name in COUNTS:
        number = chance.randrange(1, 5000)
        return str(number), number
    if name in LISTS:
        words = [chance.choice(["a", "b c", "é", "*.txt"]) for _ in range(chance.randrange(1, 4))]
        return ",".join(words), words
    if name == "base_url":
        url = chance.choice(URLS)
        return url, url
    if name == "resume":
        word = chance.choice(["allow", "must", "never"])
        return word, word
    text = "".join(chance.choice("ab-é_0. =") for _ in range(chance.randrange(1, 12))).strip() or "x"
    return text, text


def variable(chance, name):
    general = "WANDB_" + name.upper()
    if name in SPECIAL and chance.random() < .7:
        return SPECIAL[name]
    if name.startswith("x_") and chance.random() < .5:
        return "WANDB_" + name[1:].upper()
    return general


def trial(chance, directory):
    """Files, environment and arguments, here and there a value for a setting."""
    environment, arguments, settings = {}, {}, {}
    files = {os.path.join(directory, ".config/wandb/settings"): [],
             os.path.join(directory, chance.choice(["wandb", ".wandb"]), "settings"): []}
    for name in CHECKED:
        for lines in files.values():
            if chance.random() < .1 and name not in LISTS:
                lines.append(f"{name}{chance.choice(['=', ' = ', ': '])}{value(chance, name)[0]}")
        if chance.random() < .15:
            environment[variable(chance, name)] = value(chance, name)[0]
        if chance.random() < .1:
            if name in ARGUMENTS and chance.random() < .5:
                arguments[ARGUMENTS[name]] = value(chance, name)[1]
            else:
                settings[name] = value(chance, name)[1]
    for path, lines in files.items():
        os.makedirs(os.path.dirname(path))
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(["[default]", *lines, "[other]", "entity = no", ""]))
    return environment, {**arguments, "settings": settings}


def stock_settings(arguments):
    """What a run of this process's environment has, merged by the stock client's own code."""
    names = {argument: setting for setting, argument in ARGUMENTS.items()}
    given = dict(arguments["settings"])
    given.update({names[name]: value for name, value in arguments.items() if name in names})
    merged = wandb.setup().settings.model_copy()
    merged.update_from_settings(wandb.Settings(**given))
    return {name: getattr(merged, name) for name in CHECKED}


def world(directory, environment):
    kept = {key: given for key, given in os.environ.items()
            if not key.startswith(("WANDB_", "XDG_", "NETRC"))}
    return {**kept, "HOME": directory, **environment}


def ask_stock(arguments, directory, environment):
    """In a fork, as the client reads its environment once. None: it refuses."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        changed = world(directory, environment)
        os.environ.clear()
        os.environ.update(changed)
        os.chdir(directory)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            os.write(writer, json.dumps(stock_settings(arguments)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else None


def ask_ours(arguments, directory, environment):
    done = subprocess.run([PROGRAM, json.dumps(arguments)], cwd=directory, text=True, timeout=60,
                          env=world(directory, environment), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, encoding="utf-8")
    return json.loads(done.stdout) if done.returncode == 0 else None


def difference(seed):
    """(whether both sides took it, what differs)"""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory:
        environment, arguments = trial(chance, directory)
        stock = ask_stock(arguments, directory, environment)
        ours = ask_ours(arguments, directory, environment)
    if stock is None or ours is None:
        return False, None if stock == ours else f"stock {stock}\nours {ours}"
    wrong = [f"{name}: stock {stock[name]!r}, ours {ours.get(name)!r}" for name in CHECKED
             if (stock[name] or None) != (ours.get(name) or None)]
    return True, "\n".join(wrong) + f"\n{environment} {arguments}" if wrong else None


def main():
    if not os.path.exists(os.path.join(BUILD, "lib", "accel", "libaccel-tracker-wandb.so")):
        print("skipped: the plugin was not built")
        return 77
    base, problems, taken = int(os.environ.get("ACCEL_TEST_SEED", "1")), 0, 0
    for seed in range(base, base + TRIALS):
        both, found = difference(seed)
        taken += both
        problems += found is not None
        if found:
            print(f"ACCEL_TEST_SEED={seed}: {found}")
    if taken < TRIALS // 3:
        print(f"only {taken} of {TRIALS} trials were taken by both")
        problems += 1
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
