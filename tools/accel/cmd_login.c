/* SPDX-License-Identifier: Apache-2.0 */
/* accel login: an API key of W&B, from somewhere that only its owner sees, to netrc. */
#include <accel/wandb.h>

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "tool.h"

static const char help[] =
    "Usage: accel login [OPTIONS] [KEY]\n"
    "\n"
    "Log in to Weights & Biases: ask the server whether it takes the API key, and keep it in "
    "netrc\n"
    "($NETRC, ~/.netrc), where runs find it, also those of the Python client. The key is on your\n"
    "page of W&B: https://wandb.ai/authorize\n"
    "\n"
    "On a terminal the key is asked for and not shown. In a script it is the first line of "
    "standard\n"
    "input. A KEY on the command line can be seen by others on this machine, and stays in the\n"
    "shell's history. Without any key, the one that is there already is checked.\n"
    "\n"
    "Options:\n"
    "      --host URL    Another server than the public one; kept for later runs\n"
    "      --relogin     Ask for a key although there is one\n"
    "      --no-verify   Do not ask the server: it cannot be reached from here\n"
    "      --verify      Ask it; the default\n"
    "  -h, --help        Show this\n"
    "\n"
    "Examples:\n"
    "  accel login\n"
    "  accel login --host https://wandb.example.org < key.txt\n"
    "  pass show wandb | accel login\n"
    "\n"
    "Exit status: 0 if logged in, 1 if not, 2 for wrong options, 130 if interrupted.\n";

enum { KEY_SIZE = 1024, CTRL_C = 3, INTERRUPTED = 128 + SIGINT };

/* ---- the key ---- */

/* A line, without its end and white space around it. -1: it is too long; 0: there is none. */
static int read_line(char *line, size_t size)
{
    size_t length = 0;
    char c = 0;
    ssize_t got;

    while ((got = read(STDIN_FILENO, &c, 1)) != 0 && c != '\n' && c != CTRL_C) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 || length + 1 == size)
            return -1;
        if (length || !strchr(" \t", c))
            line[length++] = c;
        c = 0;
    }
    while (length && strchr(" \t\r", line[length - 1]))
        length--;
    line[length] = '\0';
    return c == CTRL_C ? CTRL_C : length != 0;
}

/* Without echo. Ctrl-C ends the line instead of the program, so that the terminal is left as it
 * was found. */
static int ask(char *key, size_t size)
{
    struct termios before, quiet;
    int result;

    if (tcgetattr(STDIN_FILENO, &before) < 0)
        return -1;
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
    quiet.c_cc[VEOL] = CTRL_C;
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) < 0)
        return -1;
    fputs("W&B API key (https://wandb.ai/authorize; not shown): ", stderr);
    result = read_line(key, size);
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fputc('\n', stderr);
    return result;
}

/* Others see a process's arguments: there it is gone now, though not from the shell's history. */
static void take_argument(char *argument, char *key, size_t size)
{
    snprintf(key, size, "%s", argument);
    memset(argument, '*', strlen(argument));
    tool_say("login", "a key on the command line can be seen by others and stays in the shell's "
                      "history; better: accel login, or accel login < FILE");
}

/* ---- the command ---- */

typedef struct {
    accel_wandb_login_options_t options;
    bool relogin;
    char key[KEY_SIZE];
} login_tool_t;

static int login(login_tool_t *tool)
{
    accel_wandb_login_result_t result;
    bool verified = tool->options.verify != ACCEL_OFF;
    accel_status_t status = accel_wandb_login(&tool->options, &result);

    if (status == ACCEL_OK && tool->options.key && getenv("WANDB_API_KEY"))
        tool_say("login", "WANDB_API_KEY is set, and goes before what is kept in %s",
                 result.source);
    if (status != ACCEL_OK) {
        tool_say("login", "%s", accel_last_error());
        if (status == ACCEL_ERR_IO && verified)
            tool_say("login", "if the server cannot be reached from here: accel login --no-verify");
        return TOOL_FAILED;
    }
    if (verified)
        printf("Logged in to %s as %s; runs go to %s. The key is in %s\n", result.host,
               result.username, *result.entity ? result.entity : result.username, result.source);
    else
        printf("The key for %s is in %s; it was not checked\n", result.host, result.source);
    return tool_finish("login");
}

/* Is there one already? Then it is checked, and nobody is asked. */
static bool has_key(const login_tool_t *tool)
{
    accel_wandb_login_options_t options = tool->options;

    options.verify = ACCEL_OFF;
    options.host = NULL;
    return !tool->options.host && accel_wandb_login(&options, NULL) == ACCEL_OK;
}

static int find_key(login_tool_t *tool, char *argument)
{
    bool terminal = isatty(STDIN_FILENO);
    int found = 0;

    if (argument && strcmp(argument, "-") != 0) {
        take_argument(argument, tool->key, sizeof(tool->key));
        found = 1;
    } else if (!terminal) {
        found = read_line(tool->key, sizeof(tool->key));
    } else if (tool->relogin || !has_key(tool)) {
        found = ask(tool->key, sizeof(tool->key));
        if (found == 0)
            found = -1;
    }
    if (found == CTRL_C)
        return INTERRUPTED;
    if (found < 0 || (found == 0 && (tool->relogin || argument))) {
        tool_say("login", "no key came from %s; expected one line",
                 terminal ? "the terminal" : "standard input");
        return TOOL_FAILED;
    }
    tool->options.key = found ? tool->key : NULL;
    return TOOL_OK;
}

static int run(int argc, char **argv)
{
    enum { HOST = 256, RELOGIN, VERIFY, NO_VERIFY };
    static const struct option long_options[] = {
        {"host", required_argument, NULL, HOST}, {"relogin", no_argument, NULL, RELOGIN},
        {"verify", no_argument, NULL, VERIFY},   {"no-verify", no_argument, NULL, NO_VERIFY},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0}};
    login_tool_t tool = {.options = accel_wandb_login_options_init()};
    int option, code;

    opterr = 0;
    while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
        if (option == 'h')
            return tool_help(&tool_login);
        if (option == ':' || option == '?') {
            tool_say("login",
                     option == ':' ? "%s needs a value"
                                   : "unknown option %s; `accel login --help` lists them",
                     argv[optind - 1]);
            return TOOL_USAGE;
        }
        if (option == HOST)
            tool.options.host = optarg;
        else if (option == RELOGIN)
            tool.relogin = true;
        else
            tool.options.verify = option == VERIFY ? ACCEL_ON : ACCEL_OFF;
    }
    if (argc - optind > 1) {
        tool_say("login", "more than one key is given; expected at most one");
        return TOOL_USAGE;
    }
    code = find_key(&tool, argv[optind]);
    if (code == TOOL_OK)
        code = login(&tool);
    explicit_bzero(tool.key, sizeof(tool.key));
    return code;
}

const tool_command_t tool_login = {
    .name = "login",
    .summary = "Keep an API key of W&B for runs and syncs",
    .help = help,
    .run = run,
};
