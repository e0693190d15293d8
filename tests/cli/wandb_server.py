# SPDX-License-Identifier: Apache-2.0
"""The judge is judged: the W&B server of the tests notices each thing a client may do wrong, takes
what is right, and fails as ordered."""
import base64
import hashlib
import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "oracle"))
from _wandb_server import Server  # noqa: E402

AUTH = "Basic " + base64.b64encode(b"api:" + b"a" * 40).decode()
UPSERT = """mutation UpsertBucket($name: String, $project: String, $entity: String,
    $config: JSONString) { upsertBucket(input: {name: $name, modelName: $project,
    entityName: $entity, config: $config}) { bucket { id name historyLineCount } inserted } }"""
CONFIG = '{"_wandb": {"value": {"t": {"5": "1"}}}, "lr": {"value": 1}}'


class Client:
    """HTTP by hand, so that it can be wrong."""

    def __init__(self, server):
        self.server = server

    def request(self, method, url, body=b"", **headers):
        """(status, text, headers)"""
        parts = urllib.parse.urlsplit(url if "://" in url else self.server.url + url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=20)
        connection.request(method, parts.path, body,
                           {key.replace("_", "-"): value for key, value in headers.items()})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, text, answer.headers

    def api(self, path, value, **headers):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        headers = {"Authorization": AUTH, "Content_Type": "application/json",
                   "User_Agent": "test", **headers}
        return self.request("POST", path, body, **{key: value for key, value in headers.items()
                                                   if value is not None})

    def query(self, text, **variables):
        status, answer, _ = self.api("/graphql", {"query": text, "variables": variables})
        assert status == 200, (status, answer)
        return json.loads(answer)

    def upsert(self, **more):
        return self.query(UPSERT, name="r", project="p", entity="e", **{"config": CONFIG, **more})

    def stream(self, **body):
        return self.api("/files/e/p/r/file_stream", body)

    def lines(self, name, offset, *content):
        return self.stream(files={name: {"offset": offset, "content": list(content)}})


def row(step, **values):
    return json.dumps({"_step": step, "_timestamp": 1.0, "_runtime": 1.0, **values})


HISTORY, SUMMARY = "wandb-history.jsonl", "wandb-summary.json"


def a_right_run(client):
    assert client.upsert()["data"]["upsertBucket"]["inserted"] is True
    for _ in range(2):  # repeats do no harm
        client.lines(HISTORY, 0, row(0, x=1), row(2, x=2))
    client.lines(SUMMARY, 0, '{"x": 1}')
    client.lines(SUMMARY, 0, '{"x": 2}')
    client.stream(complete=True, exitcode=1)
    state = client.server.state()["runs"][0]
    assert (state["state"], state["summary"], len(state["history"])) == ("failed", {"x": 2}, 2)
    assert state["config"]["lr"] == {"value": 1}
    again = client.upsert()["data"]["upsertBucket"]
    assert again["inserted"] is False and again["bucket"]["historyLineCount"] == 2


