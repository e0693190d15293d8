/* SPDX-License-Identifier: Apache-2.0 */
/* Runs with media that the judge wandb_media.py repeats under the stock client:
 *     program-wandb_media media|tables|many DIRECTORY */
#include <math.h>
#include <sys/resource.h>

#include <accel/accel.h>
#include <accel/wandb.h>

enum { HEIGHT = 5, WIDTH = 7 };

static accel_t *accelerator;
static unsigned char pixels[HEIGHT * WIDTH * 4];
static accel_media_t *kept[64];
static int num_kept;

/* To be destroyed at the end. */
static accel_media_t *keep(accel_media_t *made)
{
    kept[num_kept++] = made;
    return made;
}

static accel_media_t *image(int channels, const char *caption)
{
    accel_media_t *made;
    ACCEL_CHECK(accel_image_create(
        &(accel_image_t){pixels, ACCEL_U8, HEIGHT, WIDTH, channels, caption, 0}, &made));
    return keep(made);
}

static accel_media_t *floats(accel_dtype_t dtype, double white)
{
    static float singles[HEIGHT * WIDTH];
    static double doubles[HEIGHT * WIDTH];
    accel_media_t *made;
    for (int i = 0; i < HEIGHT * WIDTH; i++)
        singles[i] = (float)(doubles[i] = white * i / (HEIGHT * WIDTH - 1));
    const void *data = dtype == ACCEL_F32 ? (const void *)singles : doubles;
    ACCEL_CHECK(
        accel_image_create(&(accel_image_t){data, dtype, HEIGHT, WIDTH, 1, NULL, white}, &made));
    return keep(made);
}

static accel_media_t *html(const char *text, bool inject)
{
    accel_media_t *made;
    ACCEL_CHECK(accel_html_create(text, inject, &made));
    return keep(made);
}

/* Of the values of a fixed rule, which numpy's arrays in wandb_media.py are made by too. */
static accel_media_t *histogram(accel_dtype_t dtype, int count, int bins)
{
    static double doubles[1000];
    static float singles[1000];
    static int64_t integers[1000];
    accel_media_t *made;
    for (int i = 0; i < count; i++) {
        doubles[i] = (i * 7919 % 1000) / 37.0 - 11.3;
        singles[i] = (float)doubles[i];
        integers[i] = i * 7919 % 1000;
    }
    const void *values = dtype == ACCEL_F64   ? (const void *)doubles
                         : dtype == ACCEL_F32 ? (const void *)singles
                                              : integers;
    ACCEL_CHECK(accel_histogram_create(values, dtype, count, bins, &made));
    return keep(made);
}

static accel_media_t *sound(int channels, const char *caption)
{
    static float samples[800];
    accel_media_t *made;
    for (int i = 0; i < 800; i++)
        samples[i] = (float)(1.2 * (i * 7919 % 801 - 400) / 400.0);
    ACCEL_CHECK(accel_audio_create(samples, 800 / channels, channels, 8000, caption, &made));
    return keep(made);
}

static void row(const accel_item_t *values, int64_t step)
{
    ACCEL_CHECK(accel_log(accelerator, values, step));
}

static void log_kinds(void)
{
    static const int16_t samples[] = {0, 1, -1, 32767, -32768, 300};
    const double counts[] = {1, 2.5}, edges[] = {0, 0.5, 3};
    accel_media_t *given, *wave;
    ACCEL_CHECK(accel_histogram_create_np(counts, edges, 2, &given));
    ACCEL_CHECK(accel_audio_create_i16(samples, 6, 1, 44100, NULL, &wave));
    keep(given);
    keep(wave);
    row(ACCEL_DICT("grey", image(1, NULL), "rgb", image(3, "three \xc3\xa9"), "rgba", image(4, "")),
        0);
    row(ACCEL_DICT("f32", floats(ACCEL_F32, 255), "f64", floats(ACCEL_F64, 255), "unit",
                   floats(ACCEL_F64, 1)),
        1);
    row(ACCEL_DICT("loss", 0.5, "h64", histogram(ACCEL_F64, 1000, 0), "nest",
                   ACCEL_DICT("h32", histogram(ACCEL_F32, 1000, 10), "x", 1), "hi",
                   histogram(ACCEL_I64, 1000, 512), "h1", histogram(ACCEL_F32, 1, 3), "h0",
                   histogram(ACCEL_F64, 0, 4), "given", given),
        2);
    row(ACCEL_DICT("page", html("<html><b>x</b></html>\n", true), "head",
                   html(" <p><head><title>t</title></head>", true), "a/b", html("plain ", true),
                   "raw", html(" as it is \n", false)),
        3);
    row(ACCEL_DICT("sound", sound(1, "a sound"), "stereo", sound(2, NULL), "wave", wave), 4);
}

