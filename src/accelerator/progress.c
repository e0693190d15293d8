/* SPDX-License-Identifier: Apache-2.0 */
/* The progress line. It is drawn into one text and written with one write(2), so that lines
 * of other threads do not fall into it. */
#include <accel/progress.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/base.h"

#define NS_PER_SECOND 1e9
#define DEFAULT_COLUMNS 80
#define LEAST_BAR 10

struct accel_progress {
    accel_progress_options_t options;
    char *desc, *unit, *postfix;
    bool terminal, unicode;
    int64_t done, drawn; /* steps now, and at the last drawing */
    uint64_t started, drawn_at;
    double rate; /* steps a second, smoothed; 0: not known yet */
};

/* ---- words ---- */

/* 75 s is 01:15, and 3,675 s is 1:01:15. */
static void append_time(accel__text_t *line, double seconds)
{
    int64_t whole = seconds < 1e9 ? (int64_t)seconds : 0;
    int64_t hours = whole / 3600, minutes = whole / 60 % 60;

    if (hours > 0)
        accel__text_appendf(line, "%" PRId64 ":", hours);
    accel__text_appendf(line, "%02" PRId64 ":%02" PRId64, minutes, whole % 60);
}

/* Below one a second it reads better the other way round: 3.20s/it. */
static void append_rate(accel__text_t *line, const accel_progress_t *bar)
{
    if (bar->rate <= 0)
        accel__text_appendf(line, "?%s/s", bar->unit);
    else if (bar->rate < 1)
        accel__text_appendf(line, "%.2fs/%s", 1 / bar->rate, bar->unit);
    else
        accel__text_appendf(line, "%.2f%s/s", bar->rate, bar->unit);
}

static void append_tail(accel__text_t *line, const accel_progress_t *bar, uint64_t now)
{
    double elapsed = (double)(now - bar->started) / NS_PER_SECOND;

    accel__text_appendf(line, " %" PRId64, bar->done);
    if (bar->options.total > 0)
        accel__text_appendf(line, "/%" PRId64, bar->options.total);
    else
        accel__text_appendf(line, "%s", bar->unit);
    accel__text_append(line, " [", 2);
    append_time(line, elapsed);
    if (bar->options.total > 0) {
        int64_t left = bar->options.total - bar->done;

        accel__text_append(line, "<", 1);
        if (bar->rate > 0 || left <= 0)
            append_time(line, left > 0 ? (double)left / bar->rate : 0);
        else
            accel__text_append(line, "?", 1);
    }
    accel__text_append(line, ", ", 2);
    append_rate(line, bar);
    if (bar->postfix && bar->postfix[0])
        accel__text_appendf(line, ", %s", bar->postfix);
    accel__text_append(line, "]", 1);
}

static void append_blocks(accel__text_t *line, const accel_progress_t *bar, double part,
                          size_t width)
{
    static const char *const eighths[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    size_t filled = (size_t)(part * (double)width * 8), whole = filled / 8;

    for (size_t i = 0; i < whole; i++)
        accel__text_appendf(line, "%s", bar->unicode ? "█" : "#");
    if (whole < width)
        accel__text_appendf(line, "%s", bar->unicode ? eighths[filled % 8] : " ");
    for (size_t i = whole + 1; i < width; i++)
        accel__text_append(line, " ", 1);
}

/* ---- drawing ---- */

static size_t columns(const accel_progress_t *bar)
{
    struct winsize window = {0};

    if (bar->options.ncols > 0)
        return (size_t)bar->options.ncols;
    if (bar->terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0)
        return window.ws_col;
    return DEFAULT_COLUMNS;
}

/* A line that the terminal would wrap could not be redrawn in place. Whole characters stay. */
static void cut(accel__text_t *line, size_t length)
{
    if (line->failed || line->length <= length)
        return;
    while (length > 0 && ((unsigned char)line->data[length] & 0xc0) == 0x80)
        length--;
    line->data[length] = '\0';
    line->length = length;
}

static void append_line(accel__text_t *line, const accel_progress_t *bar, uint64_t now)
{
    double part = 1;
    bool drawn = false;
    accel__text_t tail = {0};
    size_t start = line->length, width = columns(bar), taken;

    append_tail(&tail, bar, now);
    if (bar->desc && bar->desc[0])
        accel__text_appendf(line, "%s: ", bar->desc);
    if (bar->options.total > 0) {
        if (bar->done < bar->options.total)
            part = bar->done > 0 ? (double)bar->done / (double)bar->options.total : 0;
        accel__text_appendf(line, "%3d%%", (int)(part * 100));
        taken = line->length - start + tail.length + 2;
        drawn = bar->terminal && taken + LEAST_BAR < width;
        if (drawn) {
            accel__text_append(line, "|", 1);
            append_blocks(line, bar, part, width - taken);
            accel__text_append(line, "|", 1);
        }
    }
    accel__text_append(line, tail.data ? tail.data : "", tail.length);
    accel__text_free(&tail);
    if (bar->terminal && !drawn)
        cut(line, start + width);
}

/* Recent steps count more, so that the rest of the time follows a change of pace. */
static void measure(accel_progress_t *bar, uint64_t now)
{
    double seconds = (double)(now - bar->drawn_at) / NS_PER_SECOND;
    double pace = seconds > 0 ? (double)(bar->done - bar->drawn) / seconds : 0;

    if (pace > 0)
        bar->rate = bar->rate > 0 ? 0.3 * pace + 0.7 * bar->rate : pace;
    bar->drawn = bar->done;
    bar->drawn_at = now;
}

/* A progress line that cannot be written is no reason to fail. */
static void draw(accel_progress_t *bar, uint64_t now, bool last)
{
    accel__text_t line = {0};

    measure(bar, now);
    if (bar->terminal)
        accel__text_append(&line, "\r\033[K", 4);
    if (!(last && bar->terminal && bar->options.clear))
        append_line(&line, bar, now);
    if (!bar->terminal || (last && !bar->options.clear))
        accel__text_append(&line, "\n", 1);
    if (!line.failed && write(STDERR_FILENO, line.data, line.length) < 0)
        bar->options.disable = true;
    accel__text_free(&line);
}

/* ---- the calls ---- */

static bool speaks_unicode(void)
{
    const char *names[] = {"LC_ALL", "LC_CTYPE", "LANG"};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        const char *locale = accel__env(names[i]);

        if (locale)
            return strcasestr(locale, "utf-8") || strcasestr(locale, "utf8");
    }
    return false;
}

