/* SPDX-License-Identifier: Apache-2.0 */
/* Media objects: what they hold, who shares them, and what is refused. What becomes of them under
 * W&B is judged by tests/oracle/wandb_media.py. */
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "track/journal.h"
#include "track/json.h"
#include "track/media.h"
#include "track/track.h"

static accel_media_t *image(const void *data, accel_dtype_t dtype, int height, int width,
                            int channels, double white)
{
    accel_image_t given = {data, dtype, height, width, channels, "a caption", white};
    accel_media_t *media;

    CHECK_OK(accel_image_create(&given, &media));
    return media;
}

static void refuse_image(const void *data, accel_dtype_t dtype, int height, int width, int channels,
                         double white)
{
    accel_image_t given = {data, dtype, height, width, channels, NULL, white};
    accel_media_t *media = (void *)1;

    CHECK_STATUS(ACCEL_ERR_INVALID, accel_image_create(&given, &media));
    CHECK(!media);
}

static void images_are_bytes(void)
{
    const float singles[] = {0, 0.5f, 1, 2, -1, NAN, INFINITY, -INFINITY, 0.999f};
    const uint8_t expected[] = {0, 127, 255, 255, 0, 0, 255, 0, 254};
    const double doubles[] = {0, 127.9, 255, 256, -1, 1};
    const uint8_t of_doubles[] = {0, 127, 255, 255, 0, 1};
    uint8_t bytes[2 * 2 * 4];
    accel_media_t *media;

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    media = image(bytes, ACCEL_U8, 2, 2, 4, 0);
    memset(bytes, 0, sizeof(bytes)); /* it has a copy */
    CHECK_INT(ACCEL_MEDIA_IMAGE, accel_media_view(media)->kind);
    CHECK_INT(15, accel_media_view(media)->of.image.pixels[15]);
    CHECK_STR("a caption", accel_media_view(media)->caption);
    accel_media_destroy(media);
    media = image(singles, ACCEL_F32, 3, 3, 1, 0);
    CHECK(memcmp(expected, accel_media_view(media)->of.image.pixels, sizeof(expected)) == 0);
    accel_media_destroy(media);
    media = image(doubles, ACCEL_F64, 1, 2, 3, 255);
    CHECK(memcmp(of_doubles, accel_media_view(media)->of.image.pixels, sizeof(of_doubles)) == 0);
    accel_media_destroy(media);
    accel_media_destroy(NULL);
    CHECK(!accel_media_view(NULL));
}

static void images_that_are_none_are_refused(void)
{
    const accel_image_t bad_caption = {"\0", ACCEL_U8, 1, 1, 1, "\xff", 0};
    accel_media_t *media;

    refuse_image(NULL, ACCEL_U8, 1, 1, 1, 0);
    refuse_image("", ACCEL_U8, 0, 1, 1, 0);
    CHECK_ERROR("0 x 1 x 1");
    refuse_image("", ACCEL_U8, 1, 0, 3, 0);
    refuse_image("", ACCEL_U8, -1, 1, 1, 0);
    refuse_image("", ACCEL_U8, INT32_MAX, INT32_MAX, 4, 0);
    refuse_image("", ACCEL_U8, 1, 65501, 1, 0);
    refuse_image("", ACCEL_U8, 1, 1, 2, 0);
    refuse_image("", ACCEL_I64, 1, 1, 1, 0);
    CHECK_ERROR("int64");
    refuse_image("", (accel_dtype_t)7, 1, 1, 1, 0);
    refuse_image("\0\0\0", ACCEL_F32, 1, 1, 1, -1);
    refuse_image("\0\0\0", ACCEL_F32, 1, 1, 1, NAN);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_image_create(NULL, &media));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_image_create(&bad_caption, &media));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_image_create(&bad_caption, NULL));
}

static void refuse_histogram(const void *values, accel_dtype_t dtype, int64_t count, int32_t bins,
                             const char *words)
{
    accel_media_t *media = (void *)1;

    CHECK_STATUS(ACCEL_ERR_INVALID, accel_histogram_create(values, dtype, count, bins, &media));
    CHECK(!media);
    CHECK_ERROR(words);
}

