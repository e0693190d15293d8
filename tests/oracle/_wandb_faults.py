# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between a client and a server, made to order.

    server.inject("graphql", operation="UpsertBucket", times=2, status=409)
    server.inject("file_stream", times=3, status=429, headers={"Retry-After": "1"})
    server.inject("put", times=1, cut="answer")

An endpoint is graphql, file_stream, put, get, or any. `times` None is for ever; the first `skip`
requests that match are spared. What happens to a request that matches:

    status, headers, body   this answer; the request is not obeyed, unless apply=True
    text                    the body, as it stands, with status 200 if none is given
    delay                   seconds before the answer
    drip                    the answer comes at so many bytes a second
    cut="request"           the connection dies while the request is read
    cut="before"            ... when it is read, and not obeyed
    cut="after"             ... when it is obeyed, and not answered
    cut="answer"            ... in the middle of the answer
    silent=True             obeyed or not (apply), never answered
"""
import json
import socket
import struct
import threading

ENDPOINTS = ("graphql", "file_stream", "put", "get", "any")
ACTIONS = {"status", "headers", "body", "text", "delay", "drip", "cut", "silent", "apply"}


class Fault:
    def __init__(self, endpoint, operation=None, times=1, skip=0, **action):
        if endpoint not in ENDPOINTS or action.keys() - ACTIONS:
            raise ValueError(f"fault {endpoint} {action}")
        self.endpoint, self.operation, self.times, self.skip = endpoint, operation, times, skip
        self.cut, self.silent = action.get("cut"), action.get("silent", False)
        self.delay, self.drip = action.get("delay", 0), action.get("drip")
        self.status, self.headers = action.get("status"), action.get("headers", {})
        self.text = action.get("text", json.dumps(action.get("body", {"error": "as ordered"})))
        self.replaces = "text" in action or self.status is not None
        self.applies = action.get("apply", not self.replaces and self.cut != "before"
                                  and not self.silent)
        self.met = 0

    def matches(self, endpoint, operation):
        return self.endpoint in ("any", endpoint) and self.operation in (None, operation)

    def answer(self, status, headers, body):
        """What goes out in place of the right answer."""
        if not self.replaces:
            return status, headers, body
        return self.status or 200, {**headers, **self.headers}, self.text.encode(errors="surrogateescape")


class Faults:
    def __init__(self):
        self.lock, self.ordered = threading.Lock(), []

    def add(self, *args, **kwargs):
        with self.lock:
            self.ordered.append(Fault(*args, **kwargs))
            return self.ordered[-1]

    def clear(self):
        with self.lock:
            self.ordered.clear()

    def take(self, endpoint, operation=None, early=False):
        """The fault that this request meets, or None. `early`: before its body is read."""
        with self.lock:
            for fault in self.ordered:
                if (fault.cut == "request") != early or not fault.matches(endpoint, operation):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    return None
                fault.met += 1
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self.ordered.remove(fault)
                return fault
        return None


def reset(connection):
    """Close a connection so that the peer sees a reset, not an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
