# SPDX-License-Identifier: Apache-2.0
# test-timeout: 240
"""How often each client asks again after a failure, by what failed and how: the stock client and
ours must be equally patient, and end alike. TEST_ALL=1 for all statuses."""
import collections
import os
import sys
import tempfile

import _wandb_client as client
from _wandb_server import Server

STATUSES = [403, 409, 500]
if os.environ.get("TEST_ALL"):
    STATUSES += [400, 401, 404, 408, 410, 413, 422, 429, 501, 502, 503, 504, 507]
TRIES = {f"WANDB__{name}_RETRY_MAX": "2" for name in ("GRAPHQL", "FILE_STREAM", "FILE_TRANSFER")}
TRIES |= {"WANDB_INIT_TIMEOUT": "8", "WANDB_FINISH_TIMEOUT": "5"}

# What fails, for ever, in one run: faults' endpoints and operations.
CASES = {
    "init": [("graphql", "UpsertBucket")],
    "files": [("graphql", "CreateRunFiles")],
    "data": [("file_stream", None), ("put", None)],
}


def explained(case, point, status):
    """Why ours asks more often than stock, or None."""
    if case == "init" and (status == 429 or status >= 500):
        return "a server that does not answer well is no reason not to train: the uploader goes on"
    if point == "put" and status in (401, 403):
        return "the address may have expired: another one is asked for"
    return None


def asked(server, endpoint, operation):
    """How often the same was asked, at most."""
    subjects = collections.Counter(request.subject for request in server.requests
                                   if (request.endpoint, request.operation)
                                   == (endpoint, operation))
    return max(subjects.values(), default=0)


def play(command, base, case, status):
    """{point: how often it was asked}, and whether the program ended well."""
    folder = tempfile.mkdtemp(dir=base)
    with Server() as server:
        for endpoint, operation in CASES[case]:
            server.inject(endpoint, operation=operation, times=None, status=status)
        try:
            client.run([*command, "html"], folder, client.environment(folder, server, **TRIES))
            ended = "well"
        except RuntimeError:
            ended = "in an error"
        return {**{operation or endpoint: asked(server, endpoint, operation)
                   for endpoint, operation in CASES[case]}, "ended": ended}


def main():
    players, problems = client.players(), []
    with tempfile.TemporaryDirectory() as base:
        jobs = [(case, status, side) for case in CASES for status in STATUSES for side in players]
        found = dict(zip(jobs, client.in_parallel([
            lambda job=job: play(players[job[2]], base, job[0], job[1]) for job in jobs])))
    for case in CASES:
        for status in STATUSES:
            stock = found[case, status, "stock"]
            ours = found.get((case, status, "ours"), stock)
            print(f"{case} {status}: stock {stock}, ours {ours}")
            problems += [f"{point} {status}: stock {stock[point]}, ours {ours[point]}"
                         for point in stock if stock[point] != ours[point]
                         and not explained(case, point, status)]
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
