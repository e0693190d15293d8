/* SPDX-License-Identifier: Apache-2.0 */
/* Learns to spell from a list of words, and invents new ones.
 *
 *     ./words ; accel launch -n 2 ./words ; ./words --help
 *
 * gpt.c is the model, text.c the list. This is the training loop: on any number of processes,
 * tracked by W&B. With WORDS_WITHOUT_ACCEL defined it is the same program for one process,
 * and plain.c brings the batches, the optimizer and the schedule. */
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef WORDS_WITHOUT_ACCEL
#include "plain.h"
#else
#include <accel/accel.h>
#endif
#include "gpt.h"
#include "text.h"

#define WEIGHT_DECAY 0.05
#define MAX_NORM 1.0
#define TEMPERATURE 0.8

typedef struct options {
    int64_t epochs, steps, batch;
    double lr;
    gpt_options_t model;
    int64_t inventions;
    bool bar;
    const char *file;
} options_t;

/* ---- the command line ---- */

static const char help[] =
    "Usage: words [OPTIONS] [FILE]\n"
    "\n"
    "Train a small GPT, letter by letter, on the words of FILE and invent new ones. FILE is any\n"
    "text; its words are what stands between blanks, if it is all a-z and shorter than 16.\n"
    "Default: /usr/share/dict/words, from Debian's package wamerican.\n"
    "\n"
    "  ./words                              alone, on one core\n"
    "  accel launch ./words                 one process for every core: the same result, sooner\n"
    "  accel launch -n 2 ./words --epochs 1 names.txt\n"
    "\n"
    "Training:\n"
    "  --epochs N      times that every word is seen (6)\n"
    "  --steps N       end after N updates instead, each of one batch\n"
    "  --batch N       words of an update, over all processes; rounded up to a multiple of them (240)\n"
    "  --lr X          highest learning rate: reached by a warm-up, left along a cosine (0.003)\n"
    "  --seed N        of the first values and of the order of words (1)\n"
    "The model:\n"
    "  --layers N      of attention and perceptron (3)\n"
    "  --width N       numbers that stand for a letter (128)\n"
    "  --heads N       of attention; must divide the width (4)\n"
    "What it says:\n"
    "  --inventions N  words to invent in the end (10)\n"
    "  --progress P    bar or lines; default: a bar on a terminal\n"
    "  --help          this\n"
    "\n"
    "The losses are nats per character, the end of a word included. About every tenth word is\n"
    "set aside for validation. The W&B run is written below ./wandb; WANDB_MODE=offline keeps\n"
    "it on this machine.\n";

static void refuse(const char *option, const char *value, const char *expected)
{
    fprintf(stderr, "words: --%s '%s': expected %s; words --help lists all options\n", option,
            value, expected);
    exit(2);
}

static int64_t whole_number(const char *option, const char *value, int64_t least, int64_t most)
{
    char *end, expected[64];
    long long number;

    errno = 0;
    number = strtoll(value, &end, 10);
    if (end == value || *end != '\0' || errno != 0 || number < least || number > most) {
        snprintf(expected, sizeof(expected), "a whole number from %lld to %lld", (long long)least,
                 (long long)most);
        refuse(option, value, expected);
    }
    return number;
}

static double learning_rate(const char *value)
{
    char *end;
    double number = strtod(value, &end);

    if (end == value || *end != '\0' || !(number > 0 && number <= 1))
        refuse("lr", value, "a number above 0, at most 1");
    return number;
}

static bool wants_bar(const char *value)
{
    if (strcmp(value, "bar") != 0 && strcmp(value, "lines") != 0)
        refuse("progress", value, "bar or lines");
    return strcmp(value, "bar") == 0;
}

static void parse_option(options_t *options, const char *name, const char *value)
{
    if (strcmp(name, "epochs") == 0)
        options->epochs = whole_number(name, value, 1, 100000);
    else if (strcmp(name, "steps") == 0)
        options->steps = whole_number(name, value, 1, 1000000000);
    else if (strcmp(name, "batch") == 0)
        options->batch = whole_number(name, value, 1, 100000);
    else if (strcmp(name, "lr") == 0)
        options->lr = learning_rate(value);
    else if (strcmp(name, "seed") == 0)
        options->model.seed = (uint64_t)whole_number(name, value, 1, INT32_MAX);
    else if (strcmp(name, "layers") == 0)
        options->model.layers = (int)whole_number(name, value, 1, 100);
    else if (strcmp(name, "width") == 0)
        options->model.width = (int)whole_number(name, value, 1, 4096);
    else if (strcmp(name, "heads") == 0)
        options->model.heads = (int)whole_number(name, value, 1, 4096);
    else if (strcmp(name, "inventions") == 0)
        options->inventions = whole_number(name, value, 0, 1000);
    else
        options->bar = wants_bar(value);
}

