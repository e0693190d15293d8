/* SPDX-License-Identifier: Apache-2.0 */
/* The W&B plugin as a host sees it: loaded, and driven slot by slot. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "programs/wandb_host.h"
#include "test.h"

static const accel_tracker_class_t *wandb;

/* A world of our own: no settings of the machine's. */
static void set_up(void)
{
    char **at = environ;
    while (*at) {
        char name[128];
        size_t length = strcspn(*at, "=");
        if (!strncmp(*at, "WANDB_", 6) && length < sizeof(name)) {
            snprintf(name, sizeof(name), "%.*s", (int)length, *at);
            unsetenv(name);
            at = environ;
        } else {
            at++;
        }
    }
    unsetenv("XDG_CONFIG_HOME");
    unsetenv("XDG_DATA_HOME");
    unsetenv("NETRC");
    setenv("HOME", test_dir(), 1);
    CHECK(chdir(test_dir()) == 0);
    setenv("WANDB_SILENT", "true", 1);
    wandb = wandb_host_load();
    CHECK(wandb);
}

static accel_status_t create(const accel_item_t *kwargs, void **run)
{
    accel_tracker_init_t init = {.struct_size = sizeof(init),
                                 .project_name = "p",
                                 .init_kwargs = kwargs,
                                 .num_processes = 1};
    wandb_host_error[0] = '\0';
    return wandb->create(wandb->context, &init, run);
}

static void *begin(const accel_item_t *kwargs)
{
    void *run = NULL;
    accel_status_t status = create(kwargs, &run);
    if (status)
        test_fail(__FILE__, __LINE__, "create: %s", wandb_host_error);
    status = wandb->start(run);
    if (status)
        test_fail(__FILE__, __LINE__, "start: %s", wandb_host_error);
    return run;
}

static void end(void *run)
{
    CHECK_INT(ACCEL_OK, wandb->finish(run, 0));
    wandb->destroy(run);
}

static void refuses(accel_status_t expected, const char *text, const accel_item_t *kwargs)
{
    void *run = NULL;
    accel_status_t status = create(kwargs, &run);
    if (status != expected || !strstr(wandb_host_error, text))
        test_fail(__FILE__, __LINE__, "%s is %s: '%s', without '%s'", kwargs ? kwargs->key : "",
                  accel_status_name(status), wandb_host_error, text);
}

static void accepts(const accel_item_t *kwargs)
{
    void *run = NULL;
    accel_status_t status = create(kwargs, &run);
    if (status)
        test_fail(__FILE__, __LINE__, "%s: %s", kwargs->key, wandb_host_error);
    wandb->destroy(run);
}

static void every_argument_is_honoured(void)
{
    set_up();
    accepts(ACCEL_DICT("entity", "e", "project", "p", "dir", ".", "id", "i", "name", "n"));
    accepts(ACCEL_DICT("notes", "n", "tags", ACCEL_LIST("a", "b"), "group", "g", "job_type", "j"));
    accepts(ACCEL_DICT("tags", "one"));
    accepts(ACCEL_DICT("config", ACCEL_DICT("a", 1), "config_exclude_keys", ACCEL_LIST("a")));
    accepts(ACCEL_DICT("config", ACCEL_DICT("a", 1), "config_include_keys", ACCEL_LIST("a")));
    accepts(ACCEL_DICT("allow_val_change", ACCEL_TRUE, "mode", "offline", "force", ACCEL_TRUE));
    accepts(ACCEL_DICT("mode", "disabled"));
    accepts(ACCEL_DICT("mode", "dryrun"));
    accepts(ACCEL_DICT("reinit", "create_new", "resume", "allow"));
    accepts(ACCEL_DICT("reinit", ACCEL_FALSE, "resume", ACCEL_FALSE, "save_code", ACCEL_FALSE));
    accepts(ACCEL_DICT("tensorboard", ACCEL_FALSE, "sync_tensorboard", ACCEL_FALSE));
    accepts(ACCEL_DICT("monitor_gym", ACCEL_FALSE, "anonymous", "allow"));
    accepts(ACCEL_DICT("resume_from", NULL, "fork_from", NULL, "entity", NULL));
    accepts(ACCEL_DICT("settings", ACCEL_DICT("run_name", "n", "init_timeout", 90.0, "silent",
                                              ACCEL_TRUE, "run_tags", ACCEL_LIST("t"))));
}

