# SPDX-License-Identifier: Apache-2.0
# test-timeout: 120
"""The stock `wandb sync` uploads a run written in C to a server of our own on 127.0.0.1; what
arrives there is what the program logged."""
import base64
import collections
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading

import _wandb_log as log

BUILD = os.environ["ACCEL_BUILD_DIR"]


class Server(http.server.ThreadingHTTPServer):
    """Says yes to everything, and keeps what it was sent."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.calls = collections.defaultdict(list)  # operation: variables
        self.lines = collections.defaultdict(dict)  # file of the stream: offset: line
        self.stream_end = {}
        self.puts = {}

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # the client leaves as it likes
            super().handle_error(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def reply(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_PUT(self):
        self.server.puts[self.path.split("/", 2)[2]] = self.body()
        self.reply({})

    def do_POST(self):
        body = self.body()
        if not self.path.endswith(("/graphql", "/file_stream")):  # the client's own telemetry
            self.reply({})
            return
        request = json.loads(body)
        if self.path.endswith("/file_stream"):
            for name, part in (request.get("files") or {}).items():
                for index, line in enumerate(part["content"]):
                    self.server.lines[name][part["offset"] + index] = line
            self.server.stream_end.update(
                {key: request[key] for key in ("complete", "exitcode") if key in request})
            self.reply({})
        else:
            operation = request.get("operationName") or ""
            variables = request.get("variables") or {}
            self.server.calls[operation].append(variables)
            self.reply({"data": self.answer(operation, variables)})

    def put_url(self, name):
        return f"{self.server.url}/put/{name}"

    def answer(self, operation, variables):
        if operation == "UpsertBucket":
            return {"upsertBucket": {"inserted": True, "bucket": {
                "id": "bucket", "name": variables["name"], "displayName": "clever-name-1",
                "description": None, "config": "{}", "sweepName": None, "historyLineCount": 0,
                "project": {"id": "project", "name": variables["project"], "entity": {
                    "id": "entity", "name": variables["entity"]}}}}}
        if operation == "Viewer":
            return {"viewer": {"id": "viewer", "entity": "me", "username": "me", "email": "a@b.c",
                               "flags": "{}", "teams": {"edges": []}}}
        if operation == "CreateRunFiles":
            return {"createRunFiles": {"runID": "bucket", "uploadHeaders": [], "files": [
                {"name": name, "uploadUrl": self.put_url(name)} for name in variables["files"]]}}
        if operation == "CreateArtifact":
            return {"createArtifact": {"artifact": {
                "id": "artifact", "state": "PENDING",
                "artifactSequence": {"latestArtifact": None}}}}
        if operation == "CreateArtifactManifest":
            return {"createArtifactManifest": {"artifactManifest": {"id": "manifest", "file": {
                "id": "file", "uploadUrl": self.put_url("manifest"), "uploadHeaders": []}}}}
        if operation == "CreateArtifactFiles":
            return {"createArtifactFiles": {"files": {"edges": [{"node": {
                "storagePath": file["name"], "uploadUrl": self.put_url("artifact/" + file["name"]),
                "uploadHeaders": [], "uploadMultipartUrls": None, "artifact": {"id": "artifact"}}}
                for file in variables["input"]["artifactFiles"]]}}}
        if operation == "CommitArtifact":
            return {"commitArtifact": {"artifact": {"id": "artifact", "digest": ""}}}
        if operation == "ServerFeaturesQuery":
            return {"serverInfo": {"features": []}}
        return {}


def check(server, directory, output):
    problems = []

    def expect(what, wanted, found):
        if wanted != found:
            problems.append(f"{what}: wanted {wanted!r}, found {found!r}")

    history = [json.loads(line) for _, line in sorted(server.lines["wandb-history.jsonl"].items())]
    expect("history", [(0, 1.12), (1, 1.12), (2, 1.12)],
           [(row["_step"], row["train_loss"]) for row in history])
    summary = json.loads((server.lines["wandb-summary.json"] or {0: "{}"})[0])
    expect("summary", (0.8, 2), (summary.get("valid_loss"), summary.get("_step")))
    expect("end", {"complete": True, "exitcode": 0}, server.stream_end)
    config = {}
    for call in server.calls["UpsertBucket"]:
        config.update(json.loads(call.get("config") or "{}"))
    expect("config", {"value": 0.1}, config.get("dropout"))
    expect("telemetry: lib_c", True, 56 in config["_wandb"]["value"]["t"]["3"])
    artifact = (server.calls["CreateArtifact"] or [{"input": {}}])[0]["input"]
    expect("artifact", ("some_artifact", "dataset"),
           (artifact.get("artifactCollectionName"), artifact.get("artifactTypeName")))
    expect("artifact's files", {"artifact/d/g.txt": b"hello", "artifact/f.txt": b"hello"},
           {name: data for name, data in server.puts.items() if name.startswith("artifact/")})
    manifest = json.loads(server.puts.get("manifest", "{}"))
    expect("manifest", "XUFAKrxLKna5cZ2REBfFkg==",
           manifest.get("contents", {}).get("f.txt", {}).get("digest"))
    expect("marked as synced", True, os.path.exists(log.find_log(directory) + ".synced"))
    return problems + ([output] if problems else [])


def main():
    if not os.path.exists(os.path.join(BUILD, "lib", "accel", "libaccel-tracker-wandb.so")):
        print("skipped: the plugin was not built")
        return 77
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as base:
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith(("WANDB_", "XDG_"))}
        environment |= {"HOME": base, "TMPDIR": base, "WANDB_BASE_URL": server.url,
                        "WANDB_API_KEY": "a" * 40, "WANDB_ERROR_REPORTING": "false",
                        "WANDB__GRAPHQL_RETRY_MAX": "1"}
        file = os.path.join(base, "file.txt")
        with open(file, "w", encoding="utf-8") as stream:
            stream.write("hello")
        subprocess.run([os.path.join(BUILD, "bin", "program-wandb_run"), "seed", base, file],
                       cwd=base, env=environment, check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, timeout=60)
        wandb = os.path.join(os.path.dirname(sys.executable), "wandb")
        done = subprocess.run([wandb, "sync", "-v", os.path.dirname(log.find_log(base))], cwd=base,
                              env=environment, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=100)
        problems = check(server, base, done.stdout)
        if done.returncode:
            problems.append(f"wandb sync: exit {done.returncode}\n{done.stdout}")
    server.shutdown()
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
