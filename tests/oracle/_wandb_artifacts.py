# SPDX-License-Identifier: Apache-2.0
"""The artifacts of a W&B server: versions, aliases, manifests, files. Digests and manifests are
computed again from what was uploaded."""
import base64
import hashlib
import json

from _wandb_graphql import Refused, check_members

ALGORITHMS = {"MANIFEST_MD5"}
INPUTS = {
    "ArtifactDigestAlgorithm": ALGORITHMS,
    "ArtifactManifestType": {"FULL", "INCREMENTAL", "PATCH"},
    "ArtifactStorageLayout": {"V1", "V2"},
    "ArtifactAliasInput": {"artifactCollectionName": "String!", "alias": "String!"},
    "ArtifactCollectionAliasInput": {"artifactCollectionName": "String!", "alias": "String!",
                                     "entityName": "String", "projectName": "String"},
    "TagInput": {"tagName": "String!"},
    "UploadPartsInput": {"partNumber": "Int64!", "hexMD5": "String!"},
    "CreateArtifactInput": {
        "entityName": "String!", "projectName": "String!", "runName": "String",
        "artifactTypeName": "String!", "artifactCollectionName": "String",
        "artifactCollectionNames": "[String!]", "digest": "String!",
        "digestAlgorithm": "ArtifactDigestAlgorithm!", "description": "String",
        "aliases": "[ArtifactAliasInput!]", "tags": "[TagInput!]", "metadata": "JSONString",
        "ttlDurationSeconds": "Int64", "historyStep": "Int64",
        "enableDigestDeduplication": "Boolean", "distributedID": "String", "clientID": "ID",
        "sequenceClientID": "ID", "storageRegion": "String", "clientMutationId": "String",
        "labels": "JSONString"},
    "CreateArtifactManifestInput": {
        "artifactID": "ID!", "baseArtifactID": "ID", "name": "String!", "digest": "String!",
        "entityName": "String!", "projectName": "String!", "runName": "String!",
        "type": "ArtifactManifestType!"},
    "UpdateArtifactManifestInput": {"artifactManifestID": "ID!", "digest": "String",
                                    "baseArtifactID": "ID"},
    "CreateArtifactFileSpecInput": {
        "artifactID": "ID!", "name": "String!", "md5": "String!", "artifactManifestID": "ID",
        "mimetype": "String", "uploadPartsInput": "[UploadPartsInput!]"},
    "CreateArtifactFilesInput": {"artifactFiles": "[CreateArtifactFileSpecInput!]!",
                                 "storageLayout": "ArtifactStorageLayout", "cloudRegionID": "ID",
                                 "clientMutationId": "String"},
    "UseArtifactInput": {
        "entityName": "String!", "projectName": "String!", "runName": "String!",
        "artifactID": "ID!", "usedAs": "String", "artifactEntityName": "String",
        "artifactProjectName": "String", "clientMutationId": "String"},
    "AddAliasesInput": {"artifactID": "ID!", "aliases": "[ArtifactCollectionAliasInput!]!",
                        "clientMutationId": "String"},
    "DeleteAliasesInput": {"artifactID": "ID!", "aliases": "[ArtifactCollectionAliasInput!]!",
                           "clientMutationId": "String"},
    "UpdateArtifactInput": {
        "artifactID": "ID!", "description": "String", "metadata": "JSONString",
        "aliases": "[ArtifactAliasInput!]", "ttlDurationSeconds": "Int64",
        "tagsToAdd": "[TagInput!]", "tagsToDelete": "[TagInput!]", "clientMutationId": "String"},
}


def digest_of(contents):
    """The artifact's digest, from its manifest's contents."""
    text = "wandb-artifact-manifest-v1\n" + "".join(
        f"{path}:{contents[path]['digest']}\n"
        for path in sorted(contents, key=lambda path: path.encode()))
    return hashlib.md5(text.encode()).hexdigest()


class Version:
    """An artifact, in W&B's words: one version of a collection."""

    def __init__(self, number, collection, fields):
        self.id = base64.b64encode(f"Artifact:{number}".encode()).decode()
        self.collection, self.fields = collection, fields
        self.state, self.version = "PENDING", None
        self.manifest_file, self.manifest = None, None
        self.files = {}  # name: md5 (base64)

    def aliases(self):
        return sorted(alias for alias, version in self.collection.aliases.items()
                      if version is self)

    def contents(self):
        return (self.manifest or {}).get("contents", {})


class Collection:
    def __init__(self, entity, project, name, type_name):
        self.entity, self.project, self.name, self.type = entity, project, name, type_name
        self.versions, self.aliases = [], {}
        self.client_id = None

    def find(self, alias):
        if alias in self.aliases:
            return self.aliases[alias]
        return next((version for version in self.versions
                     if f"v{version.version}" == alias), None)

    def latest(self):
        return self.aliases.get("latest")


