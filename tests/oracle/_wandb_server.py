# SPDX-License-Identifier: Apache-2.0
"""A W&B server on 127.0.0.1, in memory, strict, and with faults to order (_wandb_faults.py).

    with Server() as server:
        ...                     # clients with WANDB_BASE_URL=server.url
        server.state()          # what it knows, as JSON
        server.problems         # what clients did that they should not have done: lines

Files go to another address, as with the real server, and must arrive there without the API key.
By itself (`_wandb_server.py [PORT]`) it prints its address, and at the end of its standard input
the state; GET /state gives the state, POST /control orders:

    {"faults": [{"endpoint": "graphql", "status": 500}], "clear": true, "features": ["..."],
     "stop": "RUN ID", "expire": true, "refuse": SECONDS, "rate_limit": {"remaining": 1, "reset": 2}}
"""
import base64
import collections
import hashlib
import http.server
import json
import re
import secrets
import socket
import ssl
import sys
import threading
import time
import urllib.parse

import _wandb_graphql as graphql
from _wandb_artifacts import INPUTS, Artifacts
from _wandb_faults import Faults, reset
from _wandb_runs import Runs

INPUTS = {**INPUTS, "AlertSeverity": {"INFO", "WARN", "ERROR"}}
# `subject` is the same when a client asks the same again.
Request = collections.namedtuple("Request", "endpoint operation status time subject")
IDLE = 600  # seconds that a silent answer may take, if nobody stops the server


class Storage:
    """Where files go: any token is good for one path, until it expires."""
    HEADERS = {"X-Fixture-Upload": "yes"}  # must come back with the upload

    def __init__(self, problem):
        self.problem = problem
        self.address = None
        self.uploads, self.offers = {}, {}
        self.objects = {}  # md5 in base64: artifact files
        self.puts = {}  # path: content
        self.last_name = None

    def expect(self, path, done):
        token = secrets.token_hex(8)
        self.uploads[token] = (path, done)
        return token

    def url(self, token):
        return f"http://{self.address}/put/{token}/{urllib.parse.quote(self.uploads[token][0])}"

    def offer(self, body):
        """A link to download."""
        name = hashlib.md5(body).hexdigest()
        self.offers[name] = body
        return f"http://{self.address}/get/{name}"

    def expire(self):
        self.uploads.clear()

    def put(self, token, headers, body):
        """An upload: (status, text)."""
        if "Authorization" in headers:
            self.problem("the API key was sent to the storage")
            return 400, "InvalidArgument: Only one auth mechanism allowed"
        if token not in self.uploads:
            return 403, "AccessDenied: Request has expired"
        for key, value in self.HEADERS.items():
            if headers.get(key) != value:
                self.problem(f"an upload without the header {key} it was told to have")
                return 403, "SignatureDoesNotMatch"
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        if headers.get("Content-MD5", md5) != md5:
            self.problem(f"{self.uploads[token][0]}: Content-MD5 is wrong")
            return 400, "BadDigest"
        path, done = self.uploads[token]
        self.puts[path] = body
        done(body)
        return 200, ""


class Listener(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host, port, owner, tls=None):
        super().__init__((host, port), Handler)
        self.owner, self.connections, self.tls = owner, set(), tls

    def address(self):
        return "{}:{}".format(*self.server_address)

    def url(self):
        return f"{'https' if self.tls else 'http'}://{self.address()}"

    def finish_request(self, request, client_address):
        if self.tls:  # here, in the connection's own thread, as the peer may say nothing
            request.settimeout(30)
            request = self.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def start(self):
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (OSError, ValueError)):  # clients leave as they like
            self.owner.problem(f"the server itself: {sys.exc_info()[1]!r}")
            super().handle_error(request, client_address)

    def cut_all(self):
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def refuse(self):
        """Connections are refused from here on; the port stays ours."""
        self.shutdown()
        address = self.server_address
        self.cut_all()
        self.socket.close()
        self.socket = socket.socket(self.address_family, self.socket_type)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(address)

    def accept(self):
        self.server_activate()
        self.start()


