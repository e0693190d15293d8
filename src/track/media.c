/* SPDX-License-Identifier: Apache-2.0 */
/* Media objects: their life, and the kinds whose content is a block of bytes. */
#include "track/media.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMAGE_EXTENT_MAX 65500 /* PIL's limit, by which stock's images go */
#define HTML_SIZE_MAX ((int64_t)1 << 30)

/* ---- life ---- */

static accel_status_t check_text(const char *what, const char *text)
{
    const accel_item_t item[] = {accel_item_string(what, text), accel_item_end()};

    return accel__dict_check(item, "media");
}

accel_status_t accel__media_create(accel_media_kind_t kind, const char *caption,
                                   accel_media_t **media)
{
    accel_status_t status = check_text("caption", caption);
    accel_media_t *made;

    if (status != ACCEL_OK)
        return status;
    made = calloc(1, sizeof(*made));
    if (!made)
        return accel__fail_memory("a media object", sizeof(*made));
    atomic_init(&made->shares, 1);
    atomic_init(&made->logged, false);
    made->view.kind = kind;
    made->caption = accel__strdup(caption);
    made->view.caption = made->caption;
    if (caption && !made->caption) {
        accel_media_destroy(made);
        return accel__fail_memory("a caption", strlen(caption));
    }
    *media = made;
    return ACCEL_OK;
}

void accel_media_destroy(accel_media_t *media)
{
    if (!media || atomic_fetch_sub(&media->shares, 1) > 1)
        return;
    if (media->view.kind == ACCEL_MEDIA_TABLE)
        accel__table_free(media);
    free(media->content[0]);
    free(media->content[1]);
    free(media->caption);
    free(media);
}

const accel_media_view_t *accel_media_view(const accel_media_t *media)
{
    return media ? &media->view : NULL;
}

/* ---- the media of a row ---- */

static void visit(const accel_item_t *items, void (*act)(accel_media_t *media, void *context),
                  void *context)
{
    for (; items && items->type != ACCEL_TYPE_END; items++) {
        if (items->type == ACCEL_TYPE_MEDIA)
            act((accel_media_t *)items->value.media, context);
        else if (items->type == ACCEL_TYPE_DICT)
            visit(items->value.dict, act, context);
        else if (items->type == ACCEL_TYPE_LIST)
            visit(items->value.list, act, context);
    }
}

static void add_size(accel_media_t *media, void *context)
{
    *(size_t *)context += sizeof(*media) + media->size;
}

static void share(accel_media_t *media, void *context)
{
    (void)context;
    atomic_store(&media->logged, true);
    atomic_fetch_add(&media->shares, 1);
}

static void unshare(accel_media_t *media, void *context)
{
    (void)context;
    accel_media_destroy(media);
}

size_t accel__media_size(const accel_item_t *items)
{
    size_t size = 0;

    visit(items, add_size, &size);
    return size;
}

void accel__media_retain(const accel_item_t *items)
{
    visit(items, share, NULL);
}

void accel__media_release(const accel_item_t *items)
{
    visit(items, unshare, NULL);
}

/* ---- images ---- */

static accel_status_t check_image(const accel_image_t *image)
{
    if (!image->data)
        return accel__fail(ACCEL_ERR_INVALID, "image: data is NULL");
    if (image->dtype != ACCEL_U8 && image->dtype != ACCEL_F32 && image->dtype != ACCEL_F64)
        return accel__fail(ACCEL_ERR_INVALID,
                           "image: the dtype is %s; expected uint8 (0..255), float32 or float64 "
                           "(0..white)",
                           accel_dtype_name(image->dtype));
    if (image->height < 1 || image->height > IMAGE_EXTENT_MAX || image->width < 1 ||
        image->width > IMAGE_EXTENT_MAX ||
        (image->channels != 1 && image->channels != 3 && image->channels != 4))
        return accel__fail(ACCEL_ERR_INVALID,
                           "image: the shape is %d x %d x %d; expected height x width (1 to %d "
                           "each) x channels (1, 3 or 4)",
                           (int)image->height, (int)image->width, (int)image->channels,
                           IMAGE_EXTENT_MAX);
    if (!(image->white >= 0) || isinf(image->white))
        return accel__fail(ACCEL_ERR_INVALID,
                           "image: white is %g; expected the float that is white, such as 1 or 255",
                           image->white);
    return ACCEL_OK;
}

