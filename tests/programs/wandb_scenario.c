/* SPDX-License-Identifier: Apache-2.0 */
/* The scenarios of tests/oracle/_wandb_play.py, played from C: program-wandb_scenario NAME...
 * The server must end up knowing the same. What is not on the server goes to outcome.txt. Several
 * are played each in a folder of its name. */
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <accel/accel.h>
#include <accel/wandb.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static accel_wandb_run_t *run;

static void outcome(const char *format, ...) ACCEL_PRINTF(1, 2);

static void outcome(const char *format, ...)
{
    FILE *file = fopen("outcome.txt", "a");
    va_list arguments;

    if (!file)
        abort();
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    fclose(file);
}

static const char *write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        abort();
    return path;
}

/* wandb.init(project="conformance", id=id, name="name of ID", **more) */
static accel_status_t try_start(const char *id, const accel_item_t *more)
{
    accel_item_t arguments[16];
    char name[64];
    size_t count = 3;

    snprintf(name, sizeof(name), "name of %s", id);
    arguments[0] = accel_item_string("project", "conformance");
    arguments[1] = accel_item_string("id", id);
    arguments[2] = accel_item_string("name", name);
    for (; more && more->type != ACCEL_TYPE_END; more++)
        arguments[count++] = *more;
    arguments[count] = accel_item_end();
    return accel_wandb_init(arguments, &run);
}

static void start(const char *id, const accel_item_t *more)
{
    ACCEL_CHECK(try_start(id, more));
}

static void row(const accel_item_t *values)
{
    ACCEL_CHECK(accel_wandb_run_log(run, values, ACCEL_NO_STEP));
}

static void row_at(const accel_item_t *values, int64_t step)
{
    ACCEL_CHECK(accel_wandb_run_log(run, values, step));
}

static void finish(void)
{
    ACCEL_CHECK(accel_wandb_run_finish(run, 0));
}

static void scalars(void)
{
    start("scalars", ACCEL_DICT("config", ACCEL_DICT("lr", 0.01)));
    for (int step = 0; step < 20; step++)
        row_at(ACCEL_DICT("loss", 1.0 / (step + 1), "accuracy", step * 0.05, "epoch", step / 5),
               step);
    finish();
}

/* The same through an accelerator. */
static void accelerated(void)
{
    accel_t *accelerator;

    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.log_with = "wandb"), &accelerator));
    ACCEL_CHECK(accel_init_trackers(
        accelerator, "conformance", ACCEL_DICT("lr", 0.01),
        ACCEL_DICT("wandb", ACCEL_DICT("id", "accelerated", "name", "name of accelerated"))));
    for (int step = 0; step < 20; step++)
        ACCEL_CHECK(accel_log(
            accelerator,
            ACCEL_DICT("loss", 1.0 / (step + 1), "accuracy", step * 0.05, "epoch", step / 5),
            step));
    ACCEL_CHECK(accel_end_training(accelerator));
    accel_destroy(accelerator);
}

static void nested_config(void)
{
    start("nested_config",
          ACCEL_DICT("config", ACCEL_DICT("model",
                                          ACCEL_DICT("layers", ACCEL_LIST(1, 2), "act",
                                                     ACCEL_DICT("name", "relu")),
                                          "lr", 0.1)));
    row(ACCEL_DICT("x", 1));
    ACCEL_CHECK(accel_wandb_run_config_update(
        run, ACCEL_DICT("lr", 0.2, "added", ACCEL_DICT("deep", ACCEL_DICT("er", ACCEL_TRUE)))));
    row(ACCEL_DICT("x", 2));
    ACCEL_CHECK(accel_wandb_run_config_update(
        run, ACCEL_DICT("model", ACCEL_DICT("layers", ACCEL_LIST(3)))));
    finish();
}

static void config_types(void)
{
    const accel_item_t *deep =
        ACCEL_DICT("a", ACCEL_DICT("b", ACCEL_DICT("c", ACCEL_DICT("d", 1))));
    const accel_item_t *config = ACCEL_DICT(
        "int", 1, "big", (int64_t)1 << 53, "negative", -7, "float", 0.1, "tiny", 1e-30, "huge",
        1e30, "true", ACCEL_TRUE, "false", ACCEL_FALSE, "none", NULL, "text", "\xc3\xa9\n\"<>&",
        "empty", "", "list", ACCEL_LIST(1, 2.5, "x", NULL, ACCEL_TRUE), "object", deep, "nan", NAN,
        "inf", INFINITY);

    start("config_types", ACCEL_DICT("config", config));
    row(ACCEL_DICT("x", 1));
    finish();
}

