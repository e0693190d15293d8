# SPDX-License-Identifier: Apache-2.0
# test-timeout: 180
"""Artifacts: what ours logs is what stock logs; what stock has put on a server ours finds, uses and
downloads as stock does; and a server that lies gets nothing written."""
import base64
import hashlib
import json
import os
import shutil
import sys
import tempfile

import _wandb_client as client
import _wandb_log as log
from _wandb_server import Server

BUILD = os.environ.get("ACCEL_BUILD_DIR", "")
PROGRAM = os.path.join(BUILD, "bin", "program-wandb_artifacts")
FILES = {"plain.txt": b"hello", "empty": b"", "sub/deep/er.bin": bytes(range(256)) * 900,
         "sub/same.txt": b"hello", "Z": b"upper case sorts first", "\u00e9 \u00fc": b"not ASCII"}


def write_files(folder):
    for name, data in FILES.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)


def read_files(folder):
    found = {}
    for directory, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(directory, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = file.read()
    return found


# ---- played by the stock client ----

def add_all(artifact, files):
    artifact.add_file(os.path.join(files, "plain.txt"), name="renamed/plain.txt")
    artifact.add_dir(files, name="all")
    artifact.add_reference(f"file://{files}/plain.txt", name="by/reference.txt")
    artifact.add_reference(f"file://{files}", name="folder")
    artifact.add_reference("https://example.org/a/b", name="web", checksum=False)


def stock_log(directory, files):
    import wandb
    run = wandb.init(project="art", id="logger1", dir=directory)
    artifact = wandb.Artifact("ours", "dataset", "words", {"k": 1, "x": 0.5})
    add_all(artifact, files)
    run.log_artifact(artifact, aliases=["best"])
    run.finish()


def stock_put(directory, files):
    """Two versions of one artifact with files and references."""
    import wandb
    run = wandb.init(project="art", dir=directory)
    for version in range(2):
        artifact = wandb.Artifact("stored", "dataset", "words", {"version": version})
        artifact.add_dir(files)
        artifact.add_reference(f"file://{files}/plain.txt", name="by/reference.txt")
        if version:
            with artifact.new_file("new.txt") as file:
                file.write("new")
        run.log_artifact(artifact, aliases=["first", "old"] if version == 0 else ["good"]).wait()
    run.finish()


# ---- what the program says ----

def program(arguments, folder, env, code=0):
    return client.run([PROGRAM, *arguments], folder, env, code=code)


def facts(text):
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        found.setdefault(key, []).append(value)
    return found


def check_logged(base):
    """The record of an offline run."""
    files, logs = os.path.join(base, "files"), []
    write_files(files)
    for side, command in (("stock", [sys.executable, __file__, "log"]), ("ours", [PROGRAM, "log"])):
        folder = os.path.join(base, side)
        os.mkdir(folder)
        client.run([*command, folder, files], folder, client.environment(folder))
        records = [(kind, fields) for kind, fields in log.read(log.find_log(folder))
                   if kind == "artifact"]
        logs.append(json.loads(json.dumps(records).replace(folder, "DIR")))
    if not logs[0]:
        return ["stock logged nothing"]
    return log.compare(*logs)[0]


def expected_files(version):
    found = {**FILES, "by/reference.txt": b"hello"}
    return {**found, "new.txt": b"new"} if version else found


def check_download(base, server):
    """By alias, by version, by default; the second time from the cache, or not at all."""
    problems, env = [], client.environment(base, server, WANDB_PROJECT="art",
                                           WANDB_CACHE_DIR=os.path.join(base, "cache"))
    for name, version in (("stored", 1), ("art/stored:v0", 0), ("fixture-user/art/stored:old", 0),
                          ("stored:good", 1)):
        said = facts(program(["get", name, "dataset", ""], base, env))
        root = os.path.join(base, said["root"][0])
        if read_files(root) != expected_files(version):
            problems.append(f"{name}: downloaded {sorted(read_files(root))}")
        if said["qualified_name"] != [f"fixture-user/art/stored:v{version}"] or \
                json.loads(said["metadata"][0]) != {"version": version} or \
                said["description"] != ["words"] or said["type"] != ["dataset"]:
            problems.append(f"{name}: {said}")
    server.storage.objects.clear()  # from now on the cache must do
    shutil.rmtree(root)
    program(["get", "stored", "", ""], base, env)
    if read_files(root) != expected_files(1):
        problems.append(f"from the cache: {sorted(read_files(root))}")
    return problems


def check_partly(base, server):
    """A damaged file and a foreign one in the folder; a part; without references."""
    env = client.environment(base, server, WANDB_PROJECT="art",
                             WANDB_CACHE_DIR=os.path.join(base, "cache2"))
    root, problems = os.path.join(base, "root"), []
    os.makedirs(os.path.join(root, "sub"))
    for name in ("plain.txt", "sub/mine"):
        with open(os.path.join(root, name), "wb") as file:
            file.write(b"another")
    program(["get", "stored", "", root], base, env)
    if read_files(root) != {**expected_files(1), "sub/mine": b"another"}:
        problems.append(f"over what was there: {sorted(read_files(root))}")
    part = os.path.join(base, "part")
    program(["get", "stored", "", part, "sub/"], base, env)
    if sorted(read_files(part)) != ["sub/deep/er.bin", "sub/same.txt"]:
        problems.append(f"a part: {sorted(read_files(part))}")
    bare = os.path.join(base, "bare")
    program(["get", "stored", "", bare, "skip"], base, env)
    if "by/reference.txt" in read_files(bare) or "plain.txt" not in read_files(bare):
        problems.append(f"without references: {sorted(read_files(bare))}")
    return problems


def check_refused(base, server):
    """Errors that say what is wrong."""
    env, problems = client.environment(base, server, WANDB_PROJECT="art"), []
    for arguments, words in ((["none", "", ""], "no artifact 'none:latest'"),
                             (["stored:v9", "", ""], "no artifact 'stored:v9'"),
                             (["stored", "model", ""], "is of type 'dataset', not 'model'"),
                             (["a/b/c/d", "", ""], "[[ENTITY/]PROJECT/]NAME[:ALIAS]"),
                             (["art/", "", ""], "[[ENTITY/]PROJECT/]NAME[:ALIAS]")):
        text = program(["get", *arguments], base, env, code=3)
        if words not in text:
            problems.append(f"{arguments}: {text}")
    bare = {key: value for key, value in env.items() if key != "WANDB_API_KEY"}
    text = program(["get", "stored", "", ""], base, {**bare, "WANDB_MODE": "offline"}, code=3)
    if "WANDB_API_KEY" not in text or "login" not in text:
        problems.append(f"no key: {text}")
    if os.path.exists(os.path.join(base, "artifacts")):
        problems.append("a folder was made")
    return problems


def check_use(base, server):
    env = client.environment(base, server)
    said = facts(program(["use", "stored:v0", base], base, env))
    if said["qualified_name"] != ["fixture-user/art/stored:v0"]:
        return [f"use: {said}"]
    used = [version.version for version in server.runs.find("fixture-user", "art", "user1").used]
    return [] if used == [0] else [f"the run's inputs are {used}"]


def digest_of(contents):
    lines = "".join(f"{path}:{contents[path]['digest']}\n"
                    for path in sorted(contents, key=lambda path: path.encode()))
    return hashlib.md5(("wandb-artifact-manifest-v1\n" + lines).encode()).hexdigest()


def lie(version, contents, **manifest):
    """Let the server say that this is in the artifact."""
    whole = {"version": 1, "storagePolicy": "wandb-storage-policy-v1",
             "storagePolicyConfig": {"storageLayout": "V2"}, "contents": contents, **manifest}
    version.manifest = whole
    version.manifest_file = json.dumps(whole).encode()
    version.fields["digest"] = digest_of(contents)


def check_hostile(base, server):
    """Nothing is written outside, or that is not what the artifact says."""
    env = client.environment(base, server, WANDB_PROJECT="art",
                             WANDB_CACHE_DIR=os.path.join(base, "cache3"))
    version = server.artifacts.collections["fixture-user", "art", "stored"].versions[1]
    md5 = base64.b64encode(hashlib.md5(b"evil").digest()).decode()
    server.storage.objects[md5] = b"evil"
    entry = {"digest": md5, "size": 4, "birthArtifactID": version.id}
    outside, root = os.path.join(base, "outside"), os.path.join(base, "in")
    problems = []

    def expect(words, name):
        text = program(["get", "stored", "", root], base, env, code=3)
        if words not in text:
            problems.append(f"{name}: {text}")
        if os.path.exists(os.path.join(base, "evil")) or os.listdir(outside):
            problems.append(f"{name}: something was written outside")

    os.makedirs(outside)
    os.makedirs(root)
    for path in ("../evil", "/tmp/evil", "a/../../evil", "a//evil", "./evil", "..", ""):
        lie(version, {path: entry})
        expect("leads out of the artifact", path)
    os.symlink(outside, os.path.join(root, "link"))
    lie(version, {"link/evil": entry})
    expect("symbolic link", "a link on the way")
    other = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    server.storage.objects[other] = b"not other"
    lie(version, {"other": {**entry, "digest": other}})
    expect("came with the digest", "another file")
    for digest in ("../../../../etc/passwd", "A" * 24, "", "x"):
        lie(version, {"odd": {**entry, "digest": digest}})
        expect("no MD5", f"digest {digest!r}")
    lie(version, {"plain": entry})
    version.fields["digest"] = "0" * 32
    expect("and the artifact 0000", "another manifest")
    for text in (b"", b"[]", b"{", b'{"contents": []}', b'{"contents": {"a": 1}}', b"[" * 100000):
        version.manifest_file = text
        expect("the manifest of", f"manifest {text[:20]!r}")
    lie(version, {"file": entry})
    os.symlink(os.path.join(outside, "target"), os.path.join(root, "file"))
    program(["get", "stored", "", root], base, env)  # takes the place of the link
    if os.path.islink(os.path.join(root, "file")) or os.listdir(outside):
        problems.append("a link in the file's place was followed")
    if sorted(os.listdir(root)) != ["file", "link"]:
        problems.append(f"left behind: {sorted(os.listdir(root))}")
    return problems


def check_wait(base, server):
    path = os.path.join(base, "a file")
    with open(path, "wb") as file:
        file.write(b"waited for")
    said = facts(program(["wait", base, path], base, client.environment(base, server)))
    if said["qualified_name"] != ["fixture-user/art/waited:v0"] or said["alias"] != ["latest"] or \
            read_files(os.path.join(base, "waited")) != {"a file": b"waited for"}:
        return [f"{said}"]
    offline = client.environment(base)
    text = program(["wait", base, path], base, offline, code=3)
    return [] if "has not logged an artifact 'waited' online" in text else [text]


def check_example(base, server):
    """The example, online: logged, used by its alias, downloaded."""
    env, path = client.environment(base, server), os.path.join(base, "list")
    with open(path, "wb") as file:
        file.write(b"one\ntwo\n")
    example = os.path.join(BUILD, "examples", "artifacts")
    client.run([example, "log", path], base, env)
    said = client.run([example, "use", "words:best"], base, env)
    if "fixture-user/words/words:v0 is in ./artifacts/words:v0" not in said:
        return [said]
    found = read_files(os.path.join(base, "artifacts", "words:v0"))
    return [] if found == {"words.txt": b"one\ntwo\n", "README": b"One word a line.\n"} \
        else [f"downloaded {found}"]


def check_faults(base, server):
    """A server in trouble for a while."""
    env = client.environment(base, server, WANDB_PROJECT="art",
                             WANDB_CACHE_DIR=os.path.join(base, "cache4"))
    server.control({"faults": [{"endpoint": "graphql", "status": 502},
                               {"endpoint": "get", "status": 503, "headers": {"Retry-After": "0"}}]})
    said = facts(program(["get", "stored:v0", "", os.path.join(base, "late")], base, env))
    return [] if said["version"] == ["v0"] else [f"after faults: {said}"]


def main():
    if not os.path.exists(os.path.join(BUILD, "lib", "accel", "libaccel-tracker-wandb.so")):
        print("skipped: the plugin was not built")
        return 77
    problems = []
    with tempfile.TemporaryDirectory() as base:
        base = os.path.realpath(base)
        steps = [check_partly, check_refused, check_use, check_wait, check_example, check_faults,
                 check_download, check_hostile]
        folders = {}
        for step in (check_logged, *steps):
            folders[step] = os.path.join(base, step.__name__)
            os.mkdir(folders[step])
        problems += [f"check_logged: {line}" for line in check_logged(folders[check_logged])]
        files, home = os.path.join(base, "files"), os.path.join(base, "home")
        os.mkdir(home)
        write_files(files)
        with Server() as server:
            client.run([sys.executable, __file__, "put", home, files], home,
                       client.environment(home, server))
            for step in steps:
                problems += [f"{step.__name__}: {line}" for line in step(folders[step], server)]
            problems += [f"the server: {line}" for line in server.problems]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    if len(sys.argv) > 2:
        {"log": stock_log, "put": stock_put}[sys.argv[1]](sys.argv[2], sys.argv[3])
    else:
        sys.exit(main())