WRONG = {
    "another user": lambda c: c.api("/graphql", {"query": "{viewer{id}}"}, Authorization="Basic "
                                    + base64.b64encode(b"me:" + b"a" * 40).decode()),
    "no JSON": lambda c: c.api("/graphql", b"{"),
    "another content type": lambda c: c.api("/graphql", {"query": "{viewer{id}}"},
                                            Content_Type="text/plain"),
    "another path": lambda c: c.api("/nothing", {}),
    "a syntax error": lambda c: c.query("{viewer{id}"),
    "an unknown field": lambda c: c.query("{viewer{id bogus}}"),
    "an unknown argument": lambda c: c.query('{model(bogus: "p"){id}}'),
    "no selection": lambda c: c.query("{viewer}"),
    "an undefined variable": lambda c: c.query("query A{model(name: $x){id}}"),
    "a missing variable": lambda c: c.query("query A($x: String!){model(name: $x){id}}"),
    "a wrong type": lambda c: c.query("query A($x: String){model(name: $x){id}}", x=1),
    "config that is no JSON": lambda c: c.upsert(config="{"),
    "config without value": lambda c: c.upsert(config='{"_wandb":{"value":{"t":{"5":"1"}}},"a":1}'),
    "config without t": lambda c: c.upsert(config='{"a": {"value": 1}}'),
    "another bucket": lambda c: c.upsert() and c.query(
        UPSERT.replace("$name: String", "$name: String, $id: String").replace(
            "name: $name", "name: $name, id: $id"), name="r", project="p", entity="e", id="x"),
    "no such run": lambda c: c.stream(),
    "an unknown member": lambda c: c.upsert() and c.stream(bogus=1),
    "a negative offset": lambda c: c.upsert() and c.lines(HISTORY, -1, row(0)),
    "lines that are no strings": lambda c: c.upsert() and c.lines(HISTORY, 0, {"_step": 0}),
    "a gap": lambda c: c.upsert() and c.lines(HISTORY, 1, row(0)),
    "a line that changes": lambda c: c.upsert() and c.lines(HISTORY, 0, row(0, x=1)) and c.lines(
        HISTORY, 0, row(0, x=2)),
    "a step that does not rise": lambda c: c.upsert() and c.lines(HISTORY, 0, row(1), row(1)),
    "a row without times": lambda c: c.upsert() and c.lines(HISTORY, 0, '{"_step": 1}'),
    "a row that is no JSON": lambda c: c.upsert() and c.lines(HISTORY, 0, "{"),
    "two lines of summary": lambda c: c.upsert() and c.lines(SUMMARY, 0, "{}", "{}"),
    "a summary that moves": lambda c: c.upsert() and c.lines(SUMMARY, 0, "{}") and c.lines(
        SUMMARY, 1, "{}"),
    "complete without exit code": lambda c: c.upsert() and c.stream(complete=True),
    "a post after the end": lambda c: c.upsert() and c.stream(complete=True, exitcode=0)
    and c.stream(),
    "uploaded, and was not": lambda c: c.upsert() and c.stream(uploaded=["a"]),
    "the key for the storage": lambda c: c.request(
        "PUT", upload_url(c), b"x", Authorization=AUTH, X_Fixture_Upload="yes"),
    "no upload headers": lambda c: c.request("PUT", upload_url(c), b"x"),
    "a wrong MD5": lambda c: c.request("PUT", upload_url(c), b"x", X_Fixture_Upload="yes",
                                       Content_MD5="AAAA"),
    "no length": lambda c: no_length(c, upload_url(c)),
    "a path that climbs": lambda c: c.upsert() and create_files(c, "../x"),
    "an artifact's digest": lambda c: artifact(c, digest="0" * 32),
    "a manifest's digest": lambda c: artifact(c, manifest_md5="AAAA"),
    "an artifact's file": lambda c: artifact(c, body=b"other"),
    "a size": lambda c: artifact(c, size=6),
    "a birth": lambda c: artifact(c, birth="nobody"),
    "an unknown artifact": lambda c: c.query(
        "mutation A($a: ID!) { commitArtifact(input: {artifactID: $a}) { artifact { id } } }",
        a="x"),
}


def expect_status(status, answer):
    assert answer[0] == status, answer
    return True


def create_files(client, *paths):
    return client.query("""mutation CreateRunFiles($e: String!, $p: String!, $r: String!,
        $files: [String!]!) { createRunFiles(input: {entityName: $e, projectName: $p, runName: $r,
        files: $files}) { runID uploadHeaders files { name uploadUrl } } }""",
                        e="e", p="p", r="r", files=list(paths))


def upload_url(client):
    client.upsert()
    return create_files(client, "a/é.txt")["data"]["createRunFiles"]["files"][0]["uploadUrl"]