static void what_cannot_be_is_refused_by_name(void)
{
    set_up();
    accel_status_t no = ACCEL_ERR_UNSUPPORTED, bad = ACCEL_ERR_INVALID;
    refuses(no, "'save_code'", ACCEL_DICT("save_code", ACCEL_TRUE));
    refuses(no, "'tensorboard'", ACCEL_DICT("tensorboard", ACCEL_TRUE));
    refuses(no, "'sync_tensorboard'", ACCEL_DICT("sync_tensorboard", ACCEL_TRUE));
    refuses(no, "'monitor_gym' has no meaning in a C program",
            ACCEL_DICT("monitor_gym", ACCEL_TRUE));
    refuses(no, "'resume_from'", ACCEL_DICT("resume_from", "x?_step=1"));
    refuses(no, "'fork_from'", ACCEL_DICT("fork_from", "x?_step=1"));
    refuses(no, "'reinit'", ACCEL_DICT("reinit", ACCEL_TRUE));
    refuses(no, "'reinit'", ACCEL_DICT("reinit", "return_previous"));
    refuses(bad, "'again'", ACCEL_DICT("reinit", "again"));
    refuses(ACCEL_ERR_STATE, "`accel login`", ACCEL_DICT("mode", "online"));
    refuses(no, "mode=\"shared\"", ACCEL_DICT("mode", "shared"));
    refuses(no, "'config.yaml'", ACCEL_DICT("config", "config.yaml"));
    refuses(no, "'notebook_name'", ACCEL_DICT("settings", ACCEL_DICT("notebook_name", "x")));
    refuses(bad, "'offlin'", ACCEL_DICT("mode", "offlin"));
    refuses(bad, "'sometimes'", ACCEL_DICT("resume", "sometimes"));
    refuses(bad, "give it once", ACCEL_DICT("project", "another"));
    refuses(ACCEL_ERR_STATE, "WANDB_API_KEY", ACCEL_DICT("force", ACCEL_TRUE));
}

static void an_unknown_argument_names_the_nearest(void)
{
    set_up();
    accel_status_t bad = ACCEL_ERR_INVALID;
    refuses(bad, "has no argument 'entty'; did you mean 'entity'?", ACCEL_DICT("entty", "e"));
    refuses(bad, "did you mean 'job_type'?", ACCEL_DICT("jobtype", "e"));
    refuses(bad, "has no argument 'zzzzzzzzzzzz'", ACCEL_DICT("zzzzzzzzzzzz", 1));
    CHECK(!strstr(wandb_host_error, "did you mean"));
}

static void wrong_types_are_named(void)
{
    set_up();
    accel_status_t bad = ACCEL_ERR_INVALID;
    refuses(bad, "'entity' must be a string", ACCEL_DICT("entity", 1));
    refuses(bad, "'tags' must be a list of strings", ACCEL_DICT("tags", ACCEL_LIST("a", 1)));
    refuses(bad, "'tags' must be a list of strings", ACCEL_DICT("tags", 7));
    refuses(bad, "'config' must be a dictionary", ACCEL_DICT("config", 7));
    refuses(bad, "'config_exclude_keys' must be a list of strings",
            ACCEL_DICT("config_exclude_keys", "a"));
    refuses(bad, "'force' must be true or false", ACCEL_DICT("force", 1));
    refuses(bad, "'save_code' must be true or false", ACCEL_DICT("save_code", "yes"));
    refuses(bad, "'settings' must be a dictionary", ACCEL_DICT("settings", 1));
    refuses(
        bad, "exclude each other",
        ACCEL_DICT("config_exclude_keys", ACCEL_LIST("a"), "config_include_keys", ACCEL_LIST("a")));
}

