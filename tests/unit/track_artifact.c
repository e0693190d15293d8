/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

#include <accel/track.h>

/* A path below the test's directory; a few are valid at a time. */
static const char *at(const char *name)
{
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof(paths[0]), "%s/%s", test_dir(), name);
    return path;
}

static void write_file(const char *name, const char *content)
{
    FILE *file = fopen(at(name), "w");

    CHECK(file && fputs(content, file) >= 0 && fclose(file) == 0);
}

static accel_artifact_t *make(void)
{
    accel_artifact_t *artifact;

    CHECK_OK(accel_artifact_create("files", "dataset", NULL, &artifact));
    return artifact;
}

static void names_types_and_aliases_are_checked(void)
{
    static const char *const slash[] = {"best", "a/b", NULL}, *const good[] = {"best", "v1.0",
                                                                               NULL};
    accel_artifact_t *artifact;
    char name[130];

    memset(name, 'a', 129);
    name[129] = '\0';
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_create(name, "model", NULL, &artifact));
    CHECK(!artifact);
    name[128] = '\0';
    CHECK_OK(accel_artifact_create(name, "model", NULL, &artifact));
    accel_artifact_destroy(artifact);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_create("a b", "model", NULL, &artifact));
    CHECK_ERROR("the name is 'a b'");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_create("", "model", NULL, &artifact));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_create(NULL, "model", NULL, &artifact));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_create("a", "", NULL, &artifact));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_create("a", "model", NULL, NULL));
    CHECK_STATUS(
        ACCEL_ERR_INVALID,
        accel_artifact_create("a", "model", ACCEL_ARTIFACT_OPTIONS(.aliases = slash), &artifact));
    CHECK_ERROR("the alias 'a/b'");
    CHECK_OK(accel_artifact_create(
        "a", "model", ACCEL_ARTIFACT_OPTIONS(.aliases = good, .description = "text"), &artifact));
    CHECK_INT(2, accel_artifact_view(artifact)->num_aliases);
    CHECK_STR("v1.0", accel_artifact_view(artifact)->aliases[1]);
    CHECK_STR("text", accel_artifact_view(artifact)->description);
    accel_artifact_destroy(artifact);
    accel_artifact_destroy(NULL);
}

static void metadata_is_json(void)
{
    const accel_item_t *metadata =
        ACCEL_DICT("lr", 0.1, "n", 3, "x", 2.0, "t", "a\"\n\x01", "l", ACCEL_LIST(1, ACCEL_TRUE),
                   "d", ACCEL_DICT("k", (char *)NULL));
    accel_artifact_t *artifact;
    accel_item_t many[102];

    CHECK_OK(accel_artifact_create("a", "model", ACCEL_ARTIFACT_OPTIONS(.metadata = metadata),
                                   &artifact));
    CHECK_STR("{\"lr\":0.1,\"n\":3,\"x\":2.0,\"t\":\"a\\\"\\n\\u0001\",\"l\":[1,true],"
              "\"d\":{\"k\":null}}",
              accel_artifact_view(artifact)->metadata);
    accel_artifact_destroy(artifact);

    metadata = ACCEL_DICT("d", ACCEL_DICT("bad", NAN));
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_artifact_create("a", "model", ACCEL_ARTIFACT_OPTIONS(.metadata = metadata),
                                       &artifact));
    CHECK_ERROR("metadata 'bad' is not a finite number");
    for (int i = 0; i < 101; i++)
        many[i] = accel_item_int("k", i);
    many[101] = accel_item_end();
    CHECK_STATUS(
        ACCEL_ERR_INVALID,
        accel_artifact_create("a", "model", ACCEL_ARTIFACT_OPTIONS(.metadata = many), &artifact));
    CHECK_ERROR("metadata has 101 keys");
}