static void histograms_count_every_value(void)
{
    const double values[] = {0, 0.1, 0.5, 0.99, 1, 1};
    const uint8_t bytes[] = {5, 5};
    const accel_histogram_view_t *seen;
    accel_media_t *media;

    CHECK_OK(accel_histogram_create(values, ACCEL_F64, 6, 2, &media));
    seen = &accel_media_view(media)->of.histogram;
    CHECK_INT(2, seen->num_bins);
    CHECK_NEAR(2, seen->counts[0], 0);
    CHECK_NEAR(4, seen->counts[1], 0); /* the last edge belongs to the last bin */
    CHECK_NEAR(0.5, seen->edges[1], 0);
    accel_media_destroy(media);
    CHECK_OK(accel_histogram_create(bytes, ACCEL_U8, 2, 0, &media));
    seen = &accel_media_view(media)->of.histogram;
    CHECK_INT(64, seen->num_bins);
    CHECK_NEAR(4.5, seen->edges[0], 0);
    CHECK_NEAR(2, seen->counts[32], 0);
    accel_media_destroy(media);
    CHECK_OK(accel_histogram_create(NULL, ACCEL_F32, 0, 3, &media));
    CHECK_NEAR(1, accel_media_view(media)->of.histogram.edges[3], 0);
    accel_media_destroy(media);
}

static void histograms_of_what_has_no_range_are_refused(void)
{
    const double odd[] = {1, NAN}, endless[] = {-INFINITY, 1}, wide[] = {-1.7e308, 1.7e308};
    const double narrow[] = {1, 1.0000000000000002};
    accel_media_t *media;

    refuse_histogram(odd, ACCEL_F64, 2, 0, "value 1 is nan");
    refuse_histogram(endless, ACCEL_F64, 2, 0, "value 0 is -inf");
    refuse_histogram(wide, ACCEL_F64, 2, 0, "cannot all have a width");
    refuse_histogram(narrow, ACCEL_F64, 2, 64, "cannot all have a width");
    refuse_histogram(odd, ACCEL_F64, 1, 513, "513 bins");
    refuse_histogram(odd, ACCEL_F64, 1, -1, "-1 bins");
    refuse_histogram(NULL, ACCEL_F64, 1, 0, "values is NULL");
    refuse_histogram(odd, ACCEL_F64, -1, 0, "-1 values");
    refuse_histogram(odd, ACCEL_BF16, 1, 0, "bfloat16");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_histogram_create_np(NULL, odd, 1, &media));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_histogram_create_np(odd, odd, 0, &media));
}

static void tables_take_rows_until_they_are_logged(void)
{
    const char *columns[] = {"text", "image"};
    accel_media_t *table, *picture = image("\1", ACCEL_U8, 1, 1, 1, 0);
    const accel_table_view_t *seen;

    CHECK_OK(accel_table_create(columns, 2, &table));
    for (int i = 0; i < 100; i++)
        CHECK_OK(accel_table_add_data(table, ACCEL_LIST(i, picture)));
    accel_media_destroy(picture); /* the cells have their shares */
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_table_add_data(table, ACCEL_LIST(1)));
    CHECK_ERROR("the row has 1 values; expected 2");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_table_add_data(table, ACCEL_LIST(1, 2, 3)));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_table_add_data(table, NULL));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_table_add_data(NULL, ACCEL_LIST(1, 2)));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_table_add_data(table, ACCEL_LIST(1, "\xff")));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_table_add_data(table, ACCEL_LIST(1, table)));
    CHECK_ERROR("column 'image': a cell holds no table");
    seen = &accel_media_view(table)->of.table;
    CHECK_INT(100, seen->num_rows);
    CHECK_INT(99, seen->rows[99].value.list[0].value.i);
    CHECK_INT(1, accel_media_view(seen->rows[7].value.list[1].value.media)->of.image.pixels[0]);
    CHECK_INT(ACCEL_TYPE_END, seen->rows[100].type);
    accel__media_retain(ACCEL_DICT("table", table));
    CHECK_STATUS(ACCEL_ERR_STATE, accel_table_add_data(table, ACCEL_LIST(1, 2)));
    accel__media_release(ACCEL_DICT("table", table));
    accel_media_destroy(table);
}

static void tables_need_columns(void)
{
    const char *twice[] = {"a", "b", "a"}, *none[] = {"a", NULL}, *bad[] = {"\xff"};
    accel_media_t *table;

    CHECK_STATUS(ACCEL_ERR_INVALID, accel_table_create(NULL, 1, &table));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_table_create(twice, 0, &table));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_table_create(twice, 3, &table));
    CHECK_ERROR("two columns have the name 'a'");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_table_create(none, 2, &table));
    CHECK_ERROR("column 1 is NULL");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_table_create(bad, 1, &table));
    CHECK(!table);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_table_create(twice, 1, NULL));
}