static options_t parse_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"epochs", 1, NULL, 1}, {"steps", 1, NULL, 1},      {"batch", 1, NULL, 1},
        {"lr", 1, NULL, 1},     {"seed", 1, NULL, 1},       {"layers", 1, NULL, 1},
        {"width", 1, NULL, 1},  {"heads", 1, NULL, 1},      {"inventions", 1, NULL, 1},
        {"help", 0, NULL, 'h'}, {"progress", 1, NULL, 1},   {NULL, 0, NULL, 0}};
    options_t options = {.epochs = 6, .batch = 240, .lr = 3e-3, .inventions = 10,
                         .model = {.layers = 3, .width = 128, .heads = 4, .seed = 1},
                         .bar = isatty(STDOUT_FILENO) != 0, .file = "/usr/share/dict/words"};
    int found, which = 0;

    while ((found = getopt_long(argc, argv, "h", known, &which)) != -1) {
        if (found == 'h') {
            fputs(help, stdout);
            exit(0);
        }
        if (found != 1) /* getopt has said why */
            exit(2);
        parse_option(&options, known[which].name, optarg);
    }
    if (argc - optind > 1)
        refuse("file", argv[optind + 1], "one FILE");
    if (optind < argc)
        options.file = argv[optind];
    if (options.model.width % options.model.heads != 0) {
        fprintf(stderr, "words: --heads %d does not divide --width %d\n", options.model.heads,
                options.model.width);
        exit(2);
    }
    return options;
}

/* ---- what it says ---- */

typedef struct progress {
    bool speaks, bar;
    int64_t step, steps;     /* steps made, of all */
    int64_t words, every;    /* words seen; lines: a line every so many steps */
    double began, last_bar;  /* seconds */
} progress_t;

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double words_per_second(const progress_t *progress)
{
    return (double)progress->words / (seconds() - progress->began + 1e-9);
}

static void show_bar(progress_t *progress, const char *text)
{
    static const char full[] = "##############################";
    double now = seconds(), share = (double)progress->step / (double)progress->steps;

    if (now - progress->last_bar < 0.1 && progress->step < progress->steps)
        return;
    progress->last_bar = now;
    printf("%3d%% |%-30.*s| %s\r", (int)(share * 100), (int)(share * 30), full, text);
    fflush(stdout);
}

static void show_progress(progress_t *progress, double loss)
{
    double speed = words_per_second(progress);
    double left = (seconds() - progress->began) *
                  (double)(progress->steps - progress->step) / (double)progress->step;
    char text[128];

    if (!progress->speaks)
        return;
    snprintf(text, sizeof(text), "loss %.5f  %.0f words/s  %d:%02d left", loss, speed,
             (int)left / 60, (int)left % 60);
    if (progress->bar)
        show_bar(progress, text);
    else if (progress->step % progress->every == 0 || progress->step == progress->steps)
        printf("step %lld of %lld  %s\n", (long long)progress->step, (long long)progress->steps,
               text);
}

static void show_epoch(const progress_t *progress, int64_t epoch, double loss)
{
    if (progress->speaks)
        printf("epoch %lld: validation loss %.5f nats per character%*s\n", (long long)epoch, loss,
               progress->bar ? 40 : 0, ""); /* over what is left of the bar */
}

static void invent(gpt_t *gpt, const word_list_t *train, const word_list_t *valid,
                   const options_t *options)
{
    uint64_t random = options->model.seed;
    int64_t found = 0;
    char word[GPT_LENGTH];

    if (options->inventions > 0)
        printf("words that are not in the list:");
    for (int tries = 0; found < options->inventions && tries < 100000; tries++) {
        gpt_invent(gpt, TEMPERATURE, &random, word);
        if (strlen(word) < 4 || text_has(train, word) || text_has(valid, word))
            continue;
        printf(" %s", word);
        found++;
    }
    if (options->inventions > 0)
        printf("\n");
}

/* ---- learning ---- */

#ifndef WORDS_WITHOUT_ACCEL
static accel_status_t backward(void *context, double scale)
{
    gpt_backward((gpt_t *)context, scale);
    return ACCEL_OK;
}

