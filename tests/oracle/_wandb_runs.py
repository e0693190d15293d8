# SPDX-License-Identifier: Apache-2.0
"""The runs of a W&B server: what UpsertBucket and the file stream make of them, strictly."""
import collections
import json
import uuid

from _wandb_graphql import Refused

HISTORY, EVENTS = "wandb-history.jsonl", "wandb-events.jsonl"
SUMMARY, CONSOLE = "wandb-summary.json", "output.log"
LONGEST_LINE = 10 << 20

UPSERT = {name: "String" for name in (
    "id", "name", "groupName", "modelName", "entityName", "description", "displayName", "notes",
    "commit", "host", "jobProgram", "jobRepo", "jobType", "state", "sweep")}
UPSERT |= {"config": "JSONString", "summaryMetrics": "JSONString", "debug": "Boolean",
           "tags": "[String!]"}


class Run:
    """What the server knows of a run."""

    def __init__(self, entity, project, name):
        self.entity, self.project, self.name = entity, project, name
        self.id = uuid.uuid4().hex
        self.fields = {}  # displayName, notes, tags, groupName, jobType, ...
        self.config = {}
        self.lines = collections.defaultdict(dict)  # file of the stream: line number: text
        self.files = {}  # path: content
        self.uploaded = []  # as the stream reported them
        self.complete, self.exit_code = False, None
        self.stopped = False
        self.preempting = False
        self.posts = 0
        self.summary_line = None
        self.used, self.logged = [], []  # artifact versions
        self.alerts = []

    def state(self):
        if not self.complete:
            return "running"
        return "failed" if self.exit_code else "finished"

    def rows(self, name):
        return [json.loads(line) for _, line in sorted(self.lines[name].items())]

    def summary(self):
        lines = self.lines[SUMMARY]
        return json.loads(lines[max(lines)]) if lines else {}

    def count(self, name):
        return max(self.lines[name], default=-1) + 1

    def tail(self, name):
        lines = self.lines[name]
        return json.dumps([lines[max(lines)]] if lines else [])

    def project_node(self):
        return {"id": f"project-{self.project}", "name": self.project, "internalId": "1",
                "entity": {"id": f"entity-{self.entity}", "name": self.entity}}

    def node(self):
        return {
            "id": self.id, "name": self.name, "displayName": self.fields["displayName"],
            "description": self.fields.get("description"), "notes": self.fields.get("notes"),
            "config": json.dumps(self.config), "sweepName": self.fields.get("sweep"),
            "group": self.fields.get("groupName"), "jobType": self.fields.get("jobType"),
            "tags": self.fields.get("tags") or [], "project": self.project_node(),
            "summaryMetrics": json.dumps(self.summary()), "state": self.state(),
            "historyLineCount": self.count(HISTORY), "eventsLineCount": self.count(EVENTS),
            "logLineCount": self.count(CONSOLE), "historyTail": self.tail(HISTORY),
            "eventsTail": self.tail(EVENTS), "stopped": self.stopped,
            "wandbConfig": self.wandb_config,
        }

    def wandb_config(self, keys=None):
        value = self.config.get("_wandb", {}).get("value", {})
        return json.dumps({key: value[key] for key in keys or value if key in value})