static void names_are_checked(void)
{
    set_up();
    accel_status_t bad = ACCEL_ERR_INVALID;
    char tag[66] = "";
    memset(tag, 't', 65);
    refuses(bad, "'a/b'", ACCEL_DICT("id", "a/b"));
    refuses(bad, "empty", ACCEL_DICT("id", ""));
    refuses(bad, "white space", ACCEL_DICT("id", " a"));
    refuses(bad, "65 characters", ACCEL_DICT("tags", ACCEL_LIST((const char *)tag)));
    refuses(bad, "0 characters", ACCEL_DICT("tags", ACCEL_LIST("")));
    accel_tracker_init_t init = {.struct_size = sizeof(init), .project_name = "a:b"};
    void *run;
    CHECK_INT(bad, wandb->create(wandb->context, &init, &run));
    CHECK(strstr(wandb_host_error, "'a:b'"));
}

/* Arguments over environment over the folder's settings over the user's. */
static void settings_have_their_precedence(void)
{
    set_up();
    CHECK(mkdir(".config", 0700) == 0 && mkdir(".config/wandb", 0700) == 0);
    CHECK(mkdir("wandb", 0700) == 0);
    FILE *file = fopen(".config/wandb/settings", "w");
    CHECK(file && fputs("[default]\nentity = user\nrun_name: user\nproject = user\n", file) >= 0);
    CHECK(fclose(file) == 0);
    void *run = begin(NULL);
    CHECK_STR("user", wandb->info(run, "entity"));
    CHECK_STR("p", wandb->info(run, "project"));
    end(run);
    file = fopen("wandb/settings", "w");
    CHECK(file && fputs("# ours\n[default]\nentity = folder\n[x]\nentity = x\n", file) >= 0);
    CHECK(fclose(file) == 0);
    run = begin(NULL);
    CHECK_STR("folder", wandb->info(run, "entity"));
    CHECK_STR("user", wandb->info(run, "name"));
    end(run);
    setenv("WANDB_ENTITY", "environment", 1);
    setenv("WANDB_RUN_ID", "env1", 1);
    run = begin(NULL);
    CHECK_STR("environment", wandb->info(run, "entity"));
    CHECK_STR("env1", wandb->info(run, "id"));
    end(run);
    run = begin(ACCEL_DICT("settings", ACCEL_DICT("entity", "settings", "run_id", "s1"), "entity",
                           "argument"));
    CHECK_STR("argument", wandb->info(run, "entity"));
    CHECK_STR("s1", wandb->info(run, "id"));
    end(run);
    setenv("WANDB_QUIET", "perhaps", 1);
    refuses(ACCEL_ERR_INVALID, "WANDB_QUIET is 'perhaps'", NULL);
}

static bool exists(const char *directory, const char *name)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return access(path, F_OK) == 0;
}

static void a_run_has_its_folder_and_links(void)
{
    set_up();
    void *run = begin(ACCEL_DICT("id", "abc", "dir", "runs"));
    const char *dir = wandb->info(run, "dir");
    char target[256] = "", command[4096];
    CHECK(strstr(dir, "/runs/wandb/offline-run-") && !strcmp(dir + strlen(dir) - 4, "-abc"));
    CHECK(exists(dir, "run-abc.wandb") && exists(dir, "files") && exists(dir, "logs/debug.log"));
    CHECK(readlink("runs/wandb/latest-run", target, sizeof(target) - 1) > 0);
    CHECK_STR(strrchr(dir, '/') + 1, target);
    CHECK(access("runs/wandb/debug.log", F_OK) == 0);
    snprintf(command, sizeof(command), "wandb sync %s", dir);
    CHECK_STR(command, wandb->info(run, "sync_command"));
    CHECK(!wandb->info(run, "name") && !wandb->info(run, "colour"));
    void *second = begin(ACCEL_DICT("id", "abc", "dir", "runs"));
    CHECK(strcmp(dir, wandb->info(second, "dir")) != 0);
    end(second);
    end(run);
}