static accel_model_t *model_of(gpt_t *gpt)
{
    int count;
    gpt_parameter_t *p = gpt_parameters(gpt, &count);
    accel_model_t *model;

    ACCEL_CHECK(
        accel_model_create(ACCEL_MODEL_OPTIONS(.backward = backward, .context = gpt), &model));
    for (int i = 0; i < count; i++)
        ACCEL_CHECK(accel_model_add(model, p[i].name, ACCEL_F32,
                                    ACCEL_SHAPE(p[i].rows, p[i].columns), &p[i].value,
                                    &p[i].gradient));
    return model;
}

static accel_loader_t *loader_of(const word_list_t *list, int64_t batch_size, bool train,
                                 uint64_t seed, accel_dataset_t **dataset)
{
    const accel_tensor_t *words = ACCEL_TENSOR(list->words, ACCEL_U8, list->count, GPT_LENGTH);
    accel_loader_t *loader;

    ACCEL_CHECK(accel_tensor_dataset_create(&words, 1, dataset));
    ACCEL_CHECK(accel_loader_create(*dataset,
                                    ACCEL_LOADER_OPTIONS(.batch_size = batch_size,
                                                         .shuffle = train, .drop_last = train,
                                                         .seed = seed),
                                    &loader));
    return loader;
}
#endif

/* Mean over every character of every word once, whatever the number of processes. */
#ifdef WORDS_WITHOUT_ACCEL
static double validate(gpt_t *gpt, plain_loader_t *loader)
{
    plain_batch_t batch;
    double nats = 0, characters = 0;

    plain_loader_begin(loader);
    while (plain_loader_next(loader, &batch)) {
        gpt_forward(gpt, batch.words, batch.rows);
        const gpt_score_t *scores = gpt_scores(gpt);
        int64_t count = batch.rows;
#else
static double validate(accel_t *accelerator, gpt_t *gpt, accel_loader_t *loader)
{
    accel_batch_t batch;
    accel_tensor_t *gathered;
    double nats = 0, characters = 0;

    ACCEL_CHECK(accel_loader_begin(loader, 0));
    while (ACCEL_NEXT(loader, &batch)) {
        gpt_forward(gpt, batch.fields[0].data, batch.rows);
        ACCEL_CHECK(accel_gather_for_metrics(
            accelerator, ACCEL_TENSOR(gpt_scores(gpt), ACCEL_F32, batch.rows, 2), &gathered));
        const gpt_score_t *scores = gathered->data;
        int64_t count = gathered->shape[0];
#endif
        for (int64_t i = 0; i < count; i++) {
            nats += (double)scores[i].nats;
            characters += (double)scores[i].characters;
        }
#ifndef WORDS_WITHOUT_ACCEL
        accel_tensor_destroy(gathered);
#endif
    }
    return nats / characters;
}

/* How many steps of how many words. Ends the program if the list is too short. */
static progress_t plan(options_t *options, const word_list_t *train, int64_t processes)
{
    options->batch = (options->batch + processes - 1) / processes * processes;
    if (train->count < options->batch) {
        fprintf(stderr, "words: --batch %lld: %s has only %lld words to train on\n",
                (long long)options->batch, options->file, (long long)train->count);
        exit(2);
    }
    if (options->steps == 0)
        options->steps = options->epochs * (train->count / options->batch);
    return (progress_t){.speaks = true, .bar = options->bar, .steps = options->steps,
                        .every = (options->steps + 11) / 12, .began = seconds()};
}

/* Beside what counting letters gives. */
static void show_result(const progress_t *progress, const word_list_t *train,
                        const word_list_t *valid, double loss)
{
    printf("trained on %lld words in %.1f s, %.0f words/s\n", (long long)progress->words,
           seconds() - progress->began, words_per_second(progress));
    printf("validation loss %.4f nats per character; a 4-gram has %.4f, a trigram %.4f\n", loss,
           text_ngram_loss(train, valid, 4), text_ngram_loss(train, valid, 3));
}

int main(int argc, char **argv)
{
    options_t options = parse_options(argc, argv);
    word_list_t train, valid;
    double valid_loss = 0;

    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    text_read(options.file, &train, &valid);
    options.model.characters = (double)text_characters(&train) / (double)train.count;
    gpt_t *gpt = gpt_create(&options.model);
    int64_t processes = 1;
#ifndef WORDS_WITHOUT_ACCEL
    accel_t *accelerator;
    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.log_with = "wandb"), &accelerator));
    processes = accel_num_processes(accelerator);
#endif
    progress_t progress = plan(&options, &train, processes);
    int64_t warmup = options.steps / 20 + 1;
#ifdef WORDS_WITHOUT_ACCEL
    plain_batch_t batch;
    plain_loader_t *loader = plain_loader_create(&train, options.batch, true, options.model.seed);
    plain_loader_t *valid_loader = plain_loader_create(&valid, options.batch, false, 0);
    plain_adamw_t *optimizer = plain_adamw_create(gpt, WEIGHT_DECAY);
