/* SPDX-License-Identifier: Apache-2.0 */
/* Runs into one HTML file. All that comes from a run goes into JSON in script elements, where no
 * `<` can end the element, and from there to the page as text. Only scripts with the page's nonce
 * run, and nothing may be loaded. */
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "report.h"

/* Embedded by the build. */
extern const char page_html[], page_css[], data_js[], chart_js[], page_js[];

/* What of a console is shown: the end matters most. */
enum { CONSOLE_HEAD = 64 << 10, CONSOLE_TAIL = 192 << 10 };

typedef struct part {
    const char *marker, *text;
} part_t;

static char nonce[33];

static const part_t parts[] = {{"@nonce@", nonce},
                               {"@style@", page_css},
                               {"@data_script@", data_js},
                               {"@chart_script@", chart_js},
                               {"@page_script@", page_js}};

static bool make_nonce(void)
{
    unsigned char random[16];

    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return false;
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(nonce + 2 * i, 3, "%02x", random[i]);
    return true;
}

static const part_t *part_at(const char *place)
{
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        if (strncmp(place, parts[i].marker, strlen(parts[i].marker)) == 0)
            return &parts[i];
    return NULL;
}

/* The template from `from` to `end`, with what stands for the markers. */
static bool put_template(FILE *file, const char *from, const char *end)
{
    while (from < end) {
        const part_t *part = part_at(from);

        if (part) {
            fputs(part->text, file);
            from += strlen(part->marker);
        } else {
            fputc(*from++, file);
        }
    }
    return !ferror(file);
}

static const char DATA[] = "@data@";

bool page_begin(FILE *file)
{
    return make_nonce() && put_template(file, page_html, strstr(page_html, DATA));
}

bool page_end(FILE *file)
{
    return put_template(file, strstr(page_html, DATA) + strlen(DATA),
                        page_html + strlen(page_html));
}

/* ---- data ---- */

static int write_escaped(const char *data, size_t size, void *context)
{
    FILE *file = context;

    while (size > 0) {
        const char *angle = memchr(data, '<', size);
        size_t plain = angle ? (size_t)(angle - data) : size;

        fwrite(data, 1, plain, file);
        if (angle)
            fputs("\\u003c", file);
        plain += angle != NULL;
        data += plain;
        size -= plain;
    }
    return ferror(file) ? -1 : 0;
}

static bool put_json(FILE *file, const char *kind, json_t *value, size_t digits)
{
    int result;

    fprintf(file, "<script type=\"application/json\" class=\"%s\">", kind);
    result = json_dump_callback(value, write_escaped, file,
                                JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
    fputs("</script>\n", file);
    json_decref(value);
    return result == 0 && !ferror(file);
}

/* ---- console ---- */

/* As a terminal shows it in the end: without colours, and of lines that were overwritten the last
 * state. Works in place; the text only gets shorter. */
static size_t settle_console(char *text, size_t length)
{
    size_t out = 0, line = 0;

    for (size_t i = 0; i < length; i++) {
        if (text[i] == '\x1b' && i + 1 < length && text[i + 1] == '[') {
            for (i += 2; i < length && (text[i] < '@' || text[i] > '~');)
                i++;
        } else if (text[i] == '\r') {
            if (i + 1 < length && text[i + 1] != '\n' && text[i + 1] != '\r')
                out = line;
        } else if (text[i] == '\n' || text[i] == '\t' || (unsigned char)text[i] >= ' ') {
            text[out++] = text[i];
            if (text[i] == '\n')
                line = out;
        }
    }
    return out;
}

static json_t *console_json(const text_t *console)
{
    size_t length = console->length ? settle_console(console->data, console->length) : 0;
    json_t *object = need_json(json_object());

    if (length <= CONSOLE_HEAD + CONSOLE_TAIL) {
        json_object_set_new(object, "head", value_text(length ? console->data : "", length));
        return object;
    }
    json_object_set_new(object, "head", value_text(console->data, CONSOLE_HEAD));
    json_object_set_new(object, "cut",
                        json_integer((json_int_t)(length - CONSOLE_HEAD - CONSOLE_TAIL)));
    json_object_set_new(object, "tail",
                        value_text(console->data + length - CONSOLE_TAIL, CONSOLE_TAIL));
    return object;
}

/* ---- runs ---- */

static json_t *run_json(run_t *run)
{
    json_t *object = need_json(json_copy(run->facts));

    if (run->started > 0)
        json_object_set_new(object, "started", json_real(run->started));
    json_object_set(object, "config", run->config);
    json_object_set(object, "summary", run->summary);
    json_object_set(object, "environment", run->environment);
    json_object_set(object, "artifacts", run->artifacts);
    json_object_set(object, "media", run->media);
    json_object_set_new(object, "figures", run_figures(run));
    json_object_set(object, "warnings", run->warnings);
    json_object_set_new(object, "console", console_json(&run->console));
    return object;
}

bool page_add_run(FILE *file, run_t *run)
{
    /* Figures are drawn: ten digits are more than any screen has. */
    return put_json(file, "run", run_json(run), 17) &&
           put_json(file, "history", table_json(&run->history), 10) &&
           put_json(file, "system", table_json(&run->system), 10);
}
