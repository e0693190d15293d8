/* SPDX-License-Identifier: Apache-2.0 */
#include "terminal.h"

#include <string.h>

static void begin(accel__wandb_terminal_t *terminal, accel__wandb_screen_t *screen)
{
    if (screen->number < 0)
        screen->number = terminal->lines++;
}

static void put(accel__wandb_terminal_t *terminal, accel__wandb_screen_t *screen, char c)
{
    accel__wandb_text_t *line = &screen->line;
    begin(terminal, screen);
    if (screen->cursor < line->length)
        line->data[screen->cursor] = c;
    else if (line->length < ACCEL__WANDB_TERMINAL_LINE)
        accel__wandb_text_append(line, &c, 1);
    else
        return;
    screen->cursor++;
}

/* CSI K and the like: only what changes the text of the line is obeyed. */
static void obey(accel__wandb_screen_t *screen, char command)
{
    screen->escape = 0;
    if (command == 'K' && screen->line.data && screen->cursor < screen->line.length)
        screen->line.data[screen->line.length = screen->cursor] = '\0';
}

static void emit(accel__wandb_screen_t *screen, bool is_stderr, bool ended,
                 accel__wandb_line_fn changed, void *context)
{
    if (screen->number < 0)
        return;
    changed(context, screen->number, screen->line.length ? screen->line.data : "", is_stderr,
            ended);
    if (!ended)
        return;
    screen->number = -1;
    screen->line.length = 0;
    screen->cursor = 0;
}

void accel__wandb_terminal_write(accel__wandb_terminal_t *terminal, bool is_stderr,
                                 const char *text, accel__wandb_line_fn changed, void *context)
{
    accel__wandb_screen_t *screen = &terminal->screens[!is_stderr];
    if (!terminal->lines && !screen->line.data)
        terminal->screens[0].number = terminal->screens[1].number = -1;
    for (; *text; text++) {
        if (screen->escape == 1) {
            screen->escape = *text == '[' ? 2 : 0;
        } else if (screen->escape == 2) {
            if ((unsigned char)*text >= 0x40 && (unsigned char)*text < 0x7f)
                obey(screen, *text);
        } else if (*text == '\n') {
            begin(terminal, screen);
            emit(screen, is_stderr, true, changed, context);
        } else if (*text == '\r') {
            screen->cursor = 0;
        } else if (*text == '\b') {
            screen->cursor -= screen->cursor > 0;
        } else if (*text == '\033') {
            screen->escape = 1;
        } else if ((unsigned char)*text >= 0x20 || *text == '\t') {
            put(terminal, screen, *text);
        }
    }
    emit(screen, is_stderr, false, changed, context);
}

void accel__wandb_terminal_end(accel__wandb_terminal_t *terminal, accel__wandb_line_fn changed,
                               void *context)
{
    if (!terminal->lines)
        return;
    for (int i = 0; i < 2; i++)
        emit(&terminal->screens[i], i == 0, true, changed, context);
}

void accel__wandb_terminal_free(accel__wandb_terminal_t *terminal)
{
    for (int i = 0; i < 2; i++)
        accel__wandb_text_free(&terminal->screens[i].line);
    *terminal = (accel__wandb_terminal_t){0};
}
