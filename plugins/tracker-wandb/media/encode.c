/* SPDX-License-Identifier: Apache-2.0 */
/* From media objects to the bytes of files. */
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "media.h"

/* Below zlib's usual 6: twice as fast for a few per cent of size. */
enum { PNG_LEVEL = 3 };

static void put_bytes(png_structp png, png_bytep data, png_size_t size)
{
    accel__wandb_text_t *text = png_get_io_ptr(png);
    accel__wandb_text_append(text, data, size);
    if (text->failed)
        png_error(png, "out of memory");
}

static void put_nothing(png_structp png)
{
    (void)png;
}

static void note_error(png_structp png, png_const_charp message)
{
    char *note = png_get_error_ptr(png);
    strncpy(note, message, 79);
    png_longjmp(png, 1);
}

static void drop_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

/* Apart from its caller, whose locals libpng's longjmp would clobber. */
static bool write_png(png_structp png, png_infop info, const accel_image_view_t *image,
                      accel__wandb_text_t *text)
{
    static const int colors[] = {0, PNG_COLOR_TYPE_GRAY, 0, PNG_COLOR_TYPE_RGB,
                                 PNG_COLOR_TYPE_RGB_ALPHA};
    size_t stride = (size_t)image->width * (size_t)image->channels;
    if (setjmp(png_jmpbuf(png)))
        return false;
    png_set_write_fn(png, text, put_bytes, put_nothing);
    png_set_compression_level(png, PNG_LEVEL);
    png_set_IHDR(png, info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 colors[image->channels], PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int32_t y = 0; y < image->height; y++)
        png_write_row(png, image->pixels + (size_t)y * stride);
    png_write_end(png, info);
    return true;
}

static accel_status_t encode_png(const accel_image_view_t *image, accel__wandb_text_t *text)
{
    char note[80] = "";
    png_structp png =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, note, note_error, drop_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    accel_status_t status = ACCEL_OK;
    if (!info)
        status = accel__wandb_fail_memory();
    else if (!write_png(png, info, image, text))
        status = text->failed ? accel__wandb_fail_memory()
                              : accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: libpng: %s", note);
    png_destroy_write_struct(&png, &info);
    return status;
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Stock's own head, where the page has one or not, and no blanks around the whole. */
static void inject_head(const accel_html_view_t *html, accel__wandb_text_t *text)
{
    static const char sheet[] =
        "<base target=\"_blank\"><link rel=\"stylesheet\" type=\"text/css\" "
        "href=\"https://app.wandb.ai/normalize.css\" />";
    const char *head = strstr(html->text, "<head>"), *page = strstr(html->text, "<html>");
    const char *start = html->text, *end = start + html->length;
    const char *at = head ? head + 6 : page ? page + 6 : start;
    if (at > start) {
        while (is_blank(*start))
            start++;
    }
    while (end > at && is_blank(end[-1]))
        end--;
    accel__wandb_text_append(text, start, (size_t)(at - start));
    if (!head && page)
        accel__wandb_text_puts(text, "<head>");
    accel__wandb_text_puts(text, sheet);
    if (!head && page)
        accel__wandb_text_puts(text, "</head>");
    accel__wandb_text_append(text, at, (size_t)(end - at));
}

const char *accel__wandb_media_type(accel_media_kind_t kind)
{
    return kind == ACCEL_MEDIA_IMAGE   ? "image-file"
           : kind == ACCEL_MEDIA_AUDIO ? "audio-file"
                                       : "html-file";
}

accel_status_t accel__wandb_media_encode(const accel_media_view_t *media, accel__wandb_text_t *text,
                                         accel__wandb_file_t *file)
{
    accel_status_t status = ACCEL_OK;
    if (media->kind == ACCEL_MEDIA_IMAGE) {
        *file = (accel__wandb_file_t){.kind = "images", .extension = ".png"};
        status = encode_png(&media->of.image, text);
    } else if (media->kind == ACCEL_MEDIA_HTML) {
        *file = (accel__wandb_file_t){.kind = "html", .extension = ".html"};
        if (media->of.html.inject)
            inject_head(&media->of.html, text);
        else
            accel__wandb_text_append(text, media->of.html.text, media->of.html.length);
    } else {
        *file = (accel__wandb_file_t){.kind = "audio", .extension = ".wav"};
        file->data = media->of.audio.wav;
        file->size = media->of.audio.size;
    }
    if (text->failed && !status)
        status = accel__wandb_fail_memory();
    if (!status && !file->data) {
        file->data = text->data;
        file->size = text->length;
    }
    return status ? status : accel__wandb_sha256(file->data, file->size, file->sha256);
}
