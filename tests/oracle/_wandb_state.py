# SPDX-License-Identifier: Apache-2.0
"""What a server knows after a client has finished, with times, ids and the client's own marks
masked: equal for two clients that did the same.

    differences(compared(server_of_stock), compared(server_of_ours))
"""
import hashlib
import io
import json
import re

import yaml
from PIL import Image

VOLATILE = {"_runtime", "_timestamp", "_wandb"}  # of a row and of the summary
# files whose content is the machine's
BY_NAME = {"wandb-metadata.json"}
# of stock's files those that a program without Python does not have
STOCK_ONLY = {"requirements.txt"}
FIELDS = ("state", "exitcode", "complete", "displayName", "notes", "groupName", "jobType", "sweep",
          "preempting", "alerts", "used", "logged")

CLIENT_ID = re.compile(r"[a-z0-9]{128}")
STAMP = re.compile(r"^(ERROR )?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+ ")


def masked(value):
    """Without what differs between two runs of one program."""
    if isinstance(value, dict):
        image = str(value.get("_type", "")).startswith("image")  # two PNG encoders
        return {key: masked(item) for key, item in value.items()
                if not (image and key in ("sha256", "size"))}
    if isinstance(value, list):
        return [masked(item) for item in value]
    if isinstance(value, str):
        return CLIENT_ID.sub("CLIENT_ID", value)
    if value != value:
        return "NaN"  # equal to itself
    return value


def pixel_names(run):
    """Two encoders make two files of one image: what its name's hash becomes, by the pixels."""
    found = {}
    for path, body in run.files.items():
        if path.endswith(".png"):
            with Image.open(io.BytesIO(body)) as image:
                seen = f"{image.mode} {image.size}".encode() + image.tobytes()
            found[path[-24:-4]] = hashlib.md5(seen).hexdigest()[:20]
    return found


def renamed(text, names):
    for old, new in names.items():
        text = text.replace(old, new)
    return text


def row(values):
    return masked({key: value for key, value in values.items() if key not in VOLATILE})


def metrics(config):
    """config._wandb.value.m: its order is chance, and its references are positions."""
    listed = config.get("_wandb", {}).get("value", {}).get("m", [])

    def name(index):
        return listed[index - 1].get("1") or listed[index - 1].get("2")

    return sorted((json.dumps({**entry, **({"5": name(entry["5"])} if "5" in entry else {})},
                              sort_keys=True) for entry in listed))


def yaml_of(text):
    """config.yaml without the part of the client. Stock writes 1e+30, which to YAML 1.1, and so to
    this reader, is no number; ours writes 1.0e+30."""
    values = yaml.safe_load(re.sub(r"(?<= )(-?\d+)e([+-]\d+)$", r"\1.0e\2", text, flags=re.M))
    return {key: value for key, value in masked(values).items() if key != "_wandb"}


def files(run, names):
    found = {}
    for path, body in run.files.items():
        name = renamed(path, names)
        if path == "config.yaml":
            found[name] = yaml_of(body.decode())
        elif path == "wandb-summary.json":
            found[name] = row(json.loads(renamed(body.decode(), names)))
        elif path in BY_NAME or path.endswith(".png"):
            found[name] = "present"
        elif path not in STOCK_ONLY:
            found[name] = body if len(body) < 2000 else hashlib.md5(body).hexdigest()
    return found


def run_compared(run, state):
    names = pixel_names(run)
    state = json.loads(renamed(json.dumps(state), names))
    return {
        **{key: state.get(key) for key in FIELDS},
        "tags": state.get("tags") or [],
        "config": {key: value for key, value in masked(state["config"]).items()
                   if key != "_wandb"},
        "metrics": metrics(state["config"]),
        "history": [row(values) for values in state["history"]],
        "summary": row(state["summary"]),
        "console": [STAMP.sub(r"\1", line).rstrip("\n") for line in state["console"]],
        "files": files(run, names),
        "uploaded": sorted(path for path in state["uploaded"] if path not in STOCK_ONLY),
    }


def entry(values):
    return {key: values[key] for key in ("digest", "ref", "size", "extra") if key in values}


def artifacts_compared(state):
    found = {}
    for name, collection in state["artifacts"].items():
        found[name] = {**collection, "versions": [
            {**version, "contents": {path: entry(values) for path, values
                                     in version["contents"].items()}}
            for version in collection["versions"]]}
    return found


def compared(server, ids=True):
    """The masked state, by the runs' paths, without `ids` their numbers."""
    state = server.state()
    with server.lock:
        return {"runs": {f"{run.entity}/{run.project}/{run.name if ids else index}":
                         run_compared(run, state["runs"][index])
                         for index, run in enumerate(server.runs.all.values())},
                "artifacts": artifacts_compared(state), "problems": state["problems"]}


def differences(a, b, path="", names=("stock", "ours")):
    """Lines that say where two masked states differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        return [line for key in sorted(a.keys() | b.keys())
                for line in differences(a.get(key, "-"), b.get(key, "-"), f"{path}/{key}", names)]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [line for index, (x, y) in enumerate(zip(a, b))
                for line in differences(x, y, f"{path}[{index}]", names)]
    if a == b and isinstance(a, bool) == isinstance(b, bool):
        return []
    return [f"{path}: {names[0]} {str(a)[:300]!r}, {names[1]} {str(b)[:300]!r}"]