static void steps(void)
{
    start("steps", NULL);
    row(ACCEL_DICT("a", 1));
    row_at(ACCEL_DICT("a", 2), 5);
    row_at(ACCEL_DICT("b", 3), 5);
    row_at(ACCEL_DICT("a", 4), 3); /* late: dropped */
    row_at(ACCEL_DICT("a", 5), 9);
    ACCEL_CHECK(accel_wandb_run_log_commit(run, ACCEL_DICT("a", 6), ACCEL_NO_STEP, false));
    row(ACCEL_DICT("b", 7));
    row_at(ACCEL_DICT("a", 8), 100);
    row_at(NULL, 200);
    row(ACCEL_DICT("a", 9));
    finish();
}

static void values(void)
{
    start("values", NULL);
    row(ACCEL_DICT("nan", NAN, "inf", INFINITY, "ninf", -INFINITY, "s",
                   "\xe6\x97\xa5\xe6\x9c\xac \xc3\xa9 \xe2\x80\xa8 \"\\", "b", ACCEL_TRUE, "n",
                   NULL, "neg", -0.0, "i", -((int64_t)1 << 53), "e", 1e-7));
    row(ACCEL_DICT("nested", ACCEL_DICT("a", 1, "b", ACCEL_DICT("c", 2.5)), "list",
                   ACCEL_LIST(1, 2, 3), "train/loss", 0.5, "a.b", 1));
    row(ACCEL_DICT("nested", ACCEL_DICT("a", 2), "nan", 1.5));
    finish();
}

static void define(const char *name, const char *step_metric, const char *summary, bool hidden)
{
    ACCEL_CHECK(accel_wandb_run_define_metric(run, name,
                                              ACCEL_WANDB_METRIC_OPTIONS(.step_metric = step_metric,
                                                                         .summary = summary,
                                                                         .hidden = hidden)));
}

static void define_metric(void)
{
    static const double accuracy[] = {0.1, 0.9, 0.5, 0.7, 0.3};

    start("define_metric", NULL);
    define("epoch", NULL, NULL, true);
    define("val/*", "epoch", NULL, false);
    define("loss", NULL, "min", false);
    define("acc", "epoch", "max,last", false);
    define("mean", NULL, "mean", false);
    define("first", NULL, "first", false);
    define("quiet", NULL, "none", false);
    define("deep.inner", NULL, "max", false);
    for (int step = 0; step < 5; step++)
        row(ACCEL_DICT("epoch", step * 2, "val/f1", 0.1 * step, "loss", (step - 2) * (step - 2),
                       "acc", accuracy[step], "mean", step, "first", step, "quiet", step, "deep",
                       ACCEL_DICT("inner", 4 - step)));
    finish();
}

static void summary(void)
{
    start("summary", NULL);
    row(ACCEL_DICT("loss", 2.0, "other", 1));
    ACCEL_CHECK(accel_wandb_run_summary_update(run, ACCEL_DICT("loss", 0.5)));
    ACCEL_CHECK(accel_wandb_run_summary_update(
        run, ACCEL_DICT("best", ACCEL_DICT("epoch", 3, "value", 0.25), "text", "done")));
    row(ACCEL_DICT("other", 2));
    ACCEL_CHECK(accel_wandb_run_summary_update(run, ACCEL_DICT("other", 7)));
    row(ACCEL_DICT("third", 3));
    finish();
}

static void exit_code(void)
{
    start("exit_code", NULL);
    row(ACCEL_DICT("x", 1));
    ACCEL_CHECK(accel_wandb_run_finish(run, 3));
}

static void identity(void)
{
    start("identity", ACCEL_DICT("entity", "some-team", "group", "g 1", "job_type", "train",
                                 "notes", "two\nlines", "tags", ACCEL_LIST("t1", "t\xc3\xa9")));
    row(ACCEL_DICT("x", 1));
    ACCEL_CHECK(accel_wandb_run_set_name(run, "another name"));
    ACCEL_CHECK(accel_wandb_run_set_tags(run, ACCEL_LIST("t1", "t\xc3\xa9", "late")));
    ACCEL_CHECK(accel_wandb_run_set_notes(run, "changed"));
    finish();
}

static void resume_allow(void)
{
    for (int part = 0; part < 2; part++) {
        start("resume_allow",
              ACCEL_DICT("resume", "allow", "config", ACCEL_DICT(part ? "part1" : "part0", part)));
        for (int value = 0; value < 3; value++)
            row(ACCEL_DICT("x", part * 10 + value));
        finish();
    }
}

