/* SPDX-License-Identifier: Apache-2.0 */
#include "stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void accel__wandb_stream_init(accel__wandb_stream_t *stream, size_t most_bytes,
                              size_t most_line_bytes)
{
    *stream = (accel__wandb_stream_t){.most_bytes = most_bytes, .most_line_bytes = most_line_bytes};
}

static void drop_console(accel__wandb_stream_t *stream, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(stream->console[i].text);
    memmove(stream->console, stream->console + count,
            (stream->num_console - count) * sizeof(*stream->console));
    stream->num_console -= count;
}

void accel__wandb_stream_free(accel__wandb_stream_t *stream)
{
    if (stream->num_console)
        drop_console(stream, stream->num_console);
    free(stream->console);
    accel__wandb_text_free(&stream->history.lines);
    accel__wandb_text_free(&stream->events.lines);
    accel__wandb_text_free(&stream->summary);
    accel__wandb_text_free(&stream->uploaded);
    *stream = (accel__wandb_stream_t){0};
}

static bool fits(accel__wandb_stream_t *stream, const char *line)
{
    bool fits = strlen(line) <= stream->most_line_bytes;
    stream->dropped += !fits;
    return fits;
}

static void add_line(accel__wandb_stream_t *stream, accel__wandb_lines_t *lines, const char *line)
{
    size_t before = lines->lines.length;
    accel__wandb_text_puts(&lines->lines, lines->count ? "," : "");
    accel__wandb_json_string(&lines->lines, line);
    lines->count++;
    stream->bytes += lines->lines.length - before;
}

bool accel__wandb_stream_history(accel__wandb_stream_t *stream, const char *line)
{
    if (!fits(stream, line))
        return false;
    add_line(stream, &stream->history, line);
    return true;
}

bool accel__wandb_stream_event(accel__wandb_stream_t *stream, const char *line)
{
    if (!fits(stream, line))
        return false;
    add_line(stream, &stream->events, line);
    return true;
}

bool accel__wandb_stream_summary(accel__wandb_stream_t *stream, const char *json)
{
    if (!fits(stream, json))
        return false;
    stream->bytes -= stream->summary.length;
    stream->summary.length = 0;
    accel__wandb_json_string(&stream->summary, json);
    stream->bytes += stream->summary.length;
    return true;
}

void accel__wandb_stream_uploaded(accel__wandb_stream_t *stream, const char *path)
{
    accel__wandb_text_puts(&stream->uploaded, stream->uploaded.length ? "," : "");
    accel__wandb_json_string(&stream->uploaded, path);
}

/* Where the line of this number is, or would have to be; mostly that is the end. */
static size_t find_console(const accel__wandb_stream_t *stream, int64_t number)
{
    size_t at = stream->num_console;
    while (at && stream->console[at - 1].number >= number)
        at--;
    return at;
}

static bool insert_console(accel__wandb_stream_t *stream, size_t at, int64_t number)
{
    if (stream->num_console == stream->console_capacity) {
        size_t capacity = stream->console_capacity * 2 + 64;
        accel__wandb_console_line_t *grown =
            realloc(stream->console, capacity * sizeof(*stream->console));
        if (!grown)
            return false;
        stream->console = grown;
        stream->console_capacity = capacity;
    }
    memmove(stream->console + at + 1, stream->console + at,
            (stream->num_console - at) * sizeof(*stream->console));
    stream->console[at] = (accel__wandb_console_line_t){.number = number};
    stream->num_console++;
    return true;
}

bool accel__wandb_stream_console(accel__wandb_stream_t *stream, int64_t number, const char *line)
{
    if (!fits(stream, line))
        return false;
    size_t at = find_console(stream, number);
    bool found = at < stream->num_console && stream->console[at].number == number;
    char *copy = strdup(line);
    if (!copy || (!found && !insert_console(stream, at, number))) {
        free(copy);
        stream->summary.failed = true; /* shows when the request is made */
        return true;
    }
    if (stream->console[at].text)
        stream->bytes -= strlen(stream->console[at].text);
    free(stream->console[at].text);
    stream->console[at].text = copy;
    stream->bytes += strlen(copy);
    return true;
}