static void paths_are_cleaned_and_unique(void)
{
    static const char *const outside[] = {"/abs", "../up", "a/../b", "a/..", "", ".", "./"};
    accel_artifact_t *artifact = make();
    const accel_artifact_view_t *view;

    write_file("f", "12345");
    CHECK_OK(accel_artifact_add_file(artifact, at("f"), "./z//b/."));
    CHECK_OK(accel_artifact_add_file(artifact, at("f"), NULL));
    CHECK_OK(accel_artifact_add_file(artifact, at("f"), "Z"));
    CHECK_OK(accel_artifact_add_file(artifact, at("f"), "a..b"));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_add_file(artifact, at("f"), "z/b"));
    CHECK_ERROR("has the path 'z/b' already");
    for (size_t i = 0; i < sizeof(outside) / sizeof(*outside); i++)
        CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_add_file(artifact, at("f"), outside[i]));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_add_file(artifact, at("f"), "\xff"));
    CHECK_STATUS(ACCEL_ERR_NOT_FOUND, accel_artifact_add_file(artifact, at("none"), NULL));
    CHECK_ERROR(at("none"));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_add_file(artifact, test_dir(), NULL));
    CHECK_ERROR("is a directory");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_add_file(artifact, NULL, NULL));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_add_file(NULL, at("f"), NULL));

    view = accel_artifact_view(artifact);
    CHECK_INT(4, view->num_entries);
    CHECK_STR("Z", view->entries[0].path);
    CHECK_STR("a..b", view->entries[1].path);
    CHECK_STR("f", view->entries[2].path);
    CHECK_STR("z/b", view->entries[3].path);
    CHECK_INT(5, view->entries[3].size);
    CHECK(view->entries[3].local_path[0] == '/');
    CHECK(!view->entries[3].reference && !view->entries[3].digest);
    accel_artifact_destroy(artifact);
}

static void directories_are_walked_through_links(void)
{
    accel_artifact_t *artifact = make();
    const accel_artifact_view_t *view;

    CHECK(mkdir(at("top"), 0777) == 0 && mkdir(at("top/sub"), 0777) == 0);
    CHECK(mkdir(at("elsewhere"), 0777) == 0);
    write_file("top/b", "b");
    write_file("top/a.txt", "a");
    write_file("top/sub/c", "c");
    write_file("elsewhere/d", "dd");
    CHECK(symlink(at("elsewhere"), at("top/link")) == 0);
    CHECK(symlink(at("elsewhere"), at("top/twice")) == 0);
    CHECK(mkfifo(at("top/pipe"), 0666) == 0);
    CHECK_OK(accel_artifact_add_dir(artifact, at("top"), NULL));
    view = accel_artifact_view(artifact);
    CHECK_INT(5, view->num_entries);
    CHECK_STR("a.txt", view->entries[0].path);
    CHECK_STR("b", view->entries[1].path);
    CHECK_STR("link/d", view->entries[2].path);
    CHECK_STR("sub/c", view->entries[3].path);
    CHECK_STR("twice/d", view->entries[4].path);
    CHECK(!strstr(view->entries[2].local_path, "link"));
    CHECK_INT(2, view->entries[2].size);

    CHECK_OK(accel_artifact_add_dir(artifact, at("elsewhere"), "more/"));
    CHECK_STR("more/d", accel_artifact_view(artifact)->entries[3].path);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_add_dir(artifact, at("elsewhere"), "more"));
    CHECK_STATUS(ACCEL_ERR_NOT_FOUND, accel_artifact_add_dir(artifact, at("none"), NULL));
    CHECK_STATUS(ACCEL_ERR_NOT_FOUND, accel_artifact_add_dir(artifact, at("top/b"), NULL));

    /* A failing walk leaves the artifact as it was. */
    CHECK(symlink("..", at("top/sub/loop")) == 0);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_add_dir(artifact, at("top"), "again"));
    CHECK_ERROR("a loop");
    CHECK(unlink(at("top/sub/loop")) == 0 && symlink("nowhere", at("top/sub/dangling")) == 0);
    CHECK_STATUS(ACCEL_ERR_NOT_FOUND, accel_artifact_add_dir(artifact, at("top"), "again"));
    CHECK_ERROR("top/sub/dangling");
    CHECK_INT(6, accel_artifact_view(artifact)->num_entries);
    accel_artifact_destroy(artifact);
}

