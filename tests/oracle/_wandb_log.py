# SPDX-License-Identifier: Apache-2.0
"""Read .wandb logs with the stock package's messages, and compare two of them field by field.

    differences = compare(read(stock_log), read(our_log))

What may differ is said in EXPLAINED, by name, with a reason; docs/wandb.md has the same list.
Everything else must be there on both sides, in the same order, with the same text, save that
VARIES are values which differ between two runs of one program too (times, random names).
"""
import glob
import json
import os
import re
import struct
import subprocess
import sys
import zlib

from google.protobuf.json_format import MessageToDict
from wandb.proto import wandb_internal_pb2

BLOCK = 32768
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4

# name: (record kinds, or None for all; path within the record, a regular expression; "" is the
# whole record; who has it; why)
EXPLAINED = {
    "files": ("files", "", "stock", "requirements.txt: a C program has no Python packages"),
    "control": (None, r"control\..*", "stock", "a mailbox between stock's two processes"),
    "header.producer": ("header", r"header\.version_info\.producer", "both",
                        "each client names itself"),
    "telemetry.cli_version": (None, r"(run\.)?telemetry\.cli_version", "both",
                              "each client names itself"),
    "telemetry.python": (None, r"(run\.)?telemetry\.(python_version|imports_init|imports_finish|"
                         r"deprecated)(\..*)?", "stock", "there is no Python"),
    "telemetry.lib_c": (None, r"(run\.)?telemetry\.feature\.lib_c", "ours",
                        "says that a C library wrote the run"),
    "environment.python": ("environment", r"environment\.(python|code_path|code_path_local)",
                           "stock", "there is no script"),
    "environment.program": ("environment", r"environment\.(program|executable|args.*)", "both",
                            "another program"),
    "git.user": (None, r".*git\.remote_url", "both",
                 "stock leaves the user's name in the remote's URL; here it goes too"),
}

# Records that threads of their own write, on both sides: their place is chance, and how the
# console's text is cut. In a short run stock may leave them out.
ASIDE = {"stats", "output_raw"}

VARIES = [
    r".*\b(start_time|started_at)",
    r"environment\.writer_id",
    r"environment\.disk.*used",
    r"artifact\.(client_id|sequence_client_id)",
    r"artifact\.manifest\.contents\.\d+\.local_path",
    r"(summary\.update|history\.item)\[(_timestamp|_runtime|_wandb/runtime)\]",
    r"exit\.runtime",
]


class Broken(Exception):
    pass


def payloads(path):
    """The records' bytes. Any departure from the format is an error, except an unfinished end."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:7] != b":W&B\xe1\xbe\x00":
        raise Broken(f"{path}: header {data[:7]!r}")
    at, parts = 7, None
    while at < len(data):
        left = BLOCK - at % BLOCK
        if left < 7:
            if any(data[at:at + left]):
                raise Broken(f"{path}: padding at {at}")
            at += left
            continue
        if at + 7 > len(data):
            return
        crc, size, kind = struct.unpack_from("<IHB", data, at)
        body = data[at + 7:at + 7 + size]
        if len(body) < size:
            return
        if size > left - 7 or zlib.crc32(bytes([kind]) + body) != crc:
            raise Broken(f"{path}: chunk at {at}")
        if (kind in (FULL, FIRST)) != (parts is None) or not FULL <= kind <= LAST:
            raise Broken(f"{path}: chunk of kind {kind} at {at}")
        parts = (parts or b"") + body
        at += 7 + size
        if kind in (FULL, LAST):
            yield parts
            parts = None


def records(path):
    for number, payload in enumerate(payloads(path), 1):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(payload)
        if record.num != number:
            raise Broken(f"{path}: record {number} has the number {record.num}")
        yield record


def find_log(directory):
    """The log of the one run below a directory."""
    found = glob.glob(os.path.join(directory, "**", "run-*.wandb"), recursive=True)
    found = [path for path in found if "latest-run" not in path]
    if len(found) != 1:
        raise Broken(f"{directory}: {len(found)} logs")
    return found[0]


def flatten(value, path, out):
    if isinstance(value, dict) and "value_json" in value:  # an item
        key = value.get("key") or "/".join(value["nested_key"])
        out[re.sub(r"\.\d+$", f"[{key}]", path)] = value["value_json"]
        out[re.sub(r"\.\d+$", f"[{key}]", path) + " form"] = "key" if "key" in value else "nested"
    elif isinstance(value, dict):
        if not value and "." in path:
            out[path] = {}
        for key, inner in value.items():
            flatten(inner, f"{path}.{key}" if path else key, out)
    elif isinstance(value, list):
        if path.endswith(".aliases"):  # stock's order is chance
            value = sorted(value)
        for index, inner in enumerate(value):
            flatten(inner, f"{path}.{index}", out)
    else:
        out[path] = value
    return out


def read(path):
    """A log as a list of (kind, {path: value}); the run's own id is RUN_ID throughout."""
    result, run_id = [], None
    for record in records(path):
        kind = record.WhichOneof("record_type")
        size = record.ByteSize()
        record.DiscardUnknownFields()
        if kind is None or record.ByteSize() != size:
            raise Broken(f"{path}: record {record.num} holds what the stock messages do not know")
        fields = flatten(MessageToDict(record, preserving_proto_field_name=True), "", {})
        fields.pop("num", None)
        run_id = fields.get("run.run_id", run_id)
        result.append((kind, fields))
    for _, fields in result:
        for name in ("run.run_id", "artifact.run_id", "_info.stream_id"):
            if fields.get(name) == run_id:
                fields[name] = "RUN_ID"
    return result