bool accel__wandb_stream_waits(const accel__wandb_stream_t *stream)
{
    return stream->history.count || stream->events.count || stream->num_console ||
           stream->summary.length || stream->uploaded.length;
}

bool accel__wandb_stream_full(const accel__wandb_stream_t *stream)
{
    return stream->bytes >= stream->most_bytes;
}

/* ---- a request's body ---- */

static void put_file(accel__wandb_text_t *body, const char *name, int64_t offset)
{
    bool first = body->data && body->data[body->length - 1] == '{';
    accel__wandb_text_printf(body, "%s\"%s\":{\"offset\":%" PRId64 ",\"content\":[",
                             first ? "" : ",", name, offset);
}

static void put_lines(accel__wandb_text_t *body, const char *name, accel__wandb_lines_t *lines)
{
    if (!lines->count)
        return;
    put_file(body, name, lines->offset);
    accel__wandb_text_append(body, lines->lines.data, lines->lines.length);
    accel__wandb_text_puts(body, "]}");
    body->failed = body->failed || lines->lines.failed;
    lines->offset += lines->count;
    lines->count = 0;
    accel__wandb_text_free(&lines->lines);
}

static void put_console(accel__wandb_text_t *body, accel__wandb_stream_t *stream)
{
    const accel__wandb_console_line_t *console = stream->console;
    if (!stream->num_console)
        return;
    put_file(body, "output.log", stream->output_offset + console[0].number);
    size_t count = 0;
    do {
        accel__wandb_text_puts(body, count ? "," : "");
        accel__wandb_json_string(body, console[count].text);
        count++;
    } while (count < stream->num_console && console[count].number == console[count - 1].number + 1);
    accel__wandb_text_puts(body, "]}");
    drop_console(stream, count);
}

static void put_summary(accel__wandb_text_t *body, accel__wandb_stream_t *stream)
{
    body->failed = body->failed || stream->summary.failed;
    if (!stream->summary.length)
        return;
    put_file(body, "wandb-summary.json", 0);
    accel__wandb_text_append(body, stream->summary.data, stream->summary.length);
    accel__wandb_text_puts(body, "]}");
    accel__wandb_text_free(&stream->summary);
}

bool accel__wandb_stream_take(accel__wandb_stream_t *stream, const accel__wandb_ending_t *ending,
                              accel__wandb_text_t *body)
{
    bool files = stream->history.count || stream->events.count || stream->num_console ||
                 stream->summary.length || stream->summary.failed;
    const char *separator = files ? "," : "";
    accel__wandb_text_puts(body, files ? "{\"files\":{" : "{");
    put_lines(body, "wandb-history.jsonl", &stream->history);
    put_lines(body, "wandb-events.jsonl", &stream->events);
    put_summary(body, stream);
    put_console(body, stream);
    accel__wandb_text_puts(body, files ? "}" : "");
    if (stream->uploaded.length) {
        accel__wandb_text_printf(body, "%s\"uploaded\":[", separator);
        accel__wandb_text_append(body, stream->uploaded.data, stream->uploaded.length);
        accel__wandb_text_puts(body, "]");
        accel__wandb_text_free(&stream->uploaded);
        separator = ",";
    }
    if (stream->preempting) {
        accel__wandb_text_printf(body, "%s\"preempting\":true", separator);
        stream->preempting = false;
        separator = ",";
    }
    stream->bytes = 0;
    for (size_t i = 0; i < stream->num_console; i++)
        stream->bytes += strlen(stream->console[i].text);
    bool last = !stream->num_console;
    if (last && ending && ending->complete)
        accel__wandb_text_printf(body, "%s\"complete\":true,\"exitcode\":%" PRId32, separator,
                                 ending->exit_code);
    accel__wandb_text_puts(body, "}");
    return last;
}