static void disabled_writes_nothing(void)
{
    set_up();
    setenv("WANDB_MODE", "disabled", 1);
    void *run = begin(NULL);
    CHECK_INT(ACCEL_OK, wandb->store_init_configuration(run, ACCEL_DICT("a", 1)));
    CHECK_INT(ACCEL_OK, wandb->log(run, ACCEL_DICT("a", 1), 0, wandb_host_now()));
    CHECK_INT(ACCEL_OK, wandb->update_summary(run, ACCEL_DICT("a", 1)));
    CHECK_INT(ACCEL_OK,
              wandb->log_artifact(run, &(accel_artifact_view_t){.name = "a", .type = "t"}));
    CHECK(!wandb->info(run, "dir"));
    end(run);
    DIR *directory = opendir(".");
    CHECK(directory);
    for (struct dirent *entry; (entry = readdir(directory));)
        CHECK(entry->d_name[0] == '.' && strlen(entry->d_name) < 3);
    closedir(directory);
}

static void an_unwritable_folder_is_an_error(void)
{
    set_up();
    void *run = NULL;
    close(open("file", O_CREAT | O_WRONLY, 0600));
    CHECK_INT(ACCEL_OK, create(ACCEL_DICT("dir", "file/below"), &run));
    CHECK_INT(ACCEL_ERR_IO, wandb->start(run));
    CHECK(strstr(wandb_host_error, "'dir'") && strstr(wandb_host_error, "file/below"));
    wandb->destroy(run);
    CHECK(mkdir("ours", 0700) == 0);
    close(open("ours/wandb", O_CREAT | O_WRONLY, 0600));
    CHECK_INT(ACCEL_OK, create(ACCEL_DICT("dir", "ours"), &run));
    CHECK_INT(ACCEL_ERR_IO, wandb->start(run));
    CHECK(strstr(wandb_host_error, "ours/wandb"));
    wandb->destroy(run);
}

static void an_unwritable_root_falls_back(void)
{
    set_up();
    char temporary[4096];
    close(open("file", O_CREAT | O_WRONLY, 0600));
    snprintf(temporary, sizeof(temporary), "%s/temporary", test_dir());
    CHECK(mkdir(temporary, 0700) == 0);
    setenv("TMPDIR", temporary, 1);
    setenv("WANDB_DIR", "file/below", 1);
    void *run = begin(NULL);
    CHECK(!strncmp(wandb->info(run, "dir"), temporary, strlen(temporary)));
    end(run);
}

/* One error, then silence; the log holds what was whole. */
static void a_full_disk_is_reported_once(void)
{
    set_up();
    void *run = begin(ACCEL_DICT("id", "full"));
    char path[4096];
    struct stat before, after;
    snprintf(path, sizeof(path), "%s/run-full.wandb", wandb->info(run, "dir"));
    signal(SIGXFSZ, SIG_IGN);
    CHECK(stat(path, &before) == 0);
    rlim_t limit = (rlim_t)before.st_size + 5000;
    CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){limit, RLIM_INFINITY}) == 0);
    int errors = 0;
    for (int64_t step = 0; step < 200; step++) {
        accel_status_t status =
            wandb->log(run, ACCEL_DICT("x", step), ACCEL_NO_STEP, wandb_host_now());
        CHECK(status == ACCEL_OK || status == ACCEL_ERR_IO);
        errors += status == ACCEL_ERR_IO;
    }
    CHECK_INT(1, errors);
    CHECK(strstr(wandb_host_error, "run-full.wandb"));
    CHECK(stat(path, &after) == 0);
    CHECK(after.st_size > before.st_size && (rlim_t)after.st_size < limit);
    CHECK_INT(ACCEL_OK, wandb->finish(run, 0));
    wandb->destroy(run);
}