class Artifacts:
    def __init__(self, storage, runs, problem):
        self.storage, self.runs, self.problem = storage, runs, problem
        self.collections, self.versions, self.manifests, self.clients = {}, {}, {}, {}
        self.births = {}  # md5: the first artifact that had these bytes
        self.api_url = None

    def mutations(self):
        return {"createArtifact": self.create, "createArtifactManifest": self.create_manifest,
                "updateArtifactManifest": self.update_manifest,
                "createArtifactFiles": self.create_files, "commitArtifact": self.commit,
                "useArtifact": self.use, "addAliases": self.add_aliases,
                "deleteAliases": self.delete_aliases, "updateArtifact": self.update}

    def queries(self):
        return {"artifact": lambda id: self.node(self.versions.get(id)),
                "clientIDMapping": self.client_mapping}

    def project_fields(self, entity, project):
        def collection(name):
            return self.collections.get((entity, project, name))

        def by_name(name):
            found = collection(name.rpartition(":")[0])
            return found and found.find(name.rpartition(":")[2])

        return {
            "artifact": lambda name: self.node(by_name(name)),
            "artifactCollectionMembership": lambda name: self.membership(by_name(name)),
            "artifactCollection": lambda name: self.collection_node(collection(name)),
            "artifactType": lambda name: {
                "name": name,
                "artifactCollection": lambda name: self.collection_node(collection(name))},
        }

    def need(self, artifact_id):
        if artifact_id not in self.versions:
            raise Refused(f"artifact {artifact_id} not found")
        return self.versions[artifact_id]

    # making one

    def create(self, input):
        check_members("input", INPUTS["CreateArtifactInput"], input, INPUTS)
        if input.get("runName"):
            self.runs.need(input["entityName"], input["projectName"], input["runName"])
        names = input.get("artifactCollectionNames") or [input.get("artifactCollectionName")]
        if len(names) != 1 or not names[0] or "/" in names[0] or len(names[0]) > 128:
            raise Refused(f"artifact collection names {names!r}")
        collection = self.collection_for(input, names[0])
        latest = collection.latest()
        version = self.known(collection, input)
        if not version:
            version = Version(len(self.versions) + 1, collection, input)
            self.versions[version.id] = version
        if input.get("clientID"):
            self.clients[input["clientID"]] = version
        if input.get("sequenceClientID"):
            self.clients[input["sequenceClientID"]] = collection
        if version.state == "COMMITTED":
            self.give_aliases(version, input.get("aliases") or [])
            self.belongs_to_run(version, input)
        return {"artifact": {**self.node(version), "artifactSequence": {
            "id": collection.name, "latestArtifact": self.node(latest)}}}

    def collection_for(self, input, name):
        key = (input["entityName"] or self.runs.default_entity, input["projectName"], name)
        if key not in self.collections:
            self.collections[key] = Collection(*key, input["artifactTypeName"])
        if self.collections[key].type != input["artifactTypeName"]:
            raise Refused(f"artifact collection {name} has the type {self.collections[key].type}, "
                          f"not {input['artifactTypeName']}")
        return self.collections[key]

    @staticmethod
    def known(collection, input):
        if not input.get("enableDigestDeduplication"):
            return None
        return next((version for version in collection.versions
                     if version.fields["digest"] == input["digest"]), None)

    def create_manifest(self, input):
        check_members("input", INPUTS["CreateArtifactManifestInput"], input, INPUTS)
        version = self.need(input["artifactID"])
        if input["name"] not in ("wandb_manifest.json", "wandb_manifest.incremental.json",
                                 "wandb_manifest.patch.json"):
            raise Refused(f"manifest name {input['name']!r}")
        manifest_id = f"manifest-{len(self.manifests) + 1}"
        self.manifests[manifest_id] = version
        return self.manifest_node(manifest_id, version, input["digest"])

    def update_manifest(self, input):
        check_members("input", INPUTS["UpdateArtifactManifestInput"], input, INPUTS)
        if input["artifactManifestID"] not in self.manifests:
            raise Refused(f"manifest {input['artifactManifestID']} not found")
        return self.manifest_node(input["artifactManifestID"],
                                  self.manifests[input["artifactManifestID"]], input["digest"])

    def manifest_node(self, manifest_id, version, digest):
        def done(body):
            if base64.b64encode(hashlib.md5(body).digest()).decode() != digest:
                self.problem(f"manifest of {version.collection.name}: its digest is not {digest}")
            version.manifest_file, version.manifest = body, json.loads(body)

        def url():
            return self.storage.url(self.storage.expect(
                f"{version.collection.name}/wandb_manifest.json", done))

        return {"artifactManifest": {"id": manifest_id, "file": {
            "id": f"file-{manifest_id}", "uploadUrl": url,
            "uploadHeaders": [f"{key}: {value}" for key, value in self.storage.HEADERS.items()]}}}

    def create_files(self, input):
        check_members("input", INPUTS["CreateArtifactFilesInput"], input, INPUTS)
        return {"files": {"edges": [{"node": self.file_upload(spec)}
                                    for spec in input["artifactFiles"]]}}

    def file_upload(self, spec):
        version, md5 = self.need(spec["artifactID"]), spec["md5"]
        if len(base64.b64decode(md5)) != 16:
            raise Refused(f"md5 {md5!r} of {spec['name']!r}")
        if spec.get("artifactManifestID") not in self.manifests:
            raise Refused(f"manifest {spec.get('artifactManifestID')!r} not found")
        if spec.get("uploadPartsInput"):
            raise Refused("uploads in parts are for files of 2 GiB")
        version.files[spec["name"]] = md5
        self.births.setdefault(md5, version)

        def done(body):
            if base64.b64encode(hashlib.md5(body).digest()).decode() != md5:
                self.problem(f"artifact file {spec['name']!r}: md5 is not {md5}")
            self.storage.objects[md5] = body

        known = md5 in self.storage.objects
        token = None if known else self.storage.expect(f"artifact/{spec['name']}", done)
        return {"storagePath": f"wandb_artifacts/{spec['name']}", "uploadMultipartUrls": None,
                "uploadUrl": None if known else self.storage.url(token),
                "uploadHeaders": [f"{key}: {value}" for key, value in self.storage.HEADERS.items()],
                "artifact": {"id": self.births[md5].id}}

    def commit(self, input):
        version = self.need(input["artifactID"])
        if version.state == "COMMITTED":
            return {"artifact": self.node(version)}
        if version.manifest is None:
            raise Refused(f"artifact {version.collection.name} has no manifest")
        self.check_manifest(version)
        collection = version.collection
        version.state, version.version = "COMMITTED", len(collection.versions)
        collection.versions.append(version)
        self.give_aliases(version, (version.fields.get("aliases") or []) + [
            {"artifactCollectionName": collection.name, "alias": "latest"}])
        self.belongs_to_run(version, version.fields)
        return {"artifact": self.node(version)}

    def check_manifest(self, version):
        manifest, name = version.manifest, version.collection.name
        expected = {"version": 1, "storagePolicy": "wandb-storage-policy-v1"}
        for key, value in expected.items():
            if manifest.get(key) != value:
                self.problem(f"manifest of {name}: {key} is {manifest.get(key)!r}")
        if manifest.get("storagePolicyConfig", {}).get("storageLayout") != "V2":
            self.problem(f"manifest of {name}: {manifest.get('storagePolicyConfig')!r}")
        if digest_of(version.contents()) != version.fields["digest"]:
            self.problem(f"artifact {name}: the digest is {digest_of(version.contents())}, and "
                         f"{version.fields['digest']} was said")
        for path, entry in version.contents().items():
            if "ref" not in entry:
                self.check_entry(name, path, entry)

    def check_entry(self, name, path, entry):
        body = self.storage.objects.get(entry["digest"])
        if body is None:
            self.problem(f"artifact {name}: {path!r} was not uploaded")
        elif entry.get("size") != len(body):
            self.problem(f"artifact {name}: {path!r} has {len(body)} bytes, the manifest says "
                         f"{entry.get('size')}")
        elif entry.get("birthArtifactID") != self.births[entry["digest"]].id:
            self.problem(f"artifact {name}: {path!r} has the birthArtifactID "
                         f"{entry.get('birthArtifactID')!r}")

    def give_aliases(self, version, aliases):
        for alias in aliases:
            if alias["artifactCollectionName"] != version.collection.name:
                raise Refused(f"alias {alias} is for another collection")
            version.collection.aliases[alias["alias"]] = version

    def belongs_to_run(self, version, input):
        run = self.runs.find(input["entityName"], input["projectName"], input.get("runName"))
        if run and version not in run.logged:
            run.logged.append(version)

    # using one

    def use(self, input):
        check_members("input", INPUTS["UseArtifactInput"], input, INPUTS)
        run = self.runs.need(input["entityName"], input["projectName"], input["runName"])
        version = self.need(input["artifactID"])
        if version.state != "COMMITTED":
            self.problem(f"artifact {version.collection.name} is used before its commit")
        if version not in run.used:
            run.used.append(version)
        return {"artifact": self.node(version)}

    def add_aliases(self, input):
        self.give_aliases(self.need(input["artifactID"]), input["aliases"])
        return {"success": True}

    def delete_aliases(self, input):
        collection = self.need(input["artifactID"]).collection
        for alias in input["aliases"]:
            collection.aliases.pop(alias["alias"], None)
        return {"success": True}

    def update(self, input):
        version = self.need(input["artifactID"])
        for key in ("description", "metadata"):
            if input.get(key) is not None:
                version.fields[key] = input[key]
        return {"artifact": self.node(version)}

    def client_mapping(self, clientID):
        found = self.clients.get(clientID)
        if isinstance(found, Collection):
            found = found.latest()
        return found and {"serverID": found.id}

    # as the queries see them

    def collection_node(self, collection):
        return collection and {
            "__typename": "ArtifactSequence", "id": collection.name, "name": collection.name,
            "project": self.runs.model(collection.project, collection.entity) | {"internalId": "1"},
            "digestAlgorithm": None,
            "artifactMembership": lambda aliasName: self.membership(collection.find(aliasName))}

    def alias_nodes(self, version):
        return [{"__typename": "ArtifactAlias", "id": f"alias-{alias}", "alias": alias,
                 "artifactCollection": self.collection_node(version.collection)}
                for alias in version.aliases()]

    def membership(self, version):
        return version and {
            "__typename": "ArtifactCollectionMembership", "id": f"membership-{version.id}",
            "versionIndex": version.version, "createdAt": "2026-01-02T03:04:05Z",
            "aliases": self.alias_nodes(version), "artifact": self.node(version),
            "artifactCollection": self.collection_node(version.collection),
            "files": lambda names=None, after=None, first=50: self.files(version, names, after,
                                                                         first)}

    def node(self, version):
        if not version:
            return None
        contents, fields = version.contents(), version.fields
        return {
            "__typename": "Artifact", "id": version.id, "state": version.state,
            "artifactSequence": self.collection_node(version.collection),
            "versionIndex": version.version, "artifactType": {"name": version.collection.type},
            "description": fields.get("description"), "metadata": fields.get("metadata"),
            "ttlDurationSeconds": -1, "ttlIsInherited": True, "tags": [],
            "historyStep": fields.get("historyStep"), "digest": fields["digest"],
            "size": sum(entry.get("size", 0) for entry in contents.values()),
            "digestAlgorithm": "MANIFEST_MD5", "commitHash": version.id,
            "fileCount": len(contents), "createdAt": "2026-01-02T03:04:05Z",
            "updatedAt": None, "aliases": self.alias_nodes(version),
            "currentManifest": lambda: version.manifest and {"file": {
                "directUrl": self.storage.offer(version.manifest_file)}},
            "files": lambda names=None, after=None, first=50: self.files(version, names, after,
                                                                         first)}

    def files(self, version, names, after, first):
        entries = sorted((path, entry) for path, entry in version.contents().items()
                         if "ref" not in entry and (not names or path in names))
        start = int(after or 0)
        page = entries[start:start + (first or 50)]
        more = start + len(page) < len(entries)
        return {"totalCount": len(entries),
                "pageInfo": {"__typename": "PageInfo", "hasNextPage": more,
                             "endCursor": str(start + len(page))},
                "edges": [{"node": self.file_node(path, entry)} for path, entry in page]}

    def file_node(self, path, entry):
        body = self.storage.objects[entry["digest"]]
        url = self.storage.offer(body)
        return {"__typename": "File", "id": path, "name": path, "displayName": path, "url": url,
                "directUrl": url, "sizeBytes": len(body), "storagePath": path, "mimetype": None,
                "updatedAt": None, "digest": entry["digest"], "md5": entry["digest"]}

    def download(self, parts):
        """/artifactsV2/REGION/ENTITY/PROJECT/COLLECTION/[ARTIFACT/]BIRTH/MD5/NAME"""
        if len(parts) not in (7, 8):
            return None
        body = self.storage.objects.get(base64.b64encode(bytes.fromhex(parts[-2])).decode())
        birth = self.versions.get(parts[-3])
        return body if birth and (parts[1], parts[2]) == (birth.collection.entity,
                                                          birth.collection.project) else None

    def state(self):
        return {f"{entity}/{project}/{name}": {
            "type": collection.type, "aliases": {alias: f"v{version.version}" for alias, version
                                                 in collection.aliases.items()},
            "versions": [{"digest": version.fields["digest"], "contents": version.contents(),
                          "metadata": json.loads(version.fields.get("metadata") or "null"),
                          "description": version.fields.get("description")}
                         for version in collection.versions]}
            for (entity, project, name), collection in self.collections.items()}
