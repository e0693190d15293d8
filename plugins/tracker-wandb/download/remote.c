/* SPDX-License-Identifier: Apache-2.0 */
/* Finding an artifact by its name, and saying who uses it. */
#include "remote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apikey.h"

enum { MANIFEST_LIMIT = 512 << 20 };

static const accel__wandb_operation_t by_name = {
    "ArtifactMembershipByName",
    "query ArtifactMembershipByName($entity: String!, $project: String!, $name: String!) { "
    "project(name: $project, entityName: $entity) { artifactCollectionMembership(name: $name) { "
    "versionIndex aliases { alias } artifactCollection { name project { name entity { name } } } "
    "artifact { id state artifactType { name } description metadata digest } } } }"};

static const accel__wandb_operation_t fetch_manifest = {
    "FetchArtifactManifest", "query FetchArtifactManifest($id: ID!) { artifact(id: $id) { "
                             "currentManifest { file { directUrl } } } }"};

static const accel__wandb_operation_t by_id = {
    "ArtifactByID",
    "query ArtifactByID($id: ID!) { artifact(id: $id) { id state versionIndex aliases { alias } "
    "artifactSequence { name project { name entity { name } } } artifactType { name } description "
    "metadata digest } }"};

/* A question's way to the server. */
typedef struct {
    accel__wandb_remote_t *remote;
    accel__wandb_http_t *http;
    accel__wandb_retry_t retry;
} connection_t;

static char *keep(accel__wandb_remote_t *remote, const char *text)
{
    return text ? accel__wandb_arena_copy(&remote->arena, text, strlen(text)) : NULL;
}

/* ---- the server ---- */

static accel_status_t find_server(accel__wandb_remote_t *remote,
                                  const accel__wandb_settings_t *settings)
{
    char *key = NULL;
    accel_status_t status = accel__wandb_api_key_find(settings, &key);
    if (status)
        return status;
    if (!key)
        return accel__wandb_fail(ACCEL_ERR_STATE, "wandb: artifacts are on the server, and no API "
                                                  "key was found; set WANDB_API_KEY, or run "
                                                  "`accel login`");
    accel__wandb_http_options_t server = accel__wandb_http_options(settings);
    const char **texts[] = {&server.base_url,   &server.username,    &server.email,
                            &server.http_proxy, &server.https_proxy, &server.extra_headers};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        *texts[i] = keep(remote, *texts[i]); /* the settings may go before it does */
    server.api_key = keep(remote, key);
    remote->server = server;
    remote->patience = settings->init_timeout > 0 ? settings->init_timeout : 90;
    explicit_bzero(key, strlen(key));
    free(key);
    return remote->arena.failed ? accel__wandb_fail_memory() : ACCEL_OK;
}

static accel_status_t ask(const connection_t *connection, const accel__wandb_operation_t *operation,
                          json_t *variables, json_t **data)
{
    return accel__wandb_graphql(connection->http, operation, variables, &connection->retry, 30,
                                NULL, data, NULL);
}

/* ---- names ---- */

/* [[ENTITY/]PROJECT/]NAME[:ALIAS]; an alias may have a '/' in it. */
static accel_status_t parse_name(accel__wandb_remote_t *remote, const accel__wandb_wanted_t *wanted,
                                 const char **name)
{
    size_t path = strcspn(wanted->name, ":"), parts = 1;
    char *copy = keep(remote, wanted->name), *rest = copy;
    if (!copy)
        return accel__wandb_fail_memory();
    for (size_t i = 0; i < path; i++)
        parts += copy[i] == '/';
    remote->entity = keep(remote, wanted->entity);
    remote->project = keep(remote, wanted->project);
    if (parts == 3)
        remote->entity = strsep(&rest, "/");
    if (parts >= 2)
        remote->project = strsep(&rest, "/");
    if (parts > 3 || !*rest || *rest == ':' || (remote->entity && !*remote->entity) ||
        (remote->project && !*remote->project))
        return accel__wandb_fail(ACCEL_ERR_INVALID,
                                 "wandb: the artifact's name is '%s'; expected "
                                 "[[ENTITY/]PROJECT/]NAME[:ALIAS]",
                                 wanted->name);
    if (!remote->project)
        return accel__wandb_fail(ACCEL_ERR_INVALID,
                                 "wandb: '%s' has no project; write PROJECT/NAME, or set "
                                 "WANDB_PROJECT",
                                 wanted->name);
    if (!strchr(rest, ':')) {
        size_t size = strlen(rest) + sizeof(":latest");
        char *whole = accel__wandb_arena_take(&remote->arena, size);
        if (whole)
            snprintf(whole, size, "%s:latest", rest);
        rest = whole;
    }
    *name = rest;
    return rest ? ACCEL_OK : accel__wandb_fail_memory();
}