static void refused(const char *id, const char *resume)
{
    if (try_start(id, ACCEL_DICT("resume", resume)) == ACCEL_OK)
        outcome("no error\n");
    else
        outcome("refused %s\n", strstr(accel_last_error(), id) ? "True" : "False");
}

static void resume_must(void)
{
    refused("missing", "must");
    start("resume_must", ACCEL_DICT("notes", "some notes", "tags", ACCEL_LIST("one"), "config",
                                    ACCEL_DICT("a", 1)));
    row(ACCEL_DICT("x", 1, "kept", 5));
    finish();
    start("resume_must", ACCEL_DICT("resume", "must", "config", ACCEL_DICT("b", 2)));
    row(ACCEL_DICT("x", 2));
    finish();
}

static void resume_never(void)
{
    start("resume_never", ACCEL_DICT("resume", "never"));
    row(ACCEL_DICT("x", 1));
    finish();
    refused("resume_never", "never");
}

/* The first process is killed; the second, in the same folder, goes on. */
static void resume_auto(void)
{
    if (access("killed", F_OK) != 0) {
        ACCEL_CHECK(accel_wandb_init(
            ACCEL_DICT("project", "conformance", "id", "resume_auto", "resume", "auto"), &run));
        for (int step = 0; step < 5; step++)
            row(ACCEL_DICT("x", step));
        write_file("killed", "");
        pause();
    }
    ACCEL_CHECK(accel_wandb_init(ACCEL_DICT("project", "conformance", "resume", "auto"), &run));
    outcome("%s\n", accel_wandb_run_id(run));
    row(ACCEL_DICT("x", 100));
    finish();
}

static accel_media_t *gradient(int32_t width, int32_t height, int shift, const char *caption)
{
    uint8_t pixels[64 * 64 * 3];
    accel_media_t *media;

    for (int32_t y = 0; y < height; y++) {
        for (int32_t x = 0; x < width; x++)
            memset(pixels + 3 * (y * width + x), (x * 5 + shift) % 256, 3);
    }
    ACCEL_CHECK(accel_image_create(&(accel_image_t){.data = pixels,
                                                    .dtype = ACCEL_U8,
                                                    .height = height,
                                                    .width = width,
                                                    .channels = 3,
                                                    .caption = caption},
                                   &media));
    return media;
}

/* Logs {key: media}, and lets it go. */
static void row_of(const char *key, accel_media_t *media)
{
    row(ACCEL_DICT(key, media));
    accel_media_destroy(media);
}

static void images(void)
{
    accel_media_t *one = gradient(16, 8, 0, "a caption");
    accel_media_t *list[] = {gradient(8, 8, 0, "c0"), gradient(8, 8, 1, "c1"),
                             gradient(8, 8, 2, "c2")};

    start("images", NULL);
    row(ACCEL_DICT("one", one, "x", 1));
    row(ACCEL_DICT("list", ACCEL_LIST(list[0], list[1], list[2])));
    accel_media_destroy(one);
    for (size_t i = 0; i < COUNT(list); i++)
        accel_media_destroy(list[i]);
    finish();
}

static void histogram(void)
{
    accel_media_t *media;

    start("histogram", NULL);
    ACCEL_CHECK(accel_histogram_create_np((double[]){1, 3, 2}, (double[]){0, 1, 2, 3}, 3, &media));
    row_of("given", media);
    ACCEL_CHECK(
        accel_histogram_create((double[]){0.0, 0.5, 1.0, 1.0, 2.0, 4.0}, ACCEL_F64, 6, 4, &media));
    row_of("values", media);
    finish();
}

static void table(void)
{
    accel_media_t *media;

    start("table", NULL);
    ACCEL_CHECK(accel_table_create((const char *[]){"n", "s", "b"}, 3, &media));
    ACCEL_CHECK(accel_table_add_data(media, ACCEL_LIST(1, "a", ACCEL_TRUE)));
    ACCEL_CHECK(accel_table_add_data(media, ACCEL_LIST(2.5, "b", ACCEL_FALSE)));
    row_of("t", media);
    finish();
}

static void html(void)
{
    accel_media_t *page, *raw;

    start("html", NULL);
    ACCEL_CHECK(accel_html_create("<p>hello</p>", true, &page));
    ACCEL_CHECK(accel_html_create("<b>x</b>", false, &raw));
    row(ACCEL_DICT("page", page, "raw", raw));
    accel_media_destroy(page);
    accel_media_destroy(raw);
    finish();
}

