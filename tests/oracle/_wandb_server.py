# SPDX-License-Identifier: Apache-2.0
"""A W&B server on 127.0.0.1, in memory: enough for the stock client to sync logs into it."""
import collections
import http.server
import json
import sys
import threading


class Server(http.server.ThreadingHTTPServer):
    """with Server() as server: says yes to everything, and keeps what it was sent."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.calls = collections.defaultdict(list)  # operation: variables
        self.lines = collections.defaultdict(dict)  # file of the stream: offset: line
        self.stream_end = {}
        self.puts = {}

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

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