/* Whose key is it? Names without an entity mean that one. */
static accel_status_t find_entity(const connection_t *connection)
{
    json_t *data = NULL;
    if (connection->remote->entity)
        return ACCEL_OK;
    accel_status_t status = ask(connection, &accel__wandb_viewer, json_object(), &data);
    if (status)
        return status;
    connection->remote->entity =
        keep(connection->remote, ACCEL__WANDB_TEXT_AT(data, "viewer", "entity"));
    json_decref(data);
    return connection->remote->entity
               ? ACCEL_OK
               : accel__wandb_fail(ACCEL_ERR_STATE,
                                   "wandb: the server does not know the API key's owner; write "
                                   "ENTITY/PROJECT/NAME");
}

/* ---- what the server says ---- */

static void read_aliases(accel__wandb_remote_t *remote, json_t *aliases)
{
    size_t count = json_array_size(aliases);
    const char **names = accel__wandb_arena_take(&remote->arena, (count + 1) * sizeof(*names));
    remote->view.aliases = names;
    for (size_t i = 0; i < count && names; i++) {
        const char *alias = ACCEL__WANDB_TEXT_AT(json_array_get(aliases, i), "alias");
        if (alias)
            names[remote->view.num_aliases++] = keep(remote, alias);
    }
}

static const char *print_name(accel__wandb_remote_t *remote)
{
    accel__wandb_text_t text = {0};
    accel__wandb_text_printf(&text, "%s/%s/%s:%s", remote->entity, remote->project,
                             remote->collection, remote->version);
    const char *name = text.failed ? NULL : keep(remote, text.data);
    accel__wandb_text_free(&text);
    return name;
}

static accel_status_t read_membership(accel__wandb_remote_t *remote, json_t *membership)
{
    json_t *artifact = accel__wandb_json_at(membership, "artifact", NULL);
    json_t *collection = accel__wandb_json_at(membership, "artifactCollection", NULL);
    const json_t *index = json_object_get(membership, "versionIndex");
    const char *project = ACCEL__WANDB_TEXT_AT(collection, "project", "name");
    const char *entity = ACCEL__WANDB_TEXT_AT(collection, "project", "entity", "name");
    char version[32];
    snprintf(version, sizeof(version), "v%lld", (long long)json_integer_value(index));
    remote->entity = entity ? keep(remote, entity) : remote->entity;
    remote->project = project ? keep(remote, project) : remote->project;
    remote->collection = keep(remote, ACCEL__WANDB_TEXT_AT(collection, "name"));
    remote->version = keep(remote, version);
    remote->id = keep(remote, ACCEL__WANDB_TEXT_AT(artifact, "id"));
    remote->digest = keep(remote, ACCEL__WANDB_TEXT_AT(artifact, "digest"));
    remote->view.name = remote->collection;
    remote->view.type = keep(remote, ACCEL__WANDB_TEXT_AT(artifact, "artifactType", "name"));
    remote->view.description = keep(remote, ACCEL__WANDB_TEXT_AT(artifact, "description"));
    remote->view.metadata = keep(remote, ACCEL__WANDB_TEXT_AT(artifact, "metadata"));
    read_aliases(remote, json_object_get(membership, "aliases"));
    if (remote->arena.failed)
        return accel__wandb_fail_memory();
    if (!remote->collection || !remote->id || !remote->digest || !remote->view.type ||
        !json_is_integer(index))
        return accel__wandb_fail(ACCEL_ERR_FORMAT,
                                 "wandb: the server's answer about the artifact is not whole");
    remote->qualified_name = print_name(remote);
    return remote->qualified_name ? ACCEL_OK : accel__wandb_fail_memory();
}