static void sound_is_a_wav_file(void)
{
    const float samples[] = {0, 0.5f, -0.5f, 1, -1, 7, -7, NAN};
    const int16_t expected[] = {0, 16384, -16384, 32767, -32768, 32767, -32768, 0};
    const accel_audio_view_t *seen;
    accel_media_t *media;

    CHECK_OK(accel_audio_create(samples, 4, 2, 8000, "c", &media));
    seen = &accel_media_view(media)->of.audio;
    CHECK_INT(44 + 16, seen->size);
    CHECK(memcmp(seen->wav, "RIFF", 4) == 0 && memcmp(seen->wav + 36, "data", 4) == 0);
    for (int i = 0; i < 8; i++)
        CHECK_INT(expected[i], (int16_t)(seen->wav[44 + 2 * i] | seen->wav[45 + 2 * i] << 8));
    accel_media_destroy(media);
    CHECK_OK(accel_audio_create(NULL, 0, 1, 8000, NULL, &media));
    accel_media_destroy(media);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_audio_create(NULL, 1, 1, 8000, NULL, &media));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_audio_create(samples, 1, 0, 8000, NULL, &media));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_audio_create(samples, 1, 1, 0, NULL, &media));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_audio_create(samples, -1, 1, 1, NULL, &media));
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_audio_create_i16(expected, INT64_MAX, 1, 1, NULL, &media));
    CHECK_ERROR("less than 4 GiB");
}

static void html_is_text(void)
{
    char path[600];
    accel_media_t *media;
    FILE *file;

    CHECK_OK(accel_html_create("<b>\xc3\xa9</b>", true, &media));
    CHECK_STR("<b>\xc3\xa9</b>", accel_media_view(media)->of.html.text);
    accel_media_destroy(media);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_html_create("\xc3", true, &media));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_html_create(NULL, true, &media));
    snprintf(path, sizeof(path), "%s/page.html", test_dir());
    CHECK_STATUS(ACCEL_ERR_IO, accel_html_open(path, false, &media));
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_html_open(test_dir(), false, &media));
    file = fopen(path, "w");
    CHECK(file && fwrite("a\0b", 1, 3, file) == 3 && fclose(file) == 0);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_html_open(path, false, &media));
    CHECK_ERROR("NUL byte at 1");
    file = fopen(path, "w");
    CHECK(file && fputs("page", file) >= 0 && fclose(file) == 0);
    CHECK_OK(accel_html_open(path, false, &media));
    CHECK_INT(4, accel_media_view(media)->of.html.length);
    accel_media_destroy(media);
}

/* ---- in rows ---- */

/* What the journal's thread saw. */
typedef struct seen {
    atomic_bool hold;
    atomic_int rows;
    int pixel;
} seen_t;

static void deliver(void *context, const accel__journal_row_t *row)
{
    seen_t *seen = context;
    const accel_item_t *list = accel__dict_find(row->values, "list");

    while (atomic_load(&seen->hold))
        usleep(1000);
    seen->pixel = accel_media_view(list->value.list[1].value.media)->of.image.pixels[0];
    atomic_fetch_add(&seen->rows, 1);
}

static void flush(void *context)
{
    (void)context;
}

static void *release_later(void *argument)
{
    usleep(50000);
    atomic_store(&((seen_t *)argument)->hold, false);
    return NULL;
}

static void the_journal_keeps_media_until_they_are_delivered(void)
{
    seen_t seen = {.hold = true};
    accel__journal_sink_t sink = {deliver, flush, &seen};
    accel__journal_t *journal;
    pthread_t later;

    CHECK_OK(accel__journal_create(&sink, &journal));
    for (int i = 0; i < 8; i++) {
        const uint8_t pixel = (uint8_t)i;
        accel_media_t *media = image(&pixel, ACCEL_U8, 1, 1, 1, 0);

        media->size = (size_t)100 << 20; /* as if: the third has to wait for the first */
        if (i == 2)
            CHECK(pthread_create(&later, NULL, release_later, &seen) == 0);
        CHECK_OK(
            accel__journal_append(journal, NULL, ACCEL_DICT("list", ACCEL_LIST(1, media)), i, 0.0));
        if (i >= 2)
            CHECK(atomic_load(&seen.rows) > 0);
        accel_media_destroy(media);
    }
    CHECK(pthread_join(later, NULL) == 0);
    accel__journal_close(journal);
    CHECK_INT(8, atomic_load(&seen.rows));
    CHECK_INT(7, seen.pixel);
    accel__journal_destroy(journal);
}

static void media_stand_in_rows_only(void)
{
    accel_media_t *media = image("\0", ACCEL_U8, 1, 1, 1, 0);
    accel_artifact_t *artifact;

    CHECK_STATUS(ACCEL_ERR_INVALID, accel__dict_check(ACCEL_DICT("im", media), "config"));
    CHECK_ERROR("'im' is a media object, which only a logged row takes");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel_artifact_create("a", "b",
                                       ACCEL_ARTIFACT_OPTIONS(.metadata = ACCEL_DICT("im", media)),
                                       &artifact));
    CHECK_OK(accel__row_check(ACCEL_DICT("d", ACCEL_DICT("l", ACCEL_LIST(media))), "row"));
    CHECK_INT(ACCEL_TYPE_NULL, accel_item_media("k", NULL).type);
    accel_media_destroy(media);
}