accel_status_t accel__image_check(const accel_image_t *image, const char *key, int64_t index)
{
    accel_status_t status = check_image(image);

    if (status == ACCEL_OK)
        return ACCEL_OK;
    return accel__fail(status, "%s: number %lld: %s", key, (long long)index, accel_last_error());
}

/* Written so that NaN, which no comparison holds for, becomes 0. */
static uint8_t to_byte(double value)
{
    if (!(value > 0))
        return 0;
    return value < 255 ? (uint8_t)value : 255;
}

static void copy_pixels(const accel_image_t *image, size_t count, uint8_t *pixels)
{
    double white = image->white > 0 ? image->white : 1.0;
    double scale = 255.0 / white;

    if (image->dtype == ACCEL_U8) {
        memcpy(pixels, image->data, count);
    } else if (image->dtype == ACCEL_F32) {
        const float *values = image->data;

        for (size_t i = 0; i < count; i++)
            pixels[i] = to_byte((double)values[i] * scale);
    } else {
        const double *values = image->data;

        for (size_t i = 0; i < count; i++)
            pixels[i] = to_byte(values[i] * scale);
    }
}

accel_status_t accel_image_create(const accel_image_t *image, accel_media_t **media)
{
    accel_media_t *made = NULL;
    accel_status_t status;
    size_t count;

    if (!image || !media)
        return accel__fail(ACCEL_ERR_INVALID, "accel_image_create: expected an image and where to "
                                              "put the handle");
    *media = NULL;
    status = check_image(image);
    if (status == ACCEL_OK)
        status = accel__media_create(ACCEL_MEDIA_IMAGE, image->caption, &made);
    if (status != ACCEL_OK)
        return status;
    count = (size_t)image->height * (size_t)image->width * (size_t)image->channels;
    made->content[0] = malloc(count);
    if (!made->content[0]) {
        accel_media_destroy(made);
        return accel__fail_memory("an image", count);
    }
    copy_pixels(image, count, made->content[0]);
    made->size = count;
    made->view.of.image =
        (accel_image_view_t){made->content[0], image->height, image->width, image->channels};
    *media = made;
    return ACCEL_OK;
}

accel_status_t accel__images_create(const accel_image_t *images, int64_t count,
                                    accel_item_t **items)
{
    accel_item_t *made = calloc((size_t)count + 1, sizeof(*made));

    if (!made)
        return accel__fail_memory("a list of images", (size_t)count * sizeof(*made));
    for (int64_t i = 0; i < count; i++) {
        accel_media_t *image = NULL;
        accel_status_t status = accel_image_create(&images[i], &image);

        if (status != ACCEL_OK) {
            accel__media_release(made);
            free(made);
            return status;
        }
        made[i] = accel_item_media("", image);
    }
    *items = made;
    return ACCEL_OK;
}

/* ---- sound ---- */

#define WAV_HEADER 44