static void media(void)
{
    log_kinds();
    row(ACCEL_DICT("pair", ACCEL_LIST(image(3, "one"), image(1, NULL)), "bare",
                   ACCEL_LIST(image(1, NULL), image(1, "unseen"))),
        5);
    row(ACCEL_DICT("pages", ACCEL_LIST(html("a", true), html("b", true)), "sounds",
                   ACCEL_LIST(sound(1, NULL), sound(2, "two")), "hs",
                   ACCEL_LIST(histogram(ACCEL_F64, 10, 2), histogram(ACCEL_F64, 20, 2)), "mixed",
                   ACCEL_LIST(histogram(ACCEL_F64, 10, 2), html("c", false))),
        6);
    row(ACCEL_DICT("../up", html("climbs", false), "./a/./b", html("dots", false)), 7);
    row(ACCEL_DICT("loss", 0.25, "deep", ACCEL_DICT("er", ACCEL_DICT("im", image(1, "deep")))),
        ACCEL_NO_STEP);
    row(ACCEL_DICT("last", image(1, NULL)), ACCEL_NO_STEP);
    accel_image_t three[3] = {{pixels, ACCEL_U8, HEIGHT, WIDTH, 3, NULL, 0},
                              {pixels + 1, ACCEL_U8, HEIGHT, WIDTH, 3, NULL, 0},
                              {pixels + 2, ACCEL_U8, HEIGHT, WIDTH, 3, NULL, 0}};
    accel_tracker_t *tracker = accel_get_tracker(accelerator, "wandb");
    ACCEL_CHECK(accel_tracker_log_images(tracker, "validation", three, 3, 20));
    ACCEL_CHECK(accel_tracker_log_table(tracker, "predictions", ACCEL_LIST("text", "score"),
                                        ACCEL_LIST(ACCEL_LIST("good", 0.5), ACCEL_LIST("bad", 1)),
                                        21));
}

static accel_media_t *table(const char *const *columns, int32_t num_columns)
{
    accel_media_t *made;
    ACCEL_CHECK(accel_table_create(columns, num_columns, &made));
    return keep(made);
}

static void add(accel_media_t *to, const accel_list_t *values)
{
    ACCEL_CHECK(accel_table_add_data(to, values));
}

static void tables(void)
{
    const char *columns[] = {"i", "f", "s", "b", "n", "l", "nan", "d", "m", "e", "z\xc3\xa9"};
    accel_media_t *types = table(columns, 11), *nested = table(columns, 3),
                  *files = table(columns, 4);
    accel_media_t *picture = image(3, NULL), *other = image(1, "q");
    add(types, ACCEL_LIST(1, 2.5, "x", ACCEL_TRUE, NULL, ACCEL_LIST(1, 2), NAN, ACCEL_DICT("k", 1),
                          NULL, ACCEL_LIST("a", NULL), 1e-7));
    add(types, ACCEL_LIST((uint64_t)18446744073709551615u, 3.0, "\xc3\xa9\n\"<\x7f\xf0\x9f\x98\x80",
                          ACCEL_FALSE, NULL, ACCEL_LIST(3), 1.0, ACCEL_DICT("k", 2), "late",
                          ACCEL_LIST(NULL, "b"), 1e16));
    add(types, ACCEL_LIST(-3, INFINITY, "", NULL, NULL, ACCEL_LIST(4, 5.5, 6), NULL, NULL, NULL,
                          NULL, 123456789.125));
    row(ACCEL_DICT("tab le/x", types), 0);
    add(nested, ACCEL_LIST(ACCEL_LIST(ACCEL_LIST(1, 2), ACCEL_LIST(3)),
                           ACCEL_DICT("b", ACCEL_DICT("y", "t"), "a", ACCEL_LIST(ACCEL_TRUE)),
                           ACCEL_LIST(ACCEL_DICT("p", 1), ACCEL_DICT("p", 2))));
    add(nested,
        ACCEL_LIST(ACCEL_LIST(ACCEL_LIST(7)),
                   ACCEL_DICT("a", ACCEL_LIST(ACCEL_FALSE, ACCEL_TRUE), "b", ACCEL_DICT("y", "u")),
                   ACCEL_LIST(ACCEL_DICT("p", 3))));
    row(ACCEL_DICT("nested", nested, "empty", table(columns, 2)), 1);
    add(files, ACCEL_LIST(picture, html("in a cell", false), sound(1, "cell"), 1));
    add(files, ACCEL_LIST(picture, NULL, NULL, 2));
    add(files, ACCEL_LIST(other, html("in a cell", false), NULL, 3));
    row(ACCEL_DICT("files", files), 2);
}

/* A flood of images, as training would log them: what the process takes must stay small. */
static void many(void)
{
    enum { SIDE = 512, IMAGES = 600 };
    unsigned char *big = malloc(SIDE * SIDE * 3);
    struct rusage usage;
    for (int i = 0; i < SIDE * SIDE * 3; i++)
        big[i] = (unsigned char)(i % SIDE);
    for (int64_t step = 0; step < IMAGES; step++) {
        accel_media_t *made;
        big[0] = (unsigned char)step;
        big[1] = (unsigned char)(step >> 8);
        ACCEL_CHECK(
            accel_image_create(&(accel_image_t){big, ACCEL_U8, SIDE, SIDE, 3, NULL, 0}, &made));
        row(ACCEL_DICT("image", made), step);
        accel_media_destroy(made);
    }
    free(big);
    getrusage(RUSAGE_SELF, &usage);
    printf("%ld\n", usage.ru_maxrss);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    for (int i = 0; i < HEIGHT * WIDTH * 4; i++)
        pixels[i] = (unsigned char)(i * 37 + 11);
    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.log_with = "wandb"), &accelerator));
    ACCEL_CHECK(
        accel_init_trackers(accelerator, "my_project", NULL,
                            ACCEL_DICT("wandb", ACCEL_DICT("dir", (const char *)argv[2], "id",
                                                           "media1", "mode", "offline"))));
    if (!strcmp(argv[1], "media"))
        media();
    else if (!strcmp(argv[1], "tables"))
        tables();
    else if (!strcmp(argv[1], "many"))
        many();
    else
        return 2;
    for (int i = 0; i < num_kept; i++)
        accel_media_destroy(kept[i]);
    ACCEL_CHECK(accel_end_training(accelerator));
    accel_destroy(accelerator);
    return 0;
}