def no_length(client, url):
    parts = urllib.parse.urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), 20) as connection:
        connection.sendall(f"PUT {parts.path} HTTP/1.1\r\nHost: x\r\nX-Fixture-Upload: yes\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode())
        assert b"411" in connection.recv(100)


def md5(data):
    return hashlib.md5(data)


def base64_md5(data):
    return base64.b64encode(md5(data).digest()).decode()


def artifact(client, digest=None, manifest_md5=None, body=b"hello", size=5, birth=None):
    """An artifact of one file, right but for what is given."""
    client.upsert()
    file_md5 = base64_md5(b"hello")
    digest = digest or md5(f"wandb-artifact-manifest-v1\nf.txt:{file_md5}\n".encode()).hexdigest()
    common = {"entityName": "e", "projectName": "p", "runName": "r"}
    made = client.query(
        """mutation A($i: CreateArtifactInput!) { createArtifact(input: $i) {
            artifact { id state } } }""",
        i={**common, "artifactTypeName": "t", "artifactCollectionName": "a", "digest": digest,
           "digestAlgorithm": "MANIFEST_MD5", "enableDigestDeduplication": True,
           "aliases": [{"artifactCollectionName": "a", "alias": "best"}]})
    found = made["data"]["createArtifact"]["artifact"]
    if found["state"] == "COMMITTED":
        return found
    first = new_manifest(client, found["id"], "", False)
    answer = client.query("""mutation A($i: CreateArtifactFilesInput!) { createArtifactFiles(
        input: $i) { files { edges { node { uploadUrl artifact { id } } } } } }""", i={
            "storageLayout": "V2", "artifactFiles": [{
                "artifactID": found["id"], "artifactManifestID": first["id"], "name": "f.txt",
                "md5": file_md5}]})
    node = answer["data"]["createArtifactFiles"]["files"]["edges"][0]["node"]
    if node["uploadUrl"]:
        client.request("PUT", node["uploadUrl"], body, X_Fixture_Upload="yes")
    manifest = json.dumps({
        "version": 1, "storagePolicy": "wandb-storage-policy-v1",
        "storagePolicyConfig": {"storageLayout": "V2"},
        "contents": {"f.txt": {"digest": file_md5, "size": size,
                               "birthArtifactID": birth or node["artifact"]["id"]}}}).encode()
    second = new_manifest(client, found["id"], manifest_md5 or base64_md5(manifest), True)
    client.request("PUT", second["file"]["uploadUrl"], manifest, X_Fixture_Upload="yes")
    client.query("""mutation A($a: ID!) { commitArtifact(input: {artifactID: $a}) {
        artifact { id } } }""", a=found["id"])
    return found


def new_manifest(client, artifact_id, digest, upload):
    answer = client.query("""mutation A($a: ID!, $d: String!, $u: Boolean!) {
        createArtifactManifest(input: {artifactID: $a, name: "wandb_manifest.json", digest: $d,
        entityName: "e", projectName: "p", runName: "r", type: FULL}) { artifactManifest { id
        file { id uploadUrl @include(if: $u) } } } }""", a=artifact_id, d=digest, u=upload)
    found = answer["data"]["createArtifactManifest"]["artifactManifest"]
    assert ("uploadUrl" in found["file"]) == upload
    return found


def a_right_artifact(client):
    first = artifact(client)
    assert artifact(client)["id"] == first["id"], "the same digest is the same version"
    known = client.server.state()["artifacts"]["e/p/a"]
    assert known["aliases"] == {"best": "v0", "latest": "v0"} and len(known["versions"]) == 1
    answer = client.query("""{ project(name: "p", entityName: "e") {
        artifactCollectionMembership(name: "a:best") { versionIndex artifact { id digest
        files { edges { node { name directUrl } } } } } } }""")
    membership = answer["data"]["project"]["artifactCollectionMembership"]
    url = membership["artifact"]["files"]["edges"][0]["node"]["directUrl"]
    assert client.request("GET", url)[1] == b"hello"
    path = f"/artifactsV2/default/e/p/a/{first['id']}/{md5(b'hello').hexdigest()}/f.txt"
    status, _, headers = client.request("GET", path, Authorization=AUTH, User_Agent="test")
    assert status == 307 and client.request("GET", headers["Location"])[1] == b"hello"


def a_right_upload(client):
    status, _, headers = client.request("PUT", upload_url(client), b"body", X_Fixture_Upload="yes",
                                        Content_MD5=base64_md5(b"body"))
    assert status == 200 and md5(b"body").hexdigest() in headers["ETag"]
    client.stream(uploaded=["a/é.txt"])
    assert client.server.run().files == {"a/é.txt": b"body"}
    old = upload_url(client)
    client.server.storage.expire()
    assert client.request("PUT", old, b"body", X_Fixture_Upload="yes")[0] == 403


def dies(call):
    try:
        call()
    except (OSError, http.client.HTTPException):
        return True
    return False


def faults(client):
    """Each fault once; after it all is well."""
    server, viewer = client.server, {"query": "{viewer{id}}"}
    client.upsert()

    def once(**fault):
        server.inject("graphql", **fault)
        return client.api("/graphql", viewer)

    assert once(status=429, headers={"Retry-After": "2"})[2]["Retry-After"] == "2"
    assert once(status=503, body={"error": "e"})[:2] == (503, b'{"error": "e"}')
    assert once(text="{nonsense")[:2] == (200, b"{nonsense")
    start = time.monotonic()
    once(delay=0.3)
    once(drip=1000)
    assert time.monotonic() - start > 0.4  # not a speed: the server must have waited
    for cut in ("request", "before", "after", "answer"):
        server.inject("file_stream", cut=cut)
        count = server.run().count(HISTORY)
        assert dies(lambda: client.lines(HISTORY, count, row(count))), cut
        time.sleep(0.05)
        assert server.run().count(HISTORY) == count + (cut in ("after", "answer")), cut
    server.inject("graphql", operation="Other", status=500)
    server.inject("graphql", skip=1, status=418)
    assert [client.api("/graphql", viewer)[0] for _ in range(3)] == [200, 418, 200]
    server.faults.clear()
    server.inject("graphql", silent=True)
    assert dies(lambda: http_with_timeout(server, viewer))
    server.refuse()
    assert dies(lambda: client.api("/graphql", viewer))
    server.accept()
    assert client.api("/graphql", viewer)[0] == 200
    client.api("/control", {"faults": [{"endpoint": "any", "status": 500}], "stop": "r"})
    assert client.stream()[0] == 500
    assert json.loads(client.stream()[1]) == {"stopped": True}
    client.api("/control", {"rate_limit": {"remaining": 3, "reset": 1.5}})
    assert client.stream()[2]["RateLimit-Reset"] == "1.5"
    assert json.loads(client.request("GET", "/state")[1])["runs"][0]["path"] == "e/p/r"


def http_with_timeout(server, viewer):
    parts = urllib.parse.urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=0.5)
    try:
        connection.request("POST", "/graphql", json.dumps(viewer),
                           {"Authorization": AUTH, "User-Agent": "t",
                            "Content-Type": "application/json"})
        connection.getresponse()
    finally:
        connection.close()


def over_tls(folder):
    """Whoever trusts the certificate gets through, and nobody else."""
    files = [os.path.join(folder, name) for name in ("cert.pem", "key.pem")]
    done = subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                           "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                           "-out", files[0], "-keyout", files[1]], capture_output=True, check=False)
    if done.returncode:
        print("openssl is not there, or old: TLS was not tried")
        return
    with Server(tls=files) as server:
        trusting = ssl.create_default_context(cafile=files[0])
        assert urllib.request.urlopen(server.url + "/state", context=trusting).status == 200
        assert dies(lambda: urllib.request.urlopen(server.url + "/state"))


def main():
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        over_tls(folder)
    for right in (a_right_run, a_right_artifact, a_right_upload, faults):
        with Server() as server:
            right(Client(server))
            failed += [f"{right.__name__}: {problem}" for problem in server.problems]
    for name, wrong in WRONG.items():
        with Server() as server:
            wrong(Client(server))
            if not server.problems:
                failed.append(f"not noticed: {name}")
    with Server(key="b" * 40) as server:
        for key in (AUTH, None):
            expect_status(401, Client(server).api("/graphql", {}, Authorization=key))
    print("\n".join(failed) or f"{len(WRONG)} mistakes noticed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