static accel_status_t find_by_name(const connection_t *connection, const char *name)
{
    accel__wandb_remote_t *remote = connection->remote;
    json_t *data = NULL;
    accel_status_t status = ask(connection, &by_name,
                                json_pack("{s:s, s:s, s:s}", "entity", remote->entity, "project",
                                          remote->project, "name", name),
                                &data);
    if (status)
        return status;
    json_t *membership =
        accel__wandb_json_at(data, "project", "artifactCollectionMembership", NULL);
    if (json_is_object(membership))
        status = read_membership(remote, membership);
    else
        status = accel__wandb_fail(ACCEL_ERR_NOT_FOUND,
                                   "wandb: there is no artifact '%s' in %s/%s, or the API key may "
                                   "not see it",
                                   name, remote->entity, remote->project);
    json_decref(data);
    return status;
}

static accel_status_t get_text(const connection_t *connection, const char *url,
                               accel__wandb_reply_t *reply)
{
    const accel__wandb_request_t request = {
        .method = ACCEL__WANDB_GET, .url = url, .file = -1, .limit = MANIFEST_LIMIT};
    accel__wandb_retry_t retry = connection->retry;
    char why[400];
    retry.kind = ACCEL__WANDB_RETRY_TRANSFER;
    accel__wandb_http_insist(connection->http, &request, &retry, NULL, reply);
    if (accel__wandb_reply_good(reply))
        return ACCEL_OK;
    accel__wandb_reply_describe(reply, why, sizeof(why));
    return accel__wandb_fail(ACCEL_ERR_IO, "wandb: the manifest of %s cannot be read: %s",
                             connection->remote->qualified_name, why);
}

static accel_status_t find_manifest(const connection_t *connection)
{
    accel__wandb_remote_t *remote = connection->remote;
    accel__wandb_reply_t reply = {0};
    json_t *data = NULL;
    accel_status_t status =
        ask(connection, &fetch_manifest, json_pack("{s:s}", "id", remote->id), &data);
    if (status)
        return status;
    const char *url =
        ACCEL__WANDB_TEXT_AT(data, "artifact", "currentManifest", "file", "directUrl");
    if (!url) {
        json_decref(data);
        return accel__wandb_fail(ACCEL_ERR_FORMAT, "wandb: the server has no manifest of %s",
                                 remote->qualified_name);
    }
    status = get_text(connection, url, &reply);
    if (!status)
        status = accel__wandb_remote_manifest(remote, reply.body.data ? reply.body.data : "",
                                              reply.body.length);
    accel__wandb_reply_free(&reply);
    json_decref(data);
    return status;
}

/* The run's project is not that of the artifact, and a name without one meant the run's. */
static accel_status_t mark_used(const connection_t *connection, const accel__wandb_wanted_t *wanted)
{
    json_t *data = NULL;
    if (!wanted->run_id)
        return ACCEL_OK;
    accel_status_t status = ask(connection, &accel__wandb_use_artifact,
                                json_pack("{s:{s:s, s:s, s:s, s:s}}", "input", "entityName",
                                          wanted->entity, "projectName", wanted->project, "runName",
                                          wanted->run_id, "artifactID", connection->remote->id),
                                &data);
    if (!status)
        json_decref(data);
    return status;
}

static accel_status_t get(const connection_t *connection, const accel__wandb_wanted_t *wanted,
                          const char *name)
{
    accel__wandb_remote_t *remote = connection->remote;
    accel_status_t status = find_entity(connection);
    if (!status)
        status = find_by_name(connection, name);
    if (!status && wanted->type && strcmp(wanted->type, remote->view.type) != 0)
        status =
            accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: the artifact %s is of type '%s', not '%s'",
                              remote->qualified_name, remote->view.type, wanted->type);
    if (!status)
        status = find_manifest(connection);
    return status ? status : mark_used(connection, wanted);
}

/* ---- life ---- */