static void json_says_what_they_are(void)
{
    const char *columns[] = {"a", "b"};
    const double counts[] = {1, 2}, edges[] = {0, 0.5, 1};
    accel_media_t *picture = image("\0", ACCEL_U8, 1, 1, 1, 0), *table, *histogram;
    accel__text_t text = {0};

    CHECK_OK(accel_table_create(columns, 2, &table));
    CHECK_OK(accel_table_add_data(table, ACCEL_LIST("x\"", picture)));
    CHECK_OK(accel_histogram_create_np(counts, edges, 2, &histogram));
    accel__json_dict(&text, ACCEL_DICT("t", table, "h", histogram));
    CHECK_STR("{\"t\":{\"_type\":\"table\",\"columns\":[\"a\",\"b\"],\"data\":[[\"x\\\"\","
              "{\"_type\":\"image\",\"height\":1,\"width\":1,\"channels\":1,"
              "\"caption\":\"a caption\"}]]},\"h\":{\"_type\":\"histogram\",\"values\":[1.0,2.0],"
              "\"bins\":[0.0,0.5,1.0]}}",
              text.data);
    accel__text_free(&text);
    accel_media_destroy(histogram);
    accel_media_destroy(table);
    accel_media_destroy(picture);
}

/* A class of the program's own that draws. */
static accel_status_t create(void *context, const accel_tracker_init_t *init, void **tracker)
{
    (void)init;
    *tracker = context;
    return ACCEL_OK;
}

static accel_status_t log_row(void *tracker, const accel_item_t *values, int64_t step,
                              double timestamp)
{
    accel__text_t *text = tracker;

    (void)timestamp;
    accel__text_appendf(text, "%lld", (long long)step);
    accel__json_dict(text, values);
    return ACCEL_OK;
}

static void destroy(void *tracker)
{
    (void)tracker;
}

static void images_and_tables_come_as_rows(void)
{
    static accel__text_t text;
    const accel_tracker_class_t drawing = {.struct_size = sizeof(drawing),
                                           .name = "drawing",
                                           .journaled = true,
                                           .logs_media = true,
                                           .context = &text,
                                           .create = create,
                                           .log = log_row,
                                           .destroy = destroy};
    const accel__trackers_options_t options = {.log_with = "drawing", .num_processes = 1};
    accel_image_t images[2] = {{"\0", ACCEL_U8, 1, 1, 1, NULL, 0},
                               {"\0\0", ACCEL_U8, 2, 1, 1, NULL, 0}};
    accel__trackers_t *trackers;
    accel_tracker_t *tracker;

    CHECK_OK(accel_register_tracker_class(&drawing));
    CHECK_OK(accel__trackers_create(&options, &trackers));
    CHECK_OK(accel__trackers_init(trackers, "p", NULL, NULL));
    tracker = accel__trackers_get(trackers, "drawing");
    CHECK_OK(accel_tracker_log_images(tracker, "k", images, 2, 3));
    images[1].channels = 2;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_tracker_log_images(tracker, "k", images, 2, 3));
    CHECK_ERROR("k: number 1: image: the shape is 2 x 1 x 2");
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_tracker_log_images(tracker, "k", images, 0, 3));
    CHECK_OK(accel_tracker_log_table(tracker, "t", ACCEL_LIST("c"), ACCEL_LIST(ACCEL_LIST(1)), 4));
    CHECK_OK(accel__trackers_finish(trackers, 0));
    CHECK_STR("3{\"k\":[{\"_type\":\"image\",\"height\":1,\"width\":1,\"channels\":1},"
              "{\"_type\":\"image\",\"height\":2,\"width\":1,\"channels\":1}]}"
              "4{\"t\":{\"_type\":\"table\",\"columns\":[\"c\"],\"data\":[[1]]}}",
              text.data);
    accel__trackers_destroy(trackers);
    accel__text_free(&text);
}

TEST_MAIN(TEST(images_are_bytes), TEST(images_that_are_none_are_refused),
          TEST(histograms_count_every_value), TEST(histograms_of_what_has_no_range_are_refused),
          TEST(tables_take_rows_until_they_are_logged), TEST(tables_need_columns),
          TEST(sound_is_a_wav_file), TEST(html_is_text),
          TEST(the_journal_keeps_media_until_they_are_delivered), TEST(media_stand_in_rows_only),
          TEST(json_says_what_they_are), TEST(images_and_tables_come_as_rows))
