# SPDX-License-Identifier: Apache-2.0
# test-timeout: 180
"""Answers that a W&B server should not give: huge, deep, cut, of wrong types, from somebody else.
The client ends in order whatever comes, loses nothing that a sync cannot send, and gives its key
to nobody. TEST_ALL=1 tries every answer to every question, TEST_SEED the same choice again."""
import email.utils
import itertools
import os
import random
import subprocess
import sys
import tempfile
import time

import _wandb_client as client
from _wandb_runs import HISTORY
from _wandb_server import Server

GUARD = 60
FEW = {f"WANDB__{name}_RETRY_MAX": "2" for name in ("GRAPHQL", "FILE_STREAM", "FILE_TRANSFER")}
FEW |= {"WANDB_INIT_TIMEOUT": "5", "WANDB_FINISH_TIMEOUT": "5"}

# what is asked: the scenario that asks it
QUESTIONS = {
    "UpsertBucket": "html", "CreateRunFiles": "html", "file_stream": "html", "put": "html",
    "RunResumeStatus": "resume_allow", "CreateArtifact": "use", "CreateArtifactManifest": "use",
    "CreateArtifactFiles": "use", "CommitArtifact": "use", "UseArtifact": "use",
    "ArtifactMembershipByName": "use", "get": "use",
}


def bucket(**more):
    return {"data": {"upsertBucket": {"inserted": True, "bucket": {
        "id": "x", "name": "html", "displayName": "n", "config": "{}", "historyLineCount": 0,
        "project": {"name": "p", "entity": {"name": "e"}}, **more}}}}


ANSWERS = {
    "a page": {"text": "<html><body>Bad gateway</body></html>"},
    "nothing": {"text": ""},
    "half": {"text": '{"data": {"upsertBucket": {"bucket": {"id": "'},
    "a list": {"text": "[]"},
    "null": {"text": "null"},
    "no data": {"body": {"data": None}, "status": 200},
    "empty data": {"body": {"data": {}}, "status": 200},
    "errors": {"body": {"data": None, "errors": [{"message": "no %s%n\x1b[31m"}]}, "status": 200},
    "odd errors": {"body": {"errors": "yes"}, "status": 200},
    "deep": {"text": '{"data":' * 200_000},
    "long": {"text": '"' + "x" * (70 << 20)},
    "zeros": {"text": "\0" * 1000},
    "no UTF-8": {"text": '{"data": "\udcff"}'},
    "other types": {"body": bucket(id=7, name=[], project="p", historyLineCount="many"),
                    "status": 200},
    "huge numbers": {"body": bucket(historyLineCount=10 ** 30), "status": 200},
    "a negative number": {"body": bucket(historyLineCount=-5), "status": 200},
    "a path for a name": {"body": bucket(displayName="../../x\n\x1b[2J"), "status": 200},
    "teapot": {"status": 418, "text": ""},
    "a loop": {"status": 307, "headers": {"Location": "/graphql"}, "text": ""},
    "a file": {"status": 307, "headers": {"Location": "file:///etc/passwd"}, "text": ""},
}


class Wrong(Exception):
    pass


def expect(what, wanted, found):
    if wanted != found:
        raise Wrong(f"{what}: wanted {wanted!r}, found {found!r}")


def ordered(question, **fault):
    """inject()'s arguments for a question."""
    if question in ("put", "get", "file_stream"):
        return {"endpoint": question, **fault}
    return {"endpoint": "graphql", "operation": question, **fault}