class Server:
    def __init__(self, port=0, key=None, tls=None):
        """`key`: the only one that is accepted. `tls`: (certificate, key), files, for https."""
        self.lock = threading.RLock()
        self.key = key
        self.problems = []
        self.calls = collections.defaultdict(list)  # operation: variables
        self.requests = []  # Request, in their order
        self.features, self.rate_limit = set(), None
        self.faults = Faults()
        self.over = threading.Event()
        self.storage = Storage(self.problem)
        self.runs = Runs(self.storage, self.problem)
        self.artifacts = Artifacts(self.storage, self.runs, self.problem)
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
        self.api = Listener("127.0.0.1", port, self, context)
        self.files = Listener("127.0.0.2", 0, self)
        self.storage.address = self.files.address()
        self.url = self.api.url()

    def __enter__(self):
        self.api.start()
        self.files.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for listener in (self.api, self.files):
            listener.shutdown()
            listener.cut_all()
            listener.server_close()

    def problem(self, text):
        self.problems.append(text)

    def inject(self, endpoint, **fault):
        return self.faults.add(endpoint, **fault)

    def refuse(self):
        self.api.refuse()
        self.files.refuse()

    def accept(self):
        self.api.accept()
        self.files.accept()

    def run(self):
        """The only run there is."""
        (run,) = self.runs.all.values()
        return run

    def state(self):
        with self.lock:
            return {"runs": [self.run_state(run) for run in self.runs.all.values()],
                    "artifacts": self.artifacts.state(), "problems": list(self.problems)}

    @staticmethod
    def run_state(run):
        return {
            "path": f"{run.entity}/{run.project}/{run.name}", "state": run.state(),
            "exitcode": run.exit_code, "complete": run.complete, **run.fields,
            "config": run.config, "summary": run.summary(),
            "history": run.rows("wandb-history.jsonl"), "events": run.rows("wandb-events.jsonl"),
            "console": [line for _, line in sorted(run.lines["output.log"].items())],
            "files": {path: hashlib.md5(body).hexdigest() for path, body in run.files.items()},
            "uploaded": sorted(set(run.uploaded)), "preempting": run.preempting,
            "alerts": run.alerts, "posts": run.posts,
            "used": [f"{version.collection.name}:v{version.version}" for version in run.used],
            "logged": [f"{version.collection.name}:v{version.version}" for version in run.logged]}

    def control(self, order):
        if order.get("clear"):
            self.faults.clear()
        for fault in order.get("faults", []):
            self.inject(**fault)
        if "features" in order:
            self.features = set(order["features"])
        if order.get("expire"):
            self.storage.expire()
        if "rate_limit" in order:
            self.rate_limit = order["rate_limit"]
        for run in self.runs.all.values():
            run.stopped |= run.name == order.get("stop")
        if order.get("refuse"):
            threading.Thread(target=self.refuse_for, args=(order["refuse"],), daemon=True).start()

    def refuse_for(self, seconds):
        time.sleep(0.1)  # the order itself is still being answered
        self.refuse()
        time.sleep(seconds)
        self.accept()

    # the API

    def graphql(self, request):
        """(operation's name, its answer) of a request."""
        operation = graphql.parse(request.get("query") or "")
        name = request.get("operationName") or operation.name
        if name != operation.name:
            raise graphql.Refused(f"Unknown operation named {name!r}.")
        variables = request.get("variables") or {}
        self.calls[name].append(variables)
        root = {"mutation": {**self.runs.mutations(), **self.artifacts.mutations()},
                "query": {**self.runs.queries(), **self.artifacts.queries(), "viewer": self.viewer,
                          "serverInfo": self.server_info, "project": self.project,
                          "entity": self.entity}}
        return graphql.execute(operation, variables, root, INPUTS)

    def viewer(self):
        return {"id": "viewer", "entity": self.runs.default_entity, "username": "fixture",
                "email": "fixture@example.org", "flags": "{}", "admin": False, "name": "Fixture",
                "teams": {"edges": []}, "apiKeys": {"edges": []}, "deletedAt": None}

    def server_info(self):
        return {"features": [{"name": name, "isEnabled": True} for name in sorted(self.features)],
                "cliVersionInfo": "{}", "latestLocalVersionInfo": None}

    def project(self, name=None, entityName=None):
        entity = entityName or self.runs.default_entity
        return {**self.runs.model(name, entity), "internalId": "1", "readOnly": False,
                **self.artifacts.project_fields(entity, name)}

    def entity(self, name):
        return {"id": name, "name": name, "xxhashDigestsEnabled": False, "organization": None,
                "user": None}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    @property
    def owner(self):
        return self.server.owner

    def send(self, status, headers, body, fault=None):
        head = f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n"
        lines = {"Content-Type": "application/json", **headers, "Content-Length": str(len(body))}
        data = (head + "".join(f"{key}: {value}\r\n" for key, value in lines.items())
                + "\r\n").encode() + body
        if fault and fault.cut == "answer":
            self.connection.sendall(data[:len(data) - len(body) // 2 - 1])
            self.drop()
        elif fault and fault.drip:
            self.dribble(data, fault.drip)
        else:
            self.connection.sendall(data)

    def dribble(self, data, rate):
        for index in range(len(data)):
            self.connection.sendall(data[index:index + 1])
            if self.owner.over.wait(1 / rate):
                return

    def drop(self):
        self.close_connection = True
        reset(self.connection)

    def body(self, endpoint):
        """The request's body; None if the connection was cut before."""
        length = self.headers.get("Content-Length")
        if length is None:
            self.owner.problem(f"{self.command} {self.path}: no Content-Length")
            self.close_connection = True
            self.send(411, {}, b"{}")
            return None
        if self.owner.faults.take(endpoint, early=True):
            self.rfile.read(int(length) // 2)
            self.drop()
            return None
        return self.rfile.read(int(length))

    def serve(self, endpoint, operation, subject, handle):
        """Obeys and answers, or does what was ordered instead."""
        owner = self.owner
        fault = owner.faults.take(endpoint, operation)
        status, headers, body = 200, {}, b"{}"
        if not fault or fault.applies:
            with owner.lock:
                status, headers, body = handle()
        if fault:
            owner.over.wait(fault.delay)
            status, headers, body = fault.answer(status, headers, body)
        owner.requests.append(Request(endpoint, operation, status, time.monotonic(), subject))
        if fault and fault.silent:
            owner.over.wait(IDLE)
            self.drop()
        elif fault and fault.cut in ("before", "after"):
            self.drop()
        else:
            self.send(status, headers, body, fault)

    def check_client(self):
        """Who calls is known: None, or the answer that says no."""
        scheme, _, code = self.headers.get("Authorization", "").partition(" ")
        if not self.headers.get("User-Agent"):
            self.owner.problem(f"{self.path}: no User-Agent")
        key = None
        if scheme == "Basic":
            user, _, key = base64.b64decode(code).decode().partition(":")
            if user != "api":
                self.owner.problem(f"{self.path}: the user is {user!r}, not 'api'")
        if not key or self.owner.key not in (None, key):
            return 401, {}, json.dumps({"error": "user is not logged in"}).encode()
        return None

    def do_GET(self):
        if self.server is self.owner.files:
            self.serve("get", None, self.path, self.offered)
        elif self.path == "/state":
            self.send(200, {}, json.dumps(self.owner.state()).encode())
        else:
            self.serve("get", None, self.path,
                       lambda: self.check_client() or self.artifact_file())

    do_HEAD = do_GET

    def offered(self):
        body = self.owner.storage.offers.get(self.path.rpartition("/")[2])
        if "Authorization" in self.headers:
            self.owner.problem("the API key was sent to the storage with a download")
        return (404, {}, b"") if body is None else \
            (200, {"Content-Type": "application/octet-stream"}, body)

    def artifact_file(self):
        parts = [urllib.parse.unquote(part) for part in self.path.strip("/").split("/")]
        body = self.owner.artifacts.download(parts[1:]) if parts[0] == "artifactsV2" else None
        if body is None:
            return 404, {}, b'{"error": "no such file"}'
        return 307, {"Location": self.owner.storage.offer(body)}, b""

    def do_PUT(self):
        body = self.body("put")
        if body is None:
            return
        if self.server is not self.owner.files or not self.path.startswith("/put/"):
            self.owner.problem(f"PUT {self.path}")
            self.send(404, {}, b"{}")
            return
        self.serve("put", None, self.path.split("/", 3)[3], lambda: self.stored(body))

    def stored(self, body):
        status, text = self.owner.storage.put(self.path.split("/")[2], self.headers, body)
        return status, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}, text.encode()

    def do_POST(self):
        if self.server is self.owner.files and "Authorization" in self.headers:
            self.owner.problem(f"the API key was sent to the storage, with POST {self.path}")
        path = urllib.parse.urlsplit(self.path).path
        stream = re.fullmatch(r"/files/([^/]+)/([^/]+)/([^/]+)/file_stream", path)
        endpoint = "file_stream" if stream else "graphql"
        body = self.body(endpoint)
        if body is None:
            return
        if path == "/control":
            self.owner.control(json.loads(body))
            self.send(200, {}, b"{}")
        elif path == "/graphql" or stream:
            self.api_request(endpoint, stream, body)
        else:
            self.owner.problem(f"POST {self.path}")
            self.send(404, {}, b"{}")

    def api_request(self, endpoint, stream, body):
        try:
            request = json.loads(body)
        except ValueError:
            request = None
        if not isinstance(request, dict):
            self.owner.problem(f"{self.path}: no JSON object: {body[:80]!r}")
            self.send(400, {}, b'{"error": "no JSON object"}')
            return
        if not self.headers.get("Content-Type", "").startswith("application/json"):
            self.owner.problem(f"{self.path}: Content-Type {self.headers.get('Content-Type')!r}")
        if stream:
            names = [urllib.parse.unquote(part) for part in stream.groups()]
            self.serve(endpoint, None, hashlib.md5(body).hexdigest(),
                       lambda: self.check_client() or self.stream(names, request))
        else:
            name = request.get("operationName") or operation_name(request.get("query"))
            self.serve(endpoint, name, json.dumps(request.get("variables"), sort_keys=True),
                       lambda: self.check_client() or self.graphql(request))

    def stream(self, names, request):
        run = self.owner.runs.find(*names)
        if not run:
            self.owner.problem(f"a post to the run {'/'.join(names)}, which does not exist")
            return 404, {}, b'{"error": "run not found"}'
        error = self.owner.runs.stream(run, request)
        if error:
            self.owner.problem(f"{run.name}: file stream: {error}")
            return 400, {}, json.dumps({"error": error}).encode()
        limit = self.owner.rate_limit
        headers = {f"RateLimit-{key.title()}": str(value) for key, value in (limit or {}).items()}
        return 200, headers, json.dumps({"stopped": True} if run.stopped else {}).encode()

    def graphql(self, request):
        try:
            answer = {"data": self.owner.graphql(request)}
        except graphql.Refused as refusal:
            self.owner.problem(f"graphql: {refusal}")
            answer = {"data": None, "errors": [{"message": str(refusal), "path": []}]}
        return 200, {}, json.dumps(answer).encode()


def operation_name(query):
    match = re.search(r"\b(?:query|mutation)\s+(\w+)", query or "")
    return match and match.group(1)


def main():
    with Server(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as server:
        print(server.url, flush=True)
        sys.stdin.read()
        print(json.dumps(server.state(), indent=1))


if __name__ == "__main__":
    main()