def explained(kind, path):
    for name, (kinds, pattern, side, _) in EXPLAINED.items():
        if kinds in (None, kind) and (pattern == "" or re.fullmatch(pattern, path)):
            return name, side
    return None, None


def varies(path):
    return any(re.fullmatch(pattern, path) for pattern in VARIES)


def same(a, b):
    """Equal, up to the order of keys of objects within a value, which in stock's rows is chance.
    Numbers must be spelt alike."""
    if a == b or not isinstance(a, str) or not isinstance(b, str) or "{" not in a:
        return a == b
    try:
        return len({json.dumps(json.loads(text, parse_float=str, parse_int=str, parse_constant=str),
                               sort_keys=True) for text in (a, b)}) == 1
    except json.JSONDecodeError:
        return False


def compare_record(number, kind, stock, ours, used, differences):
    for path in sorted(set(stock) | set(ours)):
        a, b = stock.get(path), ours.get(path)
        if same(a, b) or varies(path) and (path == "exit.runtime" or None not in (a, b)):
            continue
        name, side = explained(kind, path)
        if name and (side == "both" or (side == "stock") == (b is None)):
            used.add(name)
            continue
        differences.append(f"record {number} ({kind}) {path}: stock {a!r}, ours {b!r}")


def console(log):
    """What the console's records hold of each stream: {"STDOUT": text, "STDERR": text}."""
    texts = {}
    for kind, fields in log:
        if kind == "output_raw":
            stream = fields.get("output_raw.output_type", "STDERR")
            texts[stream] = texts.get(stream, "") + fields.get("output_raw.line", "")
    return texts


def metrics(log):
    """The samples of the system: a list of {key: number}."""
    prefix = "stats.item["
    return [{path[len(prefix):-1]: float(value) for path, value in fields.items()
             if path.startswith(prefix) and path.endswith("]")}
            for kind, fields in log if kind == "stats"]


def compare_aside(stock, ours, differences):
    texts = [console(log) for log in (stock, ours)]
    for stream, text in texts[0].items():  # a stream that stock was too late for says nothing
        if text != texts[1].get(stream):
            differences.append(f"console: stock {texts[0]}, ours {texts[1]}")
    # the share of the processors is not known before the second sample
    keys = [{key for sample in metrics(log) for key in sample} - {"cpu"} for log in (stock, ours)]
    if keys[0] and keys[0] != keys[1]:
        differences.append(f"system metrics: stock {sorted(keys[0])}, ours {sorted(keys[1])}")


def compare(stock, ours):
    """Differences that nobody explained, as lines; and the names of the explained ones met."""
    differences, used = [], set()
    compare_aside(stock, ours, differences)
    kept = []
    for side, log in (("stock", stock), ("ours", ours)):
        kept.append([])
        for kind, fields in log:
            name, owner = explained(kind, "")
            if name and EXPLAINED[name][1] == "" and owner == side:
                used.add(name)
            elif kind not in ASIDE:
                kept[-1].append((kind, fields))
        # stock finds out about the machine beside its other work: this record's place is chance
        kept[-1].sort(key=lambda item: {"header": 0, "run": 1, "environment": 2}.get(item[0], 3))
    kinds = [[kind for kind, _ in log] for log in kept]
    if kinds[0] != kinds[1]:
        differences.append(f"order of records:\n  stock {kinds[0]}\n  ours  {kinds[1]}")
        return differences, used
    for number, ((kind, a), (_, b)) in enumerate(zip(*kept), 1):
        compare_record(number, kind, a, b, used, differences)
    return differences, used


def documented_differences(source_dir):
    """The names in the table of docs/wandb.md."""
    with open(os.path.join(source_dir, "docs", "wandb.md"), encoding="utf-8") as file:
        text = file.read().split("## Differences from the stock client", 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| `([a-z_.]+)` \|", text, re.M))


def inspect(path, *options):
    """Stock's own reader: what `wandb leet inspect` prints. An error is an exception."""
    wandb = os.path.join(os.path.dirname(sys.executable), "wandb")
    path = os.path.abspath(path)  # it leaves a log of its own where it runs: beside the run
    return subprocess.run([wandb, "leet", "inspect", *options, path], check=True, text=True,
                          cwd=os.path.dirname(path), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60).stdout