void accel__wandb_remote_destroy(accel__wandb_remote_t *remote)
{
    if (!remote)
        return;
    if (remote->server.api_key)
        explicit_bzero((char *)remote->server.api_key, strlen(remote->server.api_key));
    accel__wandb_arena_free(&remote->arena);
    free(remote);
}

static accel__wandb_retry_t patient(double seconds)
{
    return (accel__wandb_retry_t){ACCEL__WANDB_RETRY_API, 20, 2, 60,
                                  accel__wandb_monotonic() + seconds};
}

accel_status_t accel__wandb_remote_get(const accel__wandb_wanted_t *wanted,
                                       accel__wandb_remote_t **remote)
{
    accel__wandb_remote_t *made = calloc(1, sizeof(*made));
    connection_t connection = {.remote = made};
    const char *name = NULL;
    if (!made)
        return accel__wandb_fail_memory();
    accel_status_t status = parse_name(made, wanted, &name);
    if (!status)
        status = find_server(made, wanted->settings);
    if (!status)
        status = accel__wandb_http_create(&made->server, &connection.http);
    connection.retry = patient(made->patience);
    if (!status)
        status = get(&connection, wanted, name);
    accel__wandb_http_destroy(connection.http);
    if (status)
        accel__wandb_remote_destroy(made);
    else
        *remote = made;
    return status;
}

/* ---- one that is on its way ---- */

accel_status_t accel__wandb_remote_expect(const accel__wandb_settings_t *settings,
                                          const char *client_id, accel__wandb_remote_t **remote)
{
    accel__wandb_remote_t *made = calloc(1, sizeof(*made));
    if (!made)
        return accel__wandb_fail_memory();
    accel_status_t status = find_server(made, settings);
    made->client_id = keep(made, client_id);
    if (!status && !made->client_id)
        status = accel__wandb_fail_memory();
    if (status)
        accel__wandb_remote_destroy(made);
    else
        *remote = made;
    return status;
}

/* *done, once the server has the whole of it. */
static accel_status_t look(const connection_t *connection, bool *done)
{
    accel__wandb_remote_t *remote = connection->remote;
    json_t *mapping = NULL, *data = NULL;
    accel_status_t status = ask(connection, &accel__wandb_client_id_mapping,
                                json_pack("{s:s}", "clientID", remote->client_id), &mapping);
    const char *id = ACCEL__WANDB_TEXT_AT(mapping, "clientIDMapping", "serverID");
    if (!status && id)
        status = ask(connection, &by_id, json_pack("{s:s}", "id", id), &data);
    json_t *artifact = accel__wandb_json_at(data, "artifact", NULL);
    const char *state = ACCEL__WANDB_TEXT_AT(artifact, "state");
    if (!status && state && !strcmp(state, "COMMITTED")) {
        json_t *membership = json_pack("{s:O?, s:O?, s:O?, s:O}", "versionIndex",
                                       json_object_get(artifact, "versionIndex"), "aliases",
                                       json_object_get(artifact, "aliases"), "artifactCollection",
                                       json_object_get(artifact, "artifactSequence"), "artifact",
                                       artifact);
        status = membership ? read_membership(remote, membership) : accel__wandb_fail_memory();
        json_decref(membership);
        *done = true;
    }
    json_decref(mapping);
    json_decref(data);
    return status;
}

accel_status_t accel__wandb_remote_wait(accel__wandb_remote_t *remote, double timeout)
{
    connection_t connection = {.remote = remote, .retry = patient(timeout)};
    accel_status_t status = accel__wandb_http_create(&remote->server, &connection.http);
    uint64_t seen = 0;
    bool done = false;
    for (double pause = 0.1; !status; pause = pause < 2 ? 2 * pause : 2) {
        status = look(&connection, &done);
        if (status || done)
            break;
        if (accel__wandb_monotonic() + pause > connection.retry.deadline)
            status = accel__wandb_fail(ACCEL_ERR_TIMEOUT,
                                       "wandb: the artifact is not on the server after %g s; it "
                                       "is in the run's log, and will be sent",
                                       timeout);
        else
            accel__wandb_alarm_wait(NULL, pause, &seen);
    }
    if (!status)
        status = find_manifest(&connection);
    accel__wandb_http_destroy(connection.http);
    return status;
}