static accel_status_t check(const accel_progress_options_t *options)
{
    const char *what = options->total < 0         ? "total"
                       : options->initial < 0     ? "initial"
                       : options->ncols < 0       ? "ncols"
                       : options->mininterval < 0 ? "mininterval"
                                                  : NULL;

    return what ? accel__fail(ACCEL_ERR_INVALID,
                              "accel_progress_create: %s is negative; expected 0 or more", what)
                : ACCEL_OK;
}

static void set_up(accel_progress_t *bar, const accel_t *accelerator)
{
    bar->terminal = isatty(STDERR_FILENO) == 1;
    bar->unicode = speaks_unicode();
    if (!bar->options.every_process && !accel_is_local_main_process(accelerator))
        bar->options.disable = true;
    if (bar->options.mininterval == 0)
        bar->options.mininterval = bar->terminal ? 0.1 : 30;
    bar->done = bar->drawn = bar->options.initial;
    bar->started = bar->drawn_at = accel__clock_ns();
}

accel_status_t accel_progress_create(const accel_t *accelerator,
                                     const accel_progress_options_t *options,
                                     accel_progress_t **bar)
{
    accel_progress_options_t read = {0};
    accel_status_t status;

    if (!bar)
        return accel__fail(ACCEL_ERR_INVALID, "accel_progress_create: bar is NULL");
    *bar = NULL;
    status = accel__options_read(&read, sizeof(read), options, "accel_progress_create: options");
    if (status == ACCEL_OK)
        status = check(&read);
    if (status != ACCEL_OK)
        return status;
    *bar = calloc(1, sizeof(**bar));
    if (!*bar)
        return accel__fail_memory("a progress line", sizeof(**bar));
    (*bar)->options = read;
    (*bar)->desc = accel__strdup(read.desc);
    (*bar)->unit = accel__strdup(read.unit ? read.unit : "it");
    if (!(*bar)->unit || (read.desc && !(*bar)->desc)) {
        (*bar)->options.disable = true;
        accel_progress_destroy(*bar);
        *bar = NULL;
        return accel__fail_memory("a progress line", sizeof(**bar));
    }
    set_up(*bar, accelerator);
    if (!(*bar)->options.disable && (*bar)->terminal)
        draw(*bar, (*bar)->started, false);
    return ACCEL_OK;
}

void accel_progress_update(accel_progress_t *bar, int64_t steps)
{
    uint64_t now;

    if (!bar || bar->options.disable)
        return;
    bar->done += steps;
    now = accel__clock_ns();
    if ((double)(now - bar->drawn_at) >= bar->options.mininterval * NS_PER_SECOND)
        draw(bar, now, false);
}

void accel_progress_set_description(accel_progress_t *bar, const char *desc)
{
    char *copy;

    if (!bar || bar->options.disable)
        return;
    copy = accel__strdup(desc);
    free(bar->desc);
    bar->desc = copy;
}

static void append_value(accel__text_t *text, const accel_item_t *item)
{
    accel__text_appendf(text, "%s%s=", text->length ? ", " : "", item->key);
    if (item->type == ACCEL_TYPE_FLOAT)
        accel__text_appendf(text, "%.3g", item->value.f);
    else if (item->type == ACCEL_TYPE_INT)
        accel__text_appendf(text, "%" PRId64, item->value.i);
    else if (item->type == ACCEL_TYPE_UINT)
        accel__text_appendf(text, "%" PRIu64, item->value.u);
    else if (item->type == ACCEL_TYPE_BOOL)
        accel__text_appendf(text, "%s", item->value.b ? "true" : "false");
    else
        accel__text_appendf(text, "%s", item->type == ACCEL_TYPE_STRING ? item->value.s : "...");
}

void accel_progress_set_postfix(accel_progress_t *bar, const accel_item_t *values)
{
    accel__text_t text = {0};

    if (!bar || bar->options.disable)
        return;
    for (; values && values->type != ACCEL_TYPE_END; values++)
        if (values->key)
            append_value(&text, values);
    free(bar->postfix);
    bar->postfix = text.data;
}

void accel_progress_destroy(accel_progress_t *bar)
{
    if (!bar)
        return;
    if (!bar->options.disable)
        draw(bar, accel__clock_ns(), true);
    free(bar->desc);
    free(bar->unit);
    free(bar->postfix);
    free(bar);
}
