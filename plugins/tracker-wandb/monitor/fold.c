/* SPDX-License-Identifier: Apache-2.0 */
#include "fold.h"

#include <stdlib.h>
#include <string.h>

#include "utf8.h"

enum {
    WINDOW = 32, /* lines of the run that may change, and lines that a cursor can reach */
    LINE_MAX_LENGTH = 4096,
};

typedef struct {
    bool is_stderr, changed;
    struct timespec time;
    uint32_t *codes;
    size_t length, capacity;
} line_t;

typedef enum { TEXT, ESCAPE, BRACKET } state_t;

/* The numbers of the lines in view, a ring; the cursor may stand below the last of them. */
typedef struct {
    int64_t view[WINDOW];
    size_t top, count, row, column;
    state_t state;
    char partial[4]; /* the beginning of a character */
    size_t num_partial;
} terminal_t;

struct accel__wandb_fold {
    accel__wandb_line_fn take;
    void *context;
    line_t lines[WINDOW]; /* line n at n % WINDOW */
    int64_t first, next;  /* [first, next) may change */
    terminal_t terminals[2];
    char text[LINE_MAX_LENGTH * 4 + 1];
    bool failed;
};

/* ---- the run's lines ---- */

static void hand_over(accel__wandb_fold_t *fold, int64_t number, bool final)
{
    line_t *line = &fold->lines[number % WINDOW];
    size_t length = 0;
    for (size_t i = 0; i < line->length; i++)
        length += accel__wandb_utf8_encode(line->codes[i], fold->text + length);
    fold->text[length] = '\0';
    accel__wandb_line_t told = {
        .number = number,
        .is_stderr = line->is_stderr,
        .changed = line->changed,
        .final = final,
        .time = line->time,
        .text = fold->text,
        .length = length,
    };
    line->changed = false;
    fold->take(fold->context, &told);
}

static int64_t begin_line(accel__wandb_fold_t *fold, bool is_stderr, struct timespec time)
{
    if (fold->next - fold->first == WINDOW)
        hand_over(fold, fold->first++, true);
    line_t *line = &fold->lines[fold->next % WINDOW];
    line->is_stderr = is_stderr;
    line->changed = true;
    line->time = time;
    line->length = 0;
    return fold->next++;
}

static bool grow(line_t *line, size_t length)
{
    if (length <= line->capacity)
        return true;
    size_t capacity = length < 80                    ? 80
                      : length * 2 < LINE_MAX_LENGTH ? length * 2
                                                     : LINE_MAX_LENGTH;
    uint32_t *codes = realloc(line->codes, capacity * sizeof(*codes));
    if (!codes)
        return false;
    line->codes = codes;
    line->capacity = capacity;
    return true;
}

static void set_character(accel__wandb_fold_t *fold, int64_t number, size_t column, uint32_t code)
{
    line_t *line = &fold->lines[number % WINDOW];
    if (number < fold->first || column >= LINE_MAX_LENGTH)
        return;
    if (!grow(line, column + 1)) {
        fold->failed = true;
        return;
    }
    while (line->length <= column)
        line->codes[line->length++] = ' ';
    line->changed |= line->codes[column] != code;
    line->codes[column] = code;
}

/* ---- the terminals ---- */

static int64_t *seat(terminal_t *terminal, size_t row)
{
    return &terminal->view[(terminal->top + row) % WINDOW];
}

static void scroll(terminal_t *terminal)
{
    if (terminal->row < WINDOW)
        return;
    terminal->row--;
    if (terminal->count) {
        terminal->count--;
        terminal->top = (terminal->top + 1) % WINDOW;
    }
}

static void put(accel__wandb_fold_t *fold, terminal_t *terminal, struct timespec time,
                uint32_t code)
{
    bool is_stderr = terminal == &fold->terminals[1];
    while (terminal->count <= terminal->row)
        *seat(terminal, terminal->count++) = begin_line(fold, is_stderr, time);
    set_character(fold, *seat(terminal, terminal->row), terminal->column++, code);
}

static void put_text(accel__wandb_fold_t *fold, terminal_t *terminal, struct timespec time,
                     uint32_t code)
{
    switch (code) {
    case '\r':
        terminal->column = 0;
        break;
    case '\n':
        terminal->column = 0;
        terminal->row++;
        scroll(terminal);
        break;
    case '\033':
        terminal->state = ESCAPE;
        break;
    default:
        put(fold, terminal, time, code);
    }
}

/* A sequence that is not known is text; the character that broke it off is what it is. */
static void put_code(accel__wandb_fold_t *fold, terminal_t *terminal, struct timespec time,
                     uint32_t code)
{
    state_t state = terminal->state;
    if (state == TEXT) {
        put_text(fold, terminal, time, code);
        return;
    }
    if (state == ESCAPE && code == '[') {
        terminal->state = BRACKET;
        return;
    }
    terminal->state = TEXT;
    if (state == BRACKET && code == 'A') {
        terminal->row -= terminal->row > 0;
    } else if (state == BRACKET && code == 'B') {
        terminal->row++;
        scroll(terminal);
    } else {
        put(fold, terminal, time, '\033');
        if (state == BRACKET)
            put(fold, terminal, time, '[');
        put_text(fold, terminal, time, code);
    }
}

bool accel__wandb_fold_feed(accel__wandb_fold_t *fold, bool is_stderr, struct timespec time,
                            const char *data, size_t size)
{
    terminal_t *terminal = &fold->terminals[is_stderr];
    uint32_t code;
    /* finish the character that the last piece began, byte by byte */
    while (terminal->num_partial && size) {
        terminal->partial[terminal->num_partial++] = *data++;
        size--;
        size_t length = accel__wandb_utf8_decode(terminal->partial, terminal->num_partial, &code);
        while (length) {
            put_code(fold, terminal, time, code);
            terminal->num_partial -= length;
            memmove(terminal->partial, terminal->partial + length, terminal->num_partial);
            length = terminal->num_partial
                         ? accel__wandb_utf8_decode(terminal->partial, terminal->num_partial, &code)
                         : 0;
        }
    }
    while (size) {
        size_t length = accel__wandb_utf8_decode(data, size, &code);
        if (!length) {
            memcpy(terminal->partial, data, size);
            terminal->num_partial = size;
            break;
        }
        put_code(fold, terminal, time, code);
        data += length;
        size -= length;
    }
    return !fold->failed;
}

/* ---- the whole ---- */

void accel__wandb_fold_flush(accel__wandb_fold_t *fold)
{
    for (int64_t number = fold->first; number < fold->next; number++)
        hand_over(fold, number, false);
}

accel__wandb_fold_t *accel__wandb_fold_create(accel__wandb_line_fn take, void *context)
{
    accel__wandb_fold_t *fold = calloc(1, sizeof(*fold));
    if (!fold)
        return NULL;
    fold->take = take;
    fold->context = context;
    return fold;
}

void accel__wandb_fold_destroy(accel__wandb_fold_t *fold)
{
    if (!fold)
        return;
    for (size_t i = 0; i < WINDOW; i++)
        free(fold->lines[i].codes);
    free(fold);
}
