/* SPDX-License-Identifier: Apache-2.0 */
/* What the judge wandb_artifacts.py has done with artifacts of a server:
 *     program-wandb_artifacts get NAME TYPE ROOT [PREFIX|skip]
 *     program-wandb_artifacts use NAME DIRECTORY
 *     program-wandb_artifacts wait DIRECTORY FILE
 *     program-wandb_artifacts log DIRECTORY FILES
 * Prints what the artifact is and where it was downloaded to; an error on stderr, with exit code
 * 3. */
#include <accel/accel.h>
#include <accel/wandb.h>

static int fail(void)
{
    fprintf(stderr, "%s\n", accel_last_error());
    return 3;
}

static void show(const accel_wandb_artifact_t *artifact, const char *root)
{
    static const char *const facts[] = {"qualified_name", "version", "digest", "entity", "project"};
    const accel_artifact_view_t *view = accel_wandb_artifact_view(artifact);
    for (size_t i = 0; i < sizeof(facts) / sizeof(*facts); i++)
        printf("%s=%s\n", facts[i], accel_wandb_artifact_info(artifact, facts[i]));
    printf("name=%s\ntype=%s\ndescription=%s\nmetadata=%s\nroot=%s\n", view->name, view->type,
           view->description ? view->description : "(none)",
           view->metadata ? view->metadata : "(none)", root);
    for (int64_t i = 0; i < view->num_aliases; i++)
        printf("alias=%s\n", view->aliases[i]);
    for (int64_t i = 0; i < view->num_entries; i++)
        printf("entry=%s %s %lld %s\n", view->entries[i].path, view->entries[i].digest,
               (long long)view->entries[i].size,
               view->entries[i].reference ? view->entries[i].reference : "-");
}

static int get(const char *name, const char *type, const char *folder, const char *prefix)
{
    accel_wandb_artifact_t *artifact = NULL;
    const char *root = NULL;
    accel_wandb_download_options_t options = accel_wandb_download_options_init();
    bool skip = prefix && !strcmp(prefix, "skip");
    options.root = *folder ? folder : NULL;
    options.path_prefix = skip ? NULL : prefix;
    options.skip_references = skip;
    accel_status_t status = accel_wandb_artifact_get(name, *type ? type : NULL, &artifact);
    if (status == ACCEL_OK)
        status = accel_wandb_artifact_download(artifact, &options, &root);
    if (status == ACCEL_OK)
        show(artifact, root);
    accel_wandb_artifact_destroy(artifact);
    return status == ACCEL_OK ? 0 : fail();
}

static int use(const char *name, const char *directory)
{
    accel_wandb_run_t *run = NULL;
    accel_wandb_artifact_t *artifact = NULL;
    if (accel_wandb_init(
            ACCEL_DICT("project", "art", "id", "user1", "dir", directory, "mode", "online"),
            &run) != ACCEL_OK)
        return fail();
    accel_status_t status = accel_wandb_run_use_artifact(run, name, "dataset", &artifact);
    int code = status == ACCEL_OK ? 0 : fail();
    if (status == ACCEL_OK)
        show(artifact, "");
    accel_wandb_artifact_destroy(artifact);
    if (accel_wandb_run_finish(run, code) != ACCEL_OK)
        return fail();
    return code;
}

/* Logged, waited for, downloaded, all by one run. */
static int wait_for(const char *directory, const char *file)
{
    accel_wandb_run_t *run = NULL;
    accel_artifact_t *artifact;
    accel_wandb_artifact_t *stored = NULL;
    accel_wandb_download_options_t options = accel_wandb_download_options_init();
    const char *root = NULL;
    char folder[4096];
    snprintf(folder, sizeof(folder), "%s/waited", directory);
    options.root = folder;
    if (accel_wandb_init(ACCEL_DICT("project", "art", "dir", directory), &run) != ACCEL_OK)
        return fail();
    ACCEL_CHECK(accel_artifact_create("waited", "dataset", NULL, &artifact));
    ACCEL_CHECK(accel_artifact_add_file(artifact, file, NULL));
    ACCEL_CHECK(accel_wandb_run_log_artifact(run, artifact));
    accel_artifact_destroy(artifact);
    accel_status_t status = accel_wandb_run_wait_artifact(run, "waited", 60, &stored);
    if (status == ACCEL_OK)
        status = accel_wandb_artifact_download(stored, &options, &root);
    int code = status == ACCEL_OK ? 0 : fail();
    if (status == ACCEL_OK)
        show(stored, root);
    if (accel_wandb_run_wait_artifact(run, "another", 1, NULL) != ACCEL_ERR_STATE)
        code = 4;
    accel_wandb_artifact_destroy(stored);
    if (accel_wandb_run_finish(run, code) != ACCEL_OK)
        return fail();
    return code;
}

/* An offline run with an artifact of everything that can be added. */
static int log_one(const char *directory, const char *files)
{
    accel_wandb_run_t *run;
    accel_artifact_t *artifact;
    char path[4096], uri[4200];
    const char *aliases[] = {"best", NULL};
    snprintf(path, sizeof(path), "%s/plain.txt", files);
    snprintf(uri, sizeof(uri), "file://%s", path);
    ACCEL_CHECK(accel_wandb_init(
        ACCEL_DICT("project", "art", "id", "logger1", "dir", directory, "mode", "offline"), &run));
    ACCEL_CHECK(
        accel_artifact_create("ours", "dataset",
                              ACCEL_ARTIFACT_OPTIONS(.description = "words", .aliases = aliases,
                                                     .metadata = ACCEL_DICT("k", 1, "x", 0.5)),
                              &artifact));
    ACCEL_CHECK(accel_artifact_add_file(artifact, path, "renamed/plain.txt"));
    ACCEL_CHECK(accel_artifact_add_dir(artifact, files, "all"));
    ACCEL_CHECK(accel_artifact_add_reference(artifact, uri, "by/reference.txt", NULL));
    snprintf(uri, sizeof(uri), "file://%s", files);
    ACCEL_CHECK(accel_artifact_add_reference(artifact, uri, "folder", NULL));
    ACCEL_CHECK(accel_artifact_add_reference(artifact, "https://example.org/a/b", "web", NULL));
    ACCEL_CHECK(accel_wandb_run_log_artifact(run, artifact));
    accel_artifact_destroy(artifact);
    ACCEL_CHECK(accel_wandb_run_finish(run, 0));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 5 && !strcmp(argv[1], "get"))
        return get(argv[2], argv[3], argv[4], argc > 5 ? argv[5] : NULL);
    if (argc == 4 && !strcmp(argv[1], "use"))
        return use(argv[2], argv[3]);
    if (argc == 4 && !strcmp(argv[1], "wait"))
        return wait_for(argv[2], argv[3]);
    if (argc == 4 && !strcmp(argv[1], "log"))
        return log_one(argv[2], argv[3]);
    return 2;
}