static void audio(void)
{
    float samples[800];
    accel_media_t *media;

    for (int i = 0; i < 800; i++)
        samples[i] = (float)(i % 100 - 50) / 64;
    start("audio", NULL);
    ACCEL_CHECK(accel_audio_create(samples, 800, 1, 8000, "saw", &media));
    row_of("sound", media);
    finish();
}

static void artifact(void)
{
    const char *aliases[] = {"best", "v-one", NULL};
    accel_artifact_t *made;
    char weights[801] = "";

    for (size_t i = 0; i < 100; i++)
        memcpy(weights + 8 * i, "weights ", 9);
    start("artifact", NULL);
    row(ACCEL_DICT("x", 1));
    ACCEL_CHECK(accel_artifact_create(
        "weights", "model",
        ACCEL_ARTIFACT_OPTIONS(.description = "some words",
                               .metadata =
                                   ACCEL_DICT("k", 1, "deep", ACCEL_DICT("a", ACCEL_LIST(1, 2))),
                               .aliases = aliases),
        &made));
    ACCEL_CHECK(accel_artifact_add_file(made, write_file("w.bin", weights), NULL));
    mkdir("folder", 0777);
    mkdir("folder/a", 0777);
    write_file("folder/a/\xc3\xa9.txt", "text");
    ACCEL_CHECK(accel_artifact_add_dir(made, "folder", "dir"));
    ACCEL_CHECK(accel_artifact_add_file(made, write_file("empty", ""), NULL));
    ACCEL_CHECK(accel_artifact_add_reference(made, "https://example.org/data/1", "ref", NULL));
    ACCEL_CHECK(accel_wandb_run_log_artifact(run, made));
    accel_artifact_destroy(made);
    finish();
}

static void dedup(void)
{
    static const char *const texts[] = {"one", "one", "two"};
    static const char *const aliases[][2] = {{"a", NULL}, {"b", NULL}, {"c", NULL}};

    start("dedup", NULL);
    row(ACCEL_DICT("x", 1));
    for (size_t i = 0; i < COUNT(texts); i++) {
        accel_artifact_t *made;

        ACCEL_CHECK(accel_artifact_create("set", "dataset",
                                          ACCEL_ARTIFACT_OPTIONS(.aliases = aliases[i]), &made));
        ACCEL_CHECK(accel_artifact_add_file(made, write_file("f.txt", texts[i]), NULL));
        ACCEL_CHECK(accel_artifact_add_file(made, write_file("same.txt", "never changes"), NULL));
        ACCEL_CHECK(accel_wandb_run_log_artifact(run, made));
        accel_artifact_destroy(made);
    }
    finish();
}

/* What was just logged is there a moment later. */
static accel_wandb_artifact_t *use_soon(const char *name)
{
    accel_wandb_artifact_t *found;
    accel_status_t status = ACCEL_ERR_NOT_FOUND;

    for (int tries = 0; status == ACCEL_ERR_NOT_FOUND && tries < 150; tries++) {
        status = accel_wandb_run_use_artifact(run, name, NULL, &found);
        if (status == ACCEL_ERR_NOT_FOUND)
            usleep(100000);
    }
    ACCEL_CHECK(status);
    return found;
}

static void tell_file(const char *root, const char *name)
{
    char path[4096], text[100];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", root, name);
    file = fopen(path, "r");
    if (!file || !fgets(text, sizeof(text), file))
        abort();
    fclose(file);
    outcome("%s %s\n", name, text);
}

static void use(void)
{
    const char *aliases[] = {"first", NULL};
    accel_artifact_t *made;
    accel_wandb_artifact_t *used;
    const char *root;

    start("use", NULL);
    row(ACCEL_DICT("x", 1));
    ACCEL_CHECK(accel_artifact_create(
        "set", "dataset",
        ACCEL_ARTIFACT_OPTIONS(.metadata = ACCEL_DICT("k", "v"), .aliases = aliases), &made));
    ACCEL_CHECK(accel_artifact_add_file(made, write_file("f.txt", "one"), NULL));
    mkdir("deep", 0777);
    ACCEL_CHECK(accel_artifact_add_file(made, write_file("deep/g.txt", "two"), "deep/g.txt"));
    ACCEL_CHECK(accel_wandb_run_log_artifact(run, made));
    accel_artifact_destroy(made);
    used = use_soon("set:first");
    outcome("%s %s %s\n", accel_wandb_artifact_info(used, "version"),
            accel_wandb_artifact_view(used)->type, accel_wandb_artifact_info(used, "digest"));
    ACCEL_CHECK(
        accel_wandb_artifact_download(used, ACCEL_WANDB_DOWNLOAD_OPTIONS(.root = "got"), &root));
    tell_file(root, "f.txt");
    tell_file(root, "deep/g.txt");
    accel_wandb_artifact_destroy(used);
    finish();
}

