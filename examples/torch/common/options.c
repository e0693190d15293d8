/* SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L

#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Train a small GPT, byte by byte, on the text of all FILEs together, and let it write.\n"
    "Default: the licences that are on every Debian, /usr/share/common-licenses/*. The last tenth\n"
    "is held out; the result is how many bits it takes for a byte of that.\n"
    "\n"
    "Training:\n"
    "  --epochs N           times that the text is read (4)\n"
    "  --batch N            windows of a batch, shared by all processes (16)\n"
    "  --accumulate N       batches that make an update (1)\n"
    "  --lr X               highest learning rate, between warm-up and cosine (0.003)\n"
    "  --seed N             of the first weights and of the order of windows (1)\n"
    "  --mixed_precision P  no, or bf16: matrices are multiplied in bfloat16 (no)\n"
    "The model:\n"
    "  --length N           bytes of a window, which is all that it sees (64)\n"
    "  --layers N           of attention and perceptron (3)\n"
    "  --width N            numbers that stand for a byte (96)\n"
    "  --heads N            of attention; must divide the width (4)\n"
    "What it says:\n"
    "  --log_with NAMES     trackers, below runs/: jsonl, or wandb, or both (jsonl)\n"
    "  --prompt TEXT        what it goes on from (\"The \")\n"
    "  --sample N           bytes that it writes (300)\n"
    "  --save FILE          keep what was learned, as safetensors\n"
    "  --help               this\n";

static const char help_of_c[] =
    "Where the model comes from:\n"
    "  --library FILE       a shared object that offers \"gpt\", of the size above\n"
    "                       (libgpt.so beside this program)\n"
    "  --archive FILE       what export_gpt.py wrote; its size is its own, --length at most that\n"
    "  --weights FILE       first weights, as safetensors\n";

/* What an option sets: a number in a range, or a text. */
typedef struct setting {
    const char *name;
    int64_t *number, least, most;
    const char **text;
} setting_t;

static void refuse(const char *program, const char *option, const char *value, const char *expected)
{
    fprintf(stderr, "%s: --%s '%s': expected %s; --help lists all options\n", program, option,
            value, expected);
    exit(2);
}

static int64_t whole_number(const char *program, const setting_t *setting, const char *value)
{
    char *end, expected[80];
    long long number;

    errno = 0;
    number = strtoll(value, &end, 10);
    if (end == value || *end != '\0' || errno != 0 || number < setting->least ||
        number > setting->most) {
        snprintf(expected, sizeof(expected), "a whole number from %lld to %lld",
                 (long long)setting->least, (long long)setting->most);
        refuse(program, setting->name, value, expected);
    }
    return number;
}

static double learning_rate(const char *program, const char *value)
{
    char *end;
    double number = strtod(value, &end);

    if (end == value || *end != '\0' || !(number > 0 && number <= 1))
        refuse(program, "lr", value, "a number above 0, at most 1");
    return number;
}

static void set(const char *program, const setting_t *setting, const char *value)
{
    if (setting->number)
        *setting->number = whole_number(program, setting, value);
    else
        *setting->text = value;
}

options_t options_parse(int argc, char **argv, const char *program, bool in_c)
{
    options_t o = {.epochs = 4,
                   .batch = 16,
                   .accumulate = 1,
                   .length = 64,
                   .sample = 300,
                   .seed = 1,
                   .layers = 3,
                   .width = 96,
                   .heads = 4,
                   .log_with = "jsonl",
                   .prompt = "The "};
    const char *lr = "0.003";
    const setting_t settings[] = {
        {"epochs", &o.epochs, 1, 100000, NULL},
        {"batch", &o.batch, 1, 100000, NULL},
        {"accumulate", &o.accumulate, 1, 10000, NULL},
        {"length", &o.length, 1, 65536, NULL},
        {"sample", &o.sample, 0, 1000000, NULL},
        {"seed", &o.seed, 1, INT32_MAX, NULL},
        {"layers", &o.layers, 1, 1000, NULL},
        {"width", &o.width, 1, 65536, NULL},
        {"heads", &o.heads, 1, 65536, NULL},
        {"lr", NULL, 0, 0, &lr},
        {"mixed_precision", NULL, 0, 0, &o.mixed_precision},
        {"log_with", NULL, 0, 0, &o.log_with},
        {"prompt", NULL, 0, 0, &o.prompt},
        {"save", NULL, 0, 0, &o.save},
        {"library", NULL, 0, 0, &o.library}, /* and of gpt_c.c only: */
        {"archive", NULL, 0, 0, &o.archive},
        {"weights", NULL, 0, 0, &o.weights},
    };
    enum { ALL = sizeof(settings) / sizeof(*settings), OF_C = 3 };
    struct option known[ALL + 2] = {{"help", no_argument, NULL, 'h'}};
    int found, which = 0;

    for (int i = 0; i < ALL - (in_c ? 0 : OF_C); i++)
        known[i + 1] = (struct option){settings[i].name, required_argument, NULL, 's'};
    while ((found = getopt_long(argc, argv, "h", known, &which)) != -1) {
        if (found == 'h') {
            printf("Usage: %s [OPTIONS] [FILE...]\n\n%s%s", program, help, in_c ? help_of_c : "");
            exit(0);
        }
        if (found != 's') /* getopt has said why */
            exit(2);
        set(program, &settings[which - 1], optarg);
    }
    o.lr = learning_rate(program, lr);
    if (*o.prompt == '\0')
        refuse(program, "prompt", o.prompt, "some text to go on from");
    o.files = argv + optind;
    o.num_files = argc - optind;
    if (o.width % o.heads != 0) {
        fprintf(stderr, "%s: --heads %lld does not divide --width %lld\n", program,
                (long long)o.heads, (long long)o.width);
        exit(2);
    }
    return o;
}

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    interrupted = 1;
    signal(number, SIG_DFL);
}

void interrupt_catch(void)
{
    signal(SIGINT, on_interrupt);
}

bool interrupt_seen(void)
{
    return interrupted != 0;
}