static int count_staged(void)
{
    int count = 0;
    DIR *directory = opendir("data/artifacts/staging");
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    if (directory)
        closedir(directory);
    return count;
}

static void an_artifact_that_fails_leaves_no_copies(void)
{
    set_up();
    setenv("WANDB_DATA_DIR", "data", 1);
    void *run = begin(NULL);
    char path[4096], missing[4096];
    snprintf(path, sizeof(path), "%s/file", test_dir());
    snprintf(missing, sizeof(missing), "%s/missing", test_dir());
    FILE *file = fopen(path, "w");
    CHECK(file && fputs("x", file) >= 0 && fclose(file) == 0);
    accel_artifact_entry_t entries[] = {{.path = "a", .local_path = path},
                                        {.path = "b", .local_path = missing}};
    accel_artifact_view_t artifact = {
        .name = "a", .type = "t", .entries = entries, .num_entries = 2};
    CHECK_INT(ACCEL_ERR_IO, wandb->log_artifact(run, &artifact));
    CHECK(strstr(wandb_host_error, missing));
    CHECK_INT(0, count_staged());
    artifact.num_entries = 1;
    CHECK_INT(ACCEL_OK, wandb->log_artifact(run, &artifact));
    CHECK_INT(1, count_staged());
    end(run);
}

/* A run that did not end well hands its id on; one that did, does not. */
static void resume_auto_goes_on_with_the_id(void)
{
    set_up();
    void *run = begin(ACCEL_DICT("resume", "auto"));
    char id[64];
    snprintf(id, sizeof(id), "%s", wandb->info(run, "id"));
    CHECK_INT(8, strlen(id));
    CHECK_INT(ACCEL_OK, wandb->finish(run, 1));
    wandb->destroy(run);
    run = begin(ACCEL_DICT("resume", ACCEL_TRUE));
    CHECK_STR(id, wandb->info(run, "id"));
    end(run);
    CHECK(access("wandb/wandb-resume.json", F_OK) != 0);
    run = begin(ACCEL_DICT("resume", "auto"));
    CHECK(strcmp(id, wandb->info(run, "id")) != 0);
    end(run);
}

static void types_of_wandb_itself_are_refused(void)
{
    static const char *const refused[][2] = {
        {"job", "any"}, {"run_table", "run-x"}, {"code", "source-x"}, {"wandb-history", "any"}};
    static const char *const taken[][2] = {{"run_table", "x"}, {"code", "x"}, {"model", "run-x"}};
    set_up();
    void *run = begin(NULL);
    for (size_t i = 0; i < 4; i++) {
        accel_artifact_view_t artifact = {.type = refused[i][0], .name = refused[i][1]};
        CHECK_INT(ACCEL_ERR_INVALID, wandb->log_artifact(run, &artifact));
    }
    CHECK(strstr(wandb_host_error, "'wandb-history' of the artifact 'any' is reserved"));
    for (size_t i = 0; i < 3; i++) {
        accel_artifact_view_t artifact = {.type = taken[i][0], .name = taken[i][1]};
        CHECK_INT(ACCEL_OK, wandb->log_artifact(run, &artifact));
    }
    end(run);
}

TEST_MAIN(TEST(every_argument_is_honoured), TEST(what_cannot_be_is_refused_by_name),
          TEST(an_unknown_argument_names_the_nearest), TEST(wrong_types_are_named),
          TEST(names_are_checked), TEST(settings_have_their_precedence),
          TEST(a_run_has_its_folder_and_links), TEST(disabled_writes_nothing),
          TEST(an_unwritable_folder_is_an_error), TEST(an_unwritable_root_falls_back),
          TEST(a_full_disk_is_reported_once), TEST(an_artifact_that_fails_leaves_no_copies),
          TEST(types_of_wandb_itself_are_refused), TEST(resume_auto_goes_on_with_the_id))