def ended(name, folder, environment):
    """Plays a scenario to whatever end: (its words, whether it was an error's). A crash, or no
    end, is wrong."""
    done = subprocess.run([*client.OURS, name], cwd=folder, env=environment, timeout=GUARD,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    words = done.stdout.decode(errors="replace")
    expect(f"exit of {name}, after\n{words}", True, done.returncode in (0, 1))
    expect("the key in what it says", False, client.KEY in words)
    return words, done.returncode == 1


def an_answer(question, answer, folder):
    """Once the answer, then all is well: nothing that a sync cannot mend."""
    name = QUESTIONS[question]
    with Server() as server:
        environment = client.environment(folder, server, **FEW)
        fault = server.inject(**ordered(question, times=2, **ANSWERS[answer]))
        words, failed = ended(name, folder, environment)
        expect(f"asked, before\n{words}", True, fault.met > 0)
        expect("the key elsewhere", [], [line for line in server.problems if "key" in line])
        if failed and question in ("UpsertBucket", "RunResumeStatus"):
            return  # init has refused: there is no run
        server.faults.clear()
        client.run([*client.syncs()["ours"], "--include-online", *client.folders(folder)], folder,
                   environment, GUARD)
        for run in server.runs.all.values():
            steps = [row["_step"] for row in run.rows(HISTORY)]
            if "number" not in answer:  # that one says where rows go
                expect("steps", list(range(len(steps))), steps)
        if name == "use":
            versions = [len(one["versions"]) for one in server.state()["artifacts"].values()]
            expect("versions", [1], versions)
        if name == "html":
            media = [path for path in server.run().files if path.startswith("media/html")]
            expect("media", 2, len(media))


def addresses_expire(folder):
    """Another address is asked for, and all files arrive."""
    with Server() as server:
        server.inject("put", times=4, status=403, text="AccessDenied: Request has expired")
        client.run([*client.OURS, "html"], folder, client.environment(folder, server), GUARD)
        expect("files", True, {"config.yaml", "wandb-summary.json"} <= server.run().files.keys())
        expect("media", 2, sum(path.startswith("media/html") for path in server.run().files))
        expect("problems", [], server.problems)


def the_disk_is_full(folder):
    """The storage takes nothing: the run ends, and a sync brings the files."""
    with Server() as server:
        environment = client.environment(folder, server, **FEW)
        server.inject("put", times=None, status=507)
        client.run([*client.OURS, "html"], folder, environment, GUARD)
        expect("files before", {}, server.run().files)
        server.faults.clear()
        client.run([*client.syncs()["ours"], "--include-online", *client.folders(folder)], folder,
                   environment, GUARD)
        expect("media", 2, sum(path.startswith("media/html") for path in server.run().files))
        expect("rows", 1, server.run().count(HISTORY))
        expect("problems", [], server.problems)


def retry_after_a_date(folder):
    """Retry-After may be a date: not before it is asked again."""
    with Server() as server:
        date = time.time() + 3
        server.inject("file_stream", status=429,
                      headers={"Retry-After": email.utils.formatdate(date, usegmt=True)})
        client.run([*client.OURS, "scalars"], folder, client.environment(folder, server), GUARD)
        posts = [request.time for request in server.requests if request.endpoint == "file_stream"]
        expect("a wait", True, posts[1] - posts[0] > 1)  # dates have whole seconds
        expect("rows", 20, server.run().count(HISTORY))


def another_host(folder):
    """A redirect to another host is not followed with the key."""
    with Server() as server:
        server.inject("graphql", operation="UpsertBucket", times=None, status=307, text="",
                      headers={"Location": f"http://{server.storage.address}/graphql"})
        ended("html", folder, client.environment(folder, server, **FEW))
        expect("problems", [], server.problems)


def tls(folder):
    """A certificate that nobody vouches for is refused, unless the user does."""
    files = [os.path.join(folder, name) for name in ("cert.pem", "key.pem")]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                    "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    for name, more, arrives in (("refused", {}, False),
                                ("trusted", {"SSL_CERT_FILE": files[0]}, True),
                                ("insecure", {"WANDB_INSECURE_DISABLE_SSL": "true"}, True)):
        place = os.path.join(folder, name)
        os.mkdir(place)
        with Server(tls=files) as server:
            ended("scalars", place, client.environment(place, server, **FEW, **more))
            expect(name, [20] if arrives else [],
                   [run.count(HISTORY) for run in server.runs.all.values()])


def chosen():
    """(question, answer) pairs, each question and each answer at least once."""
    if os.environ.get("TEST_ALL"):
        return list(itertools.product(QUESTIONS, ANSWERS))
    seed = int(os.environ.get("TEST_SEED", random.randrange(2 ** 32)))
    print(f"TEST_SEED={seed}")
    answers, questions = list(ANSWERS), list(QUESTIONS)
    random.Random(seed).shuffle(answers)
    return [(questions[index % len(questions)], answer) for index, answer in enumerate(answers)]


def attempt(name, case, base):
    try:
        case(tempfile.mkdtemp(dir=base))
    except (Wrong, RuntimeError, subprocess.SubprocessError) as error:
        return [f"{name}: {error}"]
    return []


def main():
    if not os.path.exists(client.OURS[0]):
        print("skipped: the plugin was not built")
        return 77
    cases = {case.__name__: case for case in (addresses_expire, the_disk_is_full,
                                              retry_after_a_date, another_host, tls)}
    for question, answer in chosen():
        cases[f"{question}: {answer}"] = lambda folder, question=question, answer=answer: \
            an_answer(question, answer, folder)
    with tempfile.TemporaryDirectory() as base:
        problems = sum(client.in_parallel([
            lambda name=name: attempt(name, cases[name], base) for name in cases]), [])
    print("\n".join(problems) or f"{len(cases)} cases")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
