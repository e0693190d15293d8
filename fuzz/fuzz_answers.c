/* SPDX-License-Identifier: Apache-2.0 */
/* A server that answers what the input says (see fuzz.h), to a run with a bit of everything that
 * asks it something. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "log.h"
#include "wandb.pb-c.h"

static void put(accel__wandb_log_t *log, const Wandb__Record *record)
{
    uint8_t packed[4096];
    FUZZ_CHECK(wandb__record__get_packed_size(record) <= sizeof(packed));
    accel__wandb_log_append(log, packed, wandb__record__pack(record, packed));
}

/* protobuf-c's structures are not for constants. */
static char *text(const char *constant)
{
    return (char *)(uintptr_t)constant;
}

static void put_run(accel__wandb_log_t *log)
{
    Wandb__Record record = WANDB__RECORD__INIT;
    Wandb__Timestamp start = WANDB__TIMESTAMP__INIT;
    Wandb__RunRecord run = WANDB__RUN_RECORD__INIT;
    start.seconds = 1767000000;
    run.start_time = &start;
    run.run_id = text("r");
    run.project = text("p");
    run.resume = true; /* asks what the run was before */
    record.run = &run;
    put(log, &record);
}

static void put_history(accel__wandb_log_t *log)
{
    Wandb__Record record = WANDB__RECORD__INIT;
    Wandb__Item step = WANDB__ITEM__INIT, loss = WANDB__ITEM__INIT;
    Wandb__Item *items[] = {&step, &loss};
    Wandb__HistoryRecord history = WANDB__HISTORY_RECORD__INIT;
    step.key = text("_step");
    step.value_json = text("0");
    loss.key = text("loss");
    loss.value_json = text("0.5");
    history.item = items;
    history.n_item = 2;
    record.history = &history;
    put(log, &record);
}

static void put_files(accel__wandb_log_t *log)
{
    Wandb__Record record = WANDB__RECORD__INIT;
    Wandb__FilesItem item = WANDB__FILES_ITEM__INIT;
    Wandb__FilesItem *items[] = {&item};
    Wandb__FilesRecord files = WANDB__FILES_RECORD__INIT;
    item.path = text("saved.txt");
    files.files = items;
    files.n_files = 1;
    record.files = &files;
    put(log, &record);
}

static void put_artifacts(accel__wandb_log_t *log)
{
    Wandb__Record record = WANDB__RECORD__INIT;
    static char place[256];
    char *aliases[] = {text("latest")};
    Wandb__ArtifactManifestEntry entry = WANDB__ARTIFACT_MANIFEST_ENTRY__INIT;
    Wandb__ArtifactManifestEntry *entries[] = {&entry};
    Wandb__ArtifactManifest manifest = WANDB__ARTIFACT_MANIFEST__INIT;
    Wandb__ArtifactRecord artifact = WANDB__ARTIFACT_RECORD__INIT;
    Wandb__UseArtifactRecord use = WANDB__USE_ARTIFACT_RECORD__INIT;
    snprintf(place, sizeof(place), "%s", fuzz_path("files/saved.txt"));
    entry.path = text("saved.txt");
    entry.digest = text("XUFAKrxLKna5cZ2REBfFkg==");
    entry.size = 5;
    entry.local_path = place;
    manifest.version = 1;
    manifest.storage_policy = text("wandb-storage-policy-v1");
    manifest.contents = entries;
    manifest.n_contents = 1;
    artifact.type = text("model");
    artifact.name = text("a");
    artifact.digest = text("0cc175b9c0f1b6a831c399e269772661");
    artifact.client_id = text("c");
    artifact.sequence_client_id = text("s");
    artifact.aliases = aliases;
    artifact.n_aliases = 1;
    artifact.finalize = artifact.use_after_commit = true;
    artifact.manifest = &manifest;
    record.artifact = &artifact;
    put(log, &record);
    use.id = text("QXJ0aWZhY3Q6MQ==");
    record.artifact = NULL;
    record.use_artifact = &use;
    put(log, &record);
}

static const char *make_run(void)
{
    static char path[256];
    accel__wandb_log_t log;
    Wandb__Record record = WANDB__RECORD__INIT;
    Wandb__RunExitRecord over = WANDB__RUN_EXIT_RECORD__INIT;
    fuzz_begin();
    FUZZ_CHECK(mkdir("files", 0777) == 0);
    fuzz_write("files/saved.txt", "hello", 5);
    snprintf(path, sizeof(path), "%s", fuzz_path("run-r.wandb"));
    FUZZ_CHECK(accel__wandb_log_open(&log, path) == 0);
    put_run(&log);
    put_history(&log);
    put_files(&log);
    put_artifacts(&log);
    record.exit = &over;
    put(&log, &record);
    FUZZ_CHECK(accel__wandb_log_commit(&log) == 0);
    accel__wandb_log_close(&log);
    return path;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *log;
    if (!log)
        log = make_run();
    fuzz_answers(data, size);
    fuzz_sync(log);
    return 0;
}