static void references_are_uris(void)
{
    accel_artifact_t *artifact = make();
    const accel_artifact_entry_t *entries;

    CHECK_OK(accel_artifact_add_reference(artifact, "s3://bucket/x/data.bin", NULL, NULL));
    CHECK_OK(accel_artifact_add_reference(artifact, "https://host/y", "a/y", "etag"));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_add_reference(artifact, "/a/file", "n", NULL));
    CHECK_ERROR("'/a/file' is no URI");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_add_reference(artifact, "s3://b/", NULL, NULL));
    entries = accel_artifact_view(artifact)->entries;
    CHECK_STR("a/y", entries[0].path);
    CHECK_STR("etag", entries[0].digest);
    CHECK_STR("data.bin", entries[1].path);
    CHECK_STR("s3://bucket/x/data.bin", entries[1].digest);
    CHECK_STR("s3://bucket/x/data.bin", entries[1].reference);
    CHECK(!entries[1].local_path);
    CHECK_INT(-1, entries[1].size);
    accel_artifact_destroy(artifact);
}

static void files_are_made_from_memory(void)
{
    const accel_artifact_view_t *view;
    accel_artifact_t *artifact = make();
    char place[512], content[8] = "";
    FILE *file;

    CHECK_OK(accel_artifact_new_file(artifact, "sub/new.txt", "abc", 3));
    CHECK_OK(accel_artifact_new_file(artifact, "empty", NULL, 0));
    view = accel_artifact_view(artifact);
    CHECK_INT(2, view->num_entries);
    CHECK_STR("sub/new.txt", view->entries[1].path);
    CHECK_INT(3, view->entries[1].size);
    snprintf(place, sizeof(place), "%s", view->entries[1].local_path);
    file = fopen(place, "r");
    CHECK(file && fread(content, 1, 8, file) == 3 && fclose(file) == 0);
    CHECK_STR("abc", content);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_new_file(artifact, "empty", "x", 1));
    CHECK_ERROR("has the path 'empty' already");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_new_file(artifact, "../up", "x", 1));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_new_file(artifact, "null", NULL, 1));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_artifact_new_file(artifact, NULL, "x", 1));
    accel_artifact_destroy(artifact);
    CHECK(access(place, F_OK) != 0); /* it went with the artifact */
}

static void references_to_files_are_of_each_file(void)
{
    const accel_artifact_view_t *view;
    accel_artifact_t *artifact = make();
    char uri[600], expected[700];

    CHECK(mkdir(at("folder"), 0777) == 0);
    write_file("folder/one", "1");
    write_file("folder/two", "22");
    snprintf(uri, sizeof(uri), "file://%s", at("folder"));
    CHECK_OK(accel_artifact_add_reference(artifact, uri, "all", NULL));
    view = accel_artifact_view(artifact);
    CHECK_INT(2, view->num_entries);
    CHECK_STR("all/two", view->entries[1].path);
    snprintf(expected, sizeof(expected), "%s/two", uri);
    CHECK_STR(expected, view->entries[1].reference);
    CHECK_INT(2, view->entries[1].size);
    CHECK(!view->entries[1].local_path);
    CHECK_OK(accel_artifact_add_reference(artifact, expected, NULL, NULL));
    CHECK_STR("two", accel_artifact_view(artifact)->entries[2].path);
    snprintf(uri, sizeof(uri), "file://%s", at("none"));
    CHECK_STATUS(ACCEL_ERR_IO, accel_artifact_add_reference(artifact, uri, NULL, NULL));
    CHECK_OK(accel_artifact_add_reference(artifact, uri, NULL, "a check sum of mine"));
    accel_artifact_destroy(artifact);
}

static void immutable_files_stay_where_they_are(void)
{
    accel_artifact_t *artifact;

    write_file("big", "x");
    CHECK_OK(
        accel_artifact_create("a", "model", ACCEL_ARTIFACT_OPTIONS(.immutable = true), &artifact));
    CHECK_OK(accel_artifact_add_file(artifact, at("big"), NULL));
    CHECK_OK(accel_artifact_add_reference(artifact, "s3://b/k", NULL, NULL));
    CHECK(accel_artifact_view(artifact)->entries[0].immutable);
    CHECK(!accel_artifact_view(artifact)->entries[1].immutable);
    accel_artifact_destroy(artifact);
}

TEST_MAIN(TEST(names_types_and_aliases_are_checked), TEST(metadata_is_json),
          TEST(paths_are_cleaned_and_unique), TEST(directories_are_walked_through_links),
          TEST(references_are_uris), TEST(files_are_made_from_memory),
          TEST(references_to_files_are_of_each_file), TEST(immutable_files_stay_where_they_are))