static void put_le(uint8_t *at, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

/* RIFF, WAVE, a format chunk of plain PCM, and the head of the data chunk. */
static void put_wav_header(uint8_t *wav, size_t data_size, int32_t channels, int32_t sample_rate)
{
    /* clang-format off */
    static const uint8_t head[WAV_HEADER] = {
        'R', 'I', 'F', 'F', [8] = 'W', 'A', 'V', 'E',
        'f', 'm', 't', ' ', 16, [20] = 1, [36] = 'd', 'a', 't', 'a',
    };
    /* clang-format on */
    uint32_t frame_size = (uint32_t)channels * 2;

    memcpy(wav, head, sizeof(head));
    put_le(wav + 4, (uint32_t)(data_size + WAV_HEADER - 8), 4);
    put_le(wav + 22, (uint32_t)channels, 2);
    put_le(wav + 24, (uint32_t)sample_rate, 4);
    put_le(wav + 28, (uint32_t)sample_rate * frame_size, 4);
    put_le(wav + 32, frame_size, 2);
    put_le(wav + 34, 16, 2);
    put_le(wav + 40, (uint32_t)data_size, 4);
}

static accel_status_t check_audio(const void *samples, int64_t frames, int32_t channels,
                                  int32_t sample_rate)
{
    if (frames < 0 || (frames > 0 && !samples))
        return accel__fail(ACCEL_ERR_INVALID, "audio: %lld frames%s; expected 0 or more",
                           (long long)frames, samples ? "" : ", and samples is NULL");
    if (channels < 1 || channels > 1024 || sample_rate < 1 || sample_rate > 10000000)
        return accel__fail(ACCEL_ERR_INVALID,
                           "audio: %d channels at a sample rate of %d; expected 1 to 1024 at 1 to "
                           "10000000",
                           (int)channels, (int)sample_rate);
    if (frames > (UINT32_MAX - WAV_HEADER) / (2 * (int64_t)channels))
        return accel__fail(ACCEL_ERR_INVALID,
                           "audio: %lld frames of %d channels; a WAV file holds less than 4 GiB",
                           (long long)frames, (int)channels);
    return ACCEL_OK;
}

/* A WAV file whose samples the caller puts behind the header, at *at. */
static accel_status_t make_wav(const accel_audio_view_t *shape, const char *caption,
                               accel_media_t **media, uint8_t **at)
{
    size_t data_size = (size_t)shape->frames * (size_t)shape->channels * 2;
    accel_media_t *made = NULL;
    accel_status_t status = accel__media_create(ACCEL_MEDIA_AUDIO, caption, &made);

    if (status != ACCEL_OK)
        return status;
    made->size = WAV_HEADER + data_size;
    made->content[0] = malloc(made->size);
    if (!made->content[0]) {
        accel_media_destroy(made);
        return accel__fail_memory("sound", WAV_HEADER + data_size);
    }
    put_wav_header(made->content[0], data_size, shape->channels, shape->sample_rate);
    made->view.of.audio = *shape;
    made->view.of.audio.wav = made->content[0];
    made->view.of.audio.size = made->size;
    *at = (uint8_t *)made->content[0] + WAV_HEADER;
    *media = made;
    return ACCEL_OK;
}

/* Of `samples` only whether there are any is looked at. */
static accel_status_t begin_audio(const void *samples, const accel_audio_view_t *shape,
                                  const char *caption, accel_media_t **media, uint8_t **at)
{
    accel_status_t status;

    if (!media)
        return accel__fail(ACCEL_ERR_INVALID, "audio: media is NULL");
    *media = NULL;
    status = check_audio(samples, shape->frames, shape->channels, shape->sample_rate);
    return status == ACCEL_OK ? make_wav(shape, caption, media, at) : status;
}

/* The upper half of a 32-bit sample, as libsndfile, which stock writes with, does it. */
static int16_t to_sample(float value)
{
    float scaled = value * 0x1p31f;

    if (isnan(scaled))
        return 0;
    if (scaled >= 0x1p31f)
        return INT16_MAX;
    if (scaled <= -0x1p31f)
        return INT16_MIN;
    return (int16_t)(lrintf(scaled) >> 16);
}

accel_status_t accel_audio_create(const float *samples, int64_t frames, int32_t channels,
                                  int32_t sample_rate, const char *caption, accel_media_t **media)
{
    const accel_audio_view_t shape = {
        .frames = frames, .channels = channels, .sample_rate = sample_rate};
    uint8_t *at = NULL;
    accel_status_t status = begin_audio(samples, &shape, caption, media, &at);

    for (int64_t i = 0; status == ACCEL_OK && i < frames * channels; i++)
        put_le(at + 2 * i, (uint16_t)to_sample(samples[i]), 2);
    return status;
}

accel_status_t accel_audio_create_i16(const int16_t *samples, int64_t frames, int32_t channels,
                                      int32_t sample_rate, const char *caption,
                                      accel_media_t **media)
{
    const accel_audio_view_t shape = {
        .frames = frames, .channels = channels, .sample_rate = sample_rate};
    uint8_t *at = NULL;
    accel_status_t status = begin_audio(samples, &shape, caption, media, &at);

    for (int64_t i = 0; status == ACCEL_OK && i < frames * channels; i++)
        put_le(at + 2 * i, (uint16_t)samples[i], 2);
    return status;
}

/* ---- HTML ---- */

/* Takes `text`, which has `length` bytes and a NUL behind them, also on failure. */
static accel_status_t make_html(char *text, size_t length, bool inject, accel_media_t **media)
{
    accel_media_t *made = NULL;
    accel_status_t status = check_text("html", text);

    if (status == ACCEL_OK && strlen(text) != length)
        status = accel__fail(ACCEL_ERR_INVALID, "html: there is a NUL byte at %zu", strlen(text));
    if (status == ACCEL_OK)
        status = accel__media_create(ACCEL_MEDIA_HTML, NULL, &made);
    if (status != ACCEL_OK) {
        free(text);
        return status;
    }
    made->content[0] = text;
    made->size = length + 1;
    made->view.of.html = (accel_html_view_t){text, length, inject};
    *media = made;
    return ACCEL_OK;
}

accel_status_t accel_html_create(const char *html, bool inject, accel_media_t **media)
{
    char *copy;

    if (!html || !media)
        return accel__fail(ACCEL_ERR_INVALID, "accel_html_create: expected a text and where to put "
                                              "the handle");
    *media = NULL;
    copy = accel__strdup(html);
    if (!copy)
        return accel__fail_memory("HTML", strlen(html));
    return make_html(copy, strlen(copy), inject, media);
}

static accel_status_t read_all(int fd, const char *path, char **text, size_t *length)
{
    struct stat facts;
    size_t size, done = 0;

    if (fstat(fd, &facts) < 0)
        return accel__fail_errno(ACCEL_ERR_IO, "%s: cannot look at", path);
    if (!S_ISREG(facts.st_mode) || facts.st_size > HTML_SIZE_MAX)
        return accel__fail(ACCEL_ERR_INVALID, "%s: expected a file of at most 1 GiB", path);
    size = (size_t)facts.st_size;
    *text = calloc(1, size + 1);
    if (!*text)
        return accel__fail_memory(path, size);
    while (done < size) {
        ssize_t got = read(fd, *text + done, size - done);

        if (got <= 0)
            return got == 0
                       ? accel__fail(ACCEL_ERR_IO, "%s: became shorter while it was read", path)
                       : accel__fail_errno(ACCEL_ERR_IO, "%s: cannot read", path);
        done += (size_t)got;
    }
    *length = size;
    return ACCEL_OK;
}

accel_status_t accel_html_open(const char *path, bool inject, accel_media_t **media)
{
    accel_status_t status;
    char *text = NULL;
    size_t length = 0;
    int fd;

    if (!path || !media)
        return accel__fail(ACCEL_ERR_INVALID, "accel_html_open: expected a path and where to put "
                                              "the handle");
    *media = NULL;
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return accel__fail_errno(ACCEL_ERR_IO, "%s: cannot open", path);
    status = read_all(fd, path, &text, &length);
    close(fd);
    if (status != ACCEL_OK) {
        free(text);
        return status;
    }
    return make_html(text, length, inject, media);
}