static void saved_files(void)
{
    start("saved_files", NULL);
    row(ACCEL_DICT("x", 1));
    ACCEL_CHECK(accel_wandb_run_save(run, write_file("now.txt", "now"), NULL, ACCEL_WANDB_NOW));
    mkdir("sub", 0777);
    ACCEL_CHECK(
        accel_wandb_run_save(run, write_file("sub/end.txt", "before"), ".", ACCEL_WANDB_END));
    write_file("sub/end.txt", "after");
    mkdir("many", 0777);
    write_file("many/a.json", "a");
    write_file("many/b.json", "b");
    ACCEL_CHECK(accel_wandb_run_save(run, "many/*.json", ".", ACCEL_WANDB_NOW));
    finish();
}

static void console(void)
{
    start("console", NULL);
    printf("plain line\n");
    fflush(stdout);
    for (int done = 0; done < 5; done++) {
        printf("\rprogress %d", done);
        fflush(stdout);
    }
    printf("\n");
    fflush(stdout);
    row(ACCEL_DICT("x", 1));
    printf("\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac\n");
    printf("no newline at the end");
    fflush(stdout);
    finish();
}

static void wide(void)
{
    enum { KEYS = 1000 };
    static char names[KEYS][32];
    static accel_item_t items[KEYS + 1];

    start("wide", NULL);
    for (int step = 0; step < 3; step++) {
        for (int i = 0; i < KEYS; i++) {
            snprintf(names[i], sizeof(names[i]), "layer%d/w%d", i / 10, i % 10);
            items[i] = accel_item_float(names[i], i + step / 4.0);
        }
        items[KEYS] = accel_item_end();
        row(items);
    }
    finish();
}

static void large(void)
{
    static const size_t sizes[] = {100, 32760, 70000, 1 << 20, 5 << 20};
    char *text = malloc((5 << 20) + 1);

    if (!text)
        abort();
    start("large", NULL);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        memset(text, 'x', sizes[i]);
        text[sizes[i]] = '\0';
        row(ACCEL_DICT("size", (int64_t)sizes[i], "text", (const char *)text));
    }
    row(ACCEL_DICT("last", ACCEL_TRUE));
    free(text);
    finish();
}

static void many(void)
{
    start("many", NULL);
    for (int step = 0; step < 3000; step++)
        row(ACCEL_DICT("loss", 1.0 / (step + 1), "step7", step % 7));
    finish();
}

/* One run in three logs. */
static void segments(void)
{
    static const char *const keys[] = {"only0", "only1", "only2"};

    for (int part = 0; part < 3; part++) {
        start("segments", ACCEL_DICT("config", ACCEL_DICT("part", part)));
        for (int step = part * 10; step < part * 10 + 5; step++)
            row_at(ACCEL_DICT("x", step, keys[part], 1), step);
        finish();
        usleep(1100000); /* folders are called by the second */
    }
}

static const struct scenario {
    const char *name;
    void (*play)(void);
} scenarios[] = {
    {"scalars", scalars},
    {"accelerated", accelerated},
    {"nested_config", nested_config},
    {"config_types", config_types},
    {"steps", steps},
    {"values", values},
    {"define_metric", define_metric},
    {"summary", summary},
    {"exit_code", exit_code},
    {"identity", identity},
    {"resume_allow", resume_allow},
    {"resume_must", resume_must},
    {"resume_never", resume_never},
    {"resume_auto", resume_auto},
    {"images", images},
    {"histogram", histogram},
    {"table", table},
    {"html", html},
    {"audio", audio},
    {"artifact", artifact},
    {"dedup", dedup},
    {"use", use},
    {"saved_files", saved_files},
    {"console", console},
    {"wide", wide},
    {"large", large},
    {"many", many},
    {"segments", segments},
};

static bool play(const char *name)
{
    for (size_t i = 0; i < COUNT(scenarios); i++) {
        if (!strcmp(name, scenarios[i].name)) {
            scenarios[i].play();
            return true;
        }
    }
    fprintf(stderr, "there is no scenario %s\n", name);
    return false;
}

int main(int argc, char **argv)
{
    if (argc == 2)
        return play(argv[1]) ? 0 : 2;
    for (int i = 1; i < argc; i++) {
        if (mkdir(argv[i], 0777) != 0 || chdir(argv[i]) != 0 || !play(argv[i]) || chdir("..") != 0)
            return 2;
    }
    return 0;
}