class Runs:
    """All runs; `problem` takes a line for each thing a client should not have done."""

    def __init__(self, storage, problem):
        self.storage, self.problem = storage, problem
        self.default_entity = "fixture-user"
        self.all = {}

    def find(self, entity, project, name):
        return self.all.get((entity or self.default_entity, project or "uncategorized", name))

    def need(self, entity, project, name):
        run = self.find(entity, project, name)
        if not run:
            raise Refused(f"run {entity}/{project}/{name} not found")
        return run

    def mutations(self):
        return {"upsertBucket": self.upsert, "createRunFiles": self.create_files,
                "markRunFilesUploaded": self.mark_uploaded, "rewindRun": self.rewind,
                "notifyScriptableRunAlert": self.alert, "stopRun": self.stop}

    def queries(self):
        return {"model": self.model}

    def project_fields(self, entity, project):
        return {"run": lambda name: (self.find(entity, project, name) or Missing).node(),
                "bucket": lambda name, missingOk=False: self.bucket(entity, project, name,
                                                                    missingOk)}

    def model(self, name=None, entityName=None):
        entity, project = entityName or self.default_entity, name or "uncategorized"
        return {"id": f"project-{project}", "name": project,
                "entity": {"id": f"entity-{entity}", "name": entity},
                **self.project_fields(entity, project)}

    def bucket(self, entity, project, name, missing_ok):
        run = self.find(entity, project, name)
        if not run and not missing_ok:
            raise Refused(f"run {name} not found")
        return run and run.node()

    def upsert(self, input):
        from _wandb_graphql import check_members
        check_members("input", UPSERT, input, {})
        key = (input.get("entityName") or self.default_entity,
               input.get("modelName") or "uncategorized", input.get("name") or uuid.uuid4().hex[:8])
        run, inserted = self.all.get(key), False
        if not run:
            run, inserted = Run(*key), True
            run.fields["displayName"] = f"fixture-run-{len(self.all) + 1}"
            self.all[key] = run
        if input.get("id") not in (None, run.id):
            raise Refused(f"bucket {input['id']} is not run {key}")
        if input.get("config") is not None:
            self.take_config(run, json.loads(input["config"]))
        for name in UPSERT.keys() - {"id", "name", "modelName", "entityName", "config"}:
            if input.get(name) is not None:
                run.fields[name] = input[name]
        run.complete, run.stopped = False, False
        return {"inserted": inserted, "bucket": run.node()}

    def take_config(self, run, config):
        if not isinstance(config, dict):
            raise Refused("config is no object")
        for key, value in config.items():
            if not isinstance(value, dict) or "value" not in value:
                self.problem(f"config[{key!r}] is not {{\"value\": ...}}: {value!r:.80}")
        if not config.get("_wandb", {}).get("value", {}).get("t"):
            self.problem("config has no _wandb.value.t: nobody can resume this run")
        run.config = config

    def create_files(self, input):
        run = self.need(input["entityName"], input["projectName"], input["runName"])
        files = []
        for path in input["files"]:
            if path.startswith("/") or ".." in path.split("/") or not path:
                raise Refused(f"file name {path!r}")
            token = self.storage.expect(f"{run.name}/{path}",
                                        lambda body, path=path: run.files.update({path: body}))
            files.append({"name": path, "uploadUrl": self.storage.url(token)})
        return {"runID": run.id, "files": files,
                "uploadHeaders": [f"{key}: {value}" for key, value in self.storage.HEADERS.items()]}

    def mark_uploaded(self, input):
        run = self.need(input["entityName"], input["projectName"], input["runName"])
        self.take_uploaded(run, input["files"])
        return {"success": True}

    def rewind(self, input):
        run = self.need(input["entityName"], input["projectName"], input["runName"])
        rows = run.lines[HISTORY]
        run.lines[HISTORY] = {number: line for number, line in rows.items()
                              if json.loads(line)["_step"] <= input["metricValue"]}
        return {"rewoundRun": run.node()}

    def alert(self, input):
        run = self.need(input["entityName"], input["projectName"], input["runName"])
        run.alerts.append({key: input.get(key) for key in ("title", "text", "severity",
                                                           "waitDuration")})
        return {"success": True}

    def stop(self, input):
        for run in self.all.values():
            if run.id == input["id"]:
                run.stopped = True
        return {"success": True}

    # the file stream

    def stream(self, run, body):
        """A post to the file stream: an error's text, or None."""
        unknown = body.keys() - {"files", "uploaded", "preempting", "complete", "exitcode",
                                 "dropped"}
        if unknown:
            return f"unknown members {sorted(unknown)}"
        if run.complete and not body.get("complete"):  # a repeat is right: its answer was lost
            self.problem(f"{run.name}: a post after `complete`: {json.dumps(body)[:200]}")
        run.posts += 1
        for name, part in (body.get("files") or {}).items():
            error = self.take_lines(run, name, part)
            if error:
                return error
        self.take_uploaded(run, body.get("uploaded") or [])
        run.preempting |= bool(body.get("preempting"))
        if body.get("complete"):
            if not isinstance(body.get("exitcode"), int):
                return "complete without exitcode"
            run.complete, run.exit_code = True, body["exitcode"]
        return None

    def take_lines(self, run, name, part):
        if not isinstance(part, dict) or part.keys() != {"offset", "content"}:
            return f"{name}: {part!r:.80}"
        offset, content = part["offset"], part["content"]
        if not isinstance(offset, int) or offset < 0 or isinstance(offset, bool):
            return f"{name}: offset {offset!r}"
        if not isinstance(content, list) or not all(isinstance(line, str) for line in content):
            return f"{name}: content is no list of strings"
        if name == SUMMARY:
            self.check_summary(run, offset, content)
        elif offset > run.count(name) and name != CONSOLE:
            self.problem(f"{run.name}: {name}: lines {run.count(name)} to {offset} are missing")
        for number, line in enumerate(content, offset):
            self.take_line(run, name, number, line)
        return None

    def check_summary(self, run, offset, content):
        if len(content) != 1:
            self.problem(f"{run.name}: the summary has {len(content)} lines, not one")
        if run.summary_line not in (None, offset):
            self.problem(f"{run.name}: the summary moved from line {run.summary_line} to {offset}")
        run.summary_line = offset

    def take_line(self, run, name, number, line):
        lines = run.lines[name]
        if len(line) > LONGEST_LINE:
            self.problem(f"{run.name}: {name}: line {number} has {len(line)} characters")
        if name in (HISTORY, EVENTS):
            if lines.get(number, line) != line:
                self.problem(f"{run.name}: {name}: line {number} was {lines[number]!r:.80}, "
                             f"becomes {line!r:.80}")
            self.check_row(run, name, number, line)
        elif name == SUMMARY:
            self.check_json(run, name, number, line)
        lines[number] = line

    def check_json(self, run, name, number, line):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            self.problem(f"{run.name}: {name}: line {number} is no JSON object: {line!r:.80}")
            return {}
        return value

    def check_row(self, run, name, number, line):
        row = self.check_json(run, name, number, line)
        before = run.lines[name].get(number - 1)
        if name == EVENTS:
            if row.get("_wandb") is not True or not {"_timestamp", "_runtime"} <= row.keys():
                self.problem(f"{run.name}: event {line!r:.80}")
        elif not {"_step", "_timestamp", "_runtime"} <= row.keys():
            self.problem(f"{run.name}: row without _step, _timestamp or _runtime: {line!r:.80}")
        elif before is not None and json.loads(before)["_step"] >= row["_step"]:
            self.problem(f"{run.name}: row {number}: _step {row['_step']} does not rise")

    def take_uploaded(self, run, paths):
        for path in paths:
            if path not in run.files:
                self.problem(f"{run.name}: {path!r} was reported as uploaded and was not")
            run.uploaded.append(path)


class Missing:
    @staticmethod
    def node():
        return None
