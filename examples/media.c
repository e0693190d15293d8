/* SPDX-License-Identifier: Apache-2.0 */
/* Images, histograms, sound and tables in a run of Weights & Biases: a made-up classifier logs what
 * it sees, and the table of its mistakes.
 *
 *     WANDB_MODE=offline ./media ; wandb leet ; accel report wandb/latest-run */
#include <math.h>
#include <stdint.h>

#include <accel/accel.h>

enum { SIDE = 32, WEIGHTS = 1000, SAMPLES = 4000 };

/* A ring of the given radius, as bytes. */
static void draw(uint8_t pixels[SIDE][SIDE], double radius)
{
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            double distance = hypot(x - SIDE / 2, y - SIDE / 2);

            pixels[y][x] = (uint8_t)(255 / (1 + pow(distance - radius, 2)));
        }
}

static accel_media_t *ring(double radius, const char *caption)
{
    /* [image] */
    uint8_t pixels[SIDE][SIDE];
    accel_image_t image = {.data = pixels,
                           .dtype = ACCEL_U8,
                           .height = SIDE,
                           .width = SIDE,
                           .channels = 1,
                           .caption = caption};
    accel_media_t *media;

    draw(pixels, radius);
    ACCEL_CHECK(accel_image_create(&image, &media)); /* copies the pixels */
    /* [/image] */
    return media;
}

static void log_step(accel_t *accelerator, int64_t step)
{
    float weights[WEIGHTS];
    double loss = exp(-0.1 * (double)step);

    for (int i = 0; i < WEIGHTS; i++)
        weights[i] = (float)(sin(i * 12.9898) * loss);
    /* [row] */
    accel_media_t *small = ring(4, "small"), *large = ring(12, "large"), *histogram;

    ACCEL_CHECK(accel_histogram_create(weights, ACCEL_F32, WEIGHTS, 0, &histogram));
    ACCEL_CHECK(accel_log(
        accelerator,
        ACCEL_DICT("loss", loss, "weights", histogram, "samples", ACCEL_LIST(small, large)), step));
    accel_media_destroy(histogram); /* the row has a share of its own */
    accel_media_destroy(small);
    accel_media_destroy(large);
    /* [/row] */
}

static void log_table(accel_t *accelerator, int64_t step)
{
    /* [table] */
    const char *columns[] = {"image", "label", "guess", "score"};
    accel_media_t *table;

    ACCEL_CHECK(accel_table_create(columns, 4, &table));
    for (int i = 0; i < 10; i++) {
        accel_media_t *image = ring(i, NULL);

        ACCEL_CHECK(
            accel_table_add_data(table, ACCEL_LIST(image, i, i % 4 ? i : i + 1, 1.0 / (1.0 + i))));
        accel_media_destroy(image);
    }
    ACCEL_CHECK(accel_log(accelerator, ACCEL_DICT("mistakes", table), step));
    accel_media_destroy(table);
    /* [/table] */
}

static void log_sound(accel_t *accelerator, int64_t step)
{
    /* [sound] */
    float samples[SAMPLES];
    accel_media_t *sound, *page;

    for (int i = 0; i < SAMPLES; i++)
        samples[i] = (float)sin(i * 2 * 3.14159265 * 440 / 8000);
    ACCEL_CHECK(accel_audio_create(samples, SAMPLES, 1, 8000, "440 Hz", &sound));
    ACCEL_CHECK(accel_html_create("<h1>Done</h1>", true, &page));
    ACCEL_CHECK(accel_log(accelerator, ACCEL_DICT("sound", sound, "page", page), step));
    /* [/sound] */
    accel_media_destroy(page);
    accel_media_destroy(sound);
}

int main(void)
{
    accel_t *accelerator;

    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.log_with = "wandb"), &accelerator));
    ACCEL_CHECK(accel_init_trackers(accelerator, "rings", NULL, NULL));
    for (int64_t step = 0; step < 20; step++)
        log_step(accelerator, step);
    log_table(accelerator, 20);
    log_sound(accelerator, 21);
    ACCEL_CHECK(accel_end_training(accelerator));
    accel_destroy(accelerator);
    return 0;
}