#else
    accel_batch_t batch;
    accel_dataset_t *train_set, *valid_set;
    accel_optimizer_t *optimizer;
    accel_scheduler_t *scheduler;
    accel_model_t *model = model_of(gpt);
    accel_loader_t *loader = loader_of(&train, options.batch / processes, true, options.model.seed,
                                       &train_set);
    accel_loader_t *valid_loader = loader_of(&valid, options.batch / processes, false, 0,
                                             &valid_set);
    ACCEL_CHECK(accel_adamw_create(model, ACCEL_ADAMW_OPTIONS(.lr = options.lr, .beta2 = 0.99,
        .weight_decay = WEIGHT_DECAY), &optimizer));
    ACCEL_CHECK(accel_scheduler_create(optimizer, ACCEL_SCHEDULER_OPTIONS(.name = "cosine",
        .num_warmup_steps = warmup, .num_training_steps = options.steps), &scheduler));
    ACCEL_CHECK(accel_init_trackers(accelerator, "words", ACCEL_DICT(
        "layers", options.model.layers, "width", options.model.width, "heads", options.model.heads,
        "batch", options.batch, "steps", options.steps, "lr", options.lr,
        "seed", options.model.seed, "file", options.file, "processes", processes), NULL));
    ACCEL_CHECK(accel_prepare(accelerator, model, optimizer, loader, scheduler));
    ACCEL_CHECK(accel_prepare_loader(accelerator, valid_loader));
    progress.speaks = accel_is_local_main_process(accelerator);
#endif

    for (int64_t epoch = 0; progress.step < options.steps; epoch++) {
#ifdef WORDS_WITHOUT_ACCEL
        plain_loader_begin(loader);
        while (progress.step < options.steps && plain_loader_next(loader, &batch)) {
            double loss = gpt_forward(gpt, batch.words, batch.rows);
            gpt_backward(gpt, 1);
            plain_clip_grad_norm(optimizer, MAX_NORM);
            plain_adamw_step(optimizer, options.lr * plain_schedule(progress.step, warmup, options.steps));
            plain_zero_grad(optimizer);
#else
        ACCEL_CHECK(accel_loader_begin(loader, epoch));
        while (progress.step < options.steps && ACCEL_NEXT(loader, &batch)) {
            double loss = gpt_forward(gpt, batch.fields[0].data, batch.rows);
            double lr = accel_optimizer_get_lr(optimizer);
            ACCEL_CHECK(accel_backward(accelerator, model));
            ACCEL_CHECK(accel_clip_grad_norm(accelerator, model, MAX_NORM, NULL));
            ACCEL_CHECK(accel_optimizer_step(optimizer));
            ACCEL_CHECK(accel_scheduler_step(scheduler));
            ACCEL_CHECK(accel_optimizer_zero_grad(optimizer));
            ACCEL_CHECK(accel_reduce(accelerator, ACCEL_TENSOR(&loss, ACCEL_F64, 1), ACCEL_MEAN));
            ACCEL_CHECK(accel_log(accelerator, ACCEL_DICT("train_loss", loss, "lr", lr,
                "words_per_second", words_per_second(&progress)), progress.step));
#endif
            progress.step++;
            progress.words += options.batch;
            show_progress(&progress, loss);
        }
#ifdef WORDS_WITHOUT_ACCEL
        valid_loss = validate(gpt, valid_loader);
#else
        accel_loader_end(loader);
        valid_loss = validate(accelerator, gpt, valid_loader);
        ACCEL_CHECK(accel_log(accelerator, ACCEL_DICT("valid_loss", valid_loss), progress.step));
#endif
        show_epoch(&progress, epoch + 1, valid_loss);
    }
    if (progress.speaks) {
        show_result(&progress, &train, &valid, valid_loss);
        invent(gpt, &train, &valid, &options);
    }
#ifdef WORDS_WITHOUT_ACCEL
    plain_adamw_destroy(optimizer);
    plain_loader_destroy(valid_loader);
    plain_loader_destroy(loader);
#else
    ACCEL_CHECK(accel_end_training(accelerator));
    accel_scheduler_destroy(scheduler);
    accel_optimizer_destroy(optimizer);
    accel_loader_destroy(loader);
    accel_loader_destroy(valid_loader);
    accel_dataset_destroy(train_set);
    accel_dataset_destroy(valid_set);
    accel_model_destroy(model);
    accel_destroy(accelerator);
#endif
    gpt_destroy(gpt);
    free(train.words);
    free(valid.words);
    return 0;
}
