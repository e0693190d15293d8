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
    int64_t epochs, steps, batch, accumulate;
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
    "  --epochs N      times that every word is seen (9)\n"
    "  --steps N       end after N batches instead\n"
    "  --batch N       words of a batch, shared by all processes; rounded up if needed (240)\n"
    "  --accumulate N  batches that make an update (1)\n"
    "  --lr X          highest learning rate: reached by a warm-up, left along a cosine (0.003)\n"
    "  --seed N        of the first values and of the order of words (1)\n"
    "The model:\n"
    "  --layers N      of attention and perceptron (3)\n"
    "  --width N       numbers that stand for a letter (96)\n"
    "  --heads N       of attention; must divide the width (4)\n"
    "What it says:\n"
    "  --inventions N  words to invent in the end (10)\n"
    "  --progress P    bar or lines; default: a bar on a terminal\n"
    "  --help          this\n"
    "\n"
    "With ACCELERATE_MIXED_PRECISION=bf16, or accel launch --mixed_precision bf16, matrices are\n"
    "multiplied in bfloat16; what is trained stays float32.\n"
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
    else if (strcmp(name, "accumulate") == 0)
        options->accumulate = whole_number(name, value, 1, 10000);
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
        {"epochs", 1, NULL, 1}, {"steps", 1, NULL, 1},    {"batch", 1, NULL, 1},
        {"lr", 1, NULL, 1},     {"seed", 1, NULL, 1},     {"layers", 1, NULL, 1},
        {"width", 1, NULL, 1},  {"heads", 1, NULL, 1},    {"inventions", 1, NULL, 1},
        {"help", 0, NULL, 'h'}, {"progress", 1, NULL, 1}, {"accumulate", 1, NULL, 1},
        {NULL, 0, NULL, 0}};
    options_t options = {.epochs = 9,
                         .batch = 240,
                         .accumulate = 1,
                         .lr = 3e-3,
                         .inventions = 10,
                         .model = {.layers = 3, .width = 96, .heads = 4, .seed = 1},
                         .bar = isatty(STDOUT_FILENO) != 0,
                         .file = "/usr/share/dict/words"};
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
    int64_t step, steps;    /* steps made, of all */
    int64_t words, every;   /* words seen; lines: a line every so many steps */
    double began, last_bar; /* seconds */
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
    /* Padded, to cover the one before. */
    printf("%3d%% |%-30.*s| %-42s\r", (int)(share * 100), (int)(share * 30), full, text);
    fflush(stdout);
}

static void show_progress(progress_t *progress, int64_t epoch, double lr, double loss)
{
    double speed = words_per_second(progress);
    double left = (seconds() - progress->began) * (double)(progress->steps - progress->step) /
                  (double)progress->step;
    char text[128];

    if (!progress->speaks)
        return;
    snprintf(text, sizeof(text), "loss %.5f  %.0f words/s  %d:%02d left", loss, speed,
             (int)left / 60, (int)left % 60);
    if (progress->bar)
        show_bar(progress, text);
    else if (progress->step == 1 || progress->step % progress->every == 0 ||
             progress->step == progress->steps)
        printf("step %lld of %lld  epoch %lld  lr %.5f  %s\n", (long long)progress->step,
               (long long)progress->steps, (long long)epoch, lr, text);
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

/* Beside what counting letters gives. */
static void show_result(const progress_t *progress, const word_list_t *train,
                        const word_list_t *valid, double loss)
{
    printf("trained on %lld words in %.1f s: %.0f words/s\n", (long long)progress->words,
           seconds() - progress->began, words_per_second(progress));
    printf("validation loss %.4f nats per character; a trigram has %.4f, a 4-gram %.4f\n", loss,
           text_ngram_loss(train, valid, 3), text_ngram_loss(train, valid, 4));
}

/* ---- learning ---- */

typedef struct trainer {
    options_t options;
    word_list_t train, valid;
    gpt_t *gpt;
    progress_t progress;
    int64_t updates, warmup; /* batches over what accumulates, and those at first */
#ifdef WORDS_WITHOUT_ACCEL
    plain_loader_t *loader, *valid_loader;
    plain_adamw_t *optimizer;
#else
    accel_t *accelerator;
    accel_model_t *model;
    accel_dataset_t *train_set, *valid_set;
    accel_loader_t *loader, *valid_loader;
    accel_optimizer_t *optimizer;
    accel_scheduler_t *scheduler;
#endif
} trainer_t;

/* How many steps, of how many words. Ends the program if the list is too short. */
static void plan(trainer_t *t, int64_t processes)
{
    options_t *options = &t->options;

    options->batch = (options->batch + processes - 1) / processes * processes;
    if (t->train.count < options->batch) {
        fprintf(stderr, "words: --batch %lld: %s has only %lld words to train on\n",
                (long long)options->batch, options->file, (long long)t->train.count);
        exit(2);
    }
    if (options->steps == 0)
        options->steps = options->epochs * (t->train.count / options->batch);
    t->updates = (options->steps + options->accumulate - 1) / options->accumulate;
    t->warmup = t->updates / 20 + 1;
    t->progress = (progress_t){.speaks = true,
                               .bar = options->bar,
                               .steps = options->steps,
                               .every = (options->steps + 11) / 12,
                               .began = seconds()};
}

#ifdef WORDS_WITHOUT_ACCEL
static void begin(trainer_t *t)
{
    if (t->options.accumulate > 1)
        refuse("accumulate", "more than 1", "1, without accel");
    plan(t, 1);
    t->loader = plain_loader_create(&t->train, t->options.batch, true, t->options.model.seed);
    t->valid_loader = plain_loader_create(&t->valid, t->options.batch, false, 0);
    t->optimizer = plain_adamw_create(t->gpt, WEIGHT_DECAY);
}
#else
static accel_status_t backward(void *context, double scale)
{
    gpt_backward((gpt_t *)context, scale);
    return ACCEL_OK;
}

static accel_model_t *model_of(const accel_t *accelerator, gpt_t *gpt)
{
    bool in_bf16 = accel_autocast_dtype(accelerator) == ACCEL_BF16;
    int count;
    gpt_parameter_t *p = gpt_parameters(gpt, &count);
    accel_model_t *model;

    ACCEL_CHECK(
        accel_model_create(ACCEL_MODEL_OPTIONS(.backward = backward, .context = gpt), &model));
    for (int i = 0; i < count; i++) {
        ACCEL_CHECK(accel_model_add(model, p[i].name, ACCEL_F32,
                                    ACCEL_SHAPE(p[i].rows, p[i].columns), &p[i].value,
                                    &p[i].gradient));
        if (in_bf16)
            ACCEL_CHECK(accel_model_add_copy(model, p[i].name, &p[i].half));
    }
    return model;
}

static accel_dataset_t *dataset_of(const word_list_t *list)
{
    const accel_tensor_t *words = ACCEL_TENSOR(list->words, ACCEL_U8, list->count, GPT_LENGTH);
    accel_dataset_t *dataset;

    ACCEL_CHECK(accel_tensor_dataset_create(&words, 1, &dataset));
    return dataset;
}

/* clang-format off */
static void begin(trainer_t *t)
{
    const options_t *o = &t->options;

    ACCEL_CHECK(accel_create(ACCEL_OPTIONS(.log_with = "wandb", .split_batches = ACCEL_ON,
        .gradient_accumulation_steps = (int32_t)o->accumulate), &t->accelerator));
    plan(t, accel_num_processes(t->accelerator));
    t->progress.speaks = accel_is_local_main_process(t->accelerator);

    t->model = model_of(t->accelerator, t->gpt);
    t->train_set = dataset_of(&t->train);
    t->valid_set = dataset_of(&t->valid);
    ACCEL_CHECK(accel_loader_create(t->train_set, ACCEL_LOADER_OPTIONS(.batch_size = o->batch,
        .shuffle = true, .drop_last = true, .seed = o->model.seed), &t->loader));
    ACCEL_CHECK(accel_loader_create(t->valid_set, ACCEL_LOADER_OPTIONS(.batch_size = o->batch),
                                    &t->valid_loader));
    ACCEL_CHECK(accel_adamw_create(t->model, ACCEL_ADAMW_OPTIONS(.lr = o->lr, .beta2 = 0.99,
        .weight_decay = WEIGHT_DECAY), &t->optimizer));
    ACCEL_CHECK(accel_scheduler_create(t->optimizer, ACCEL_SCHEDULER_OPTIONS(.name = "cosine",
        .num_warmup_steps = t->warmup, .num_training_steps = t->updates), &t->scheduler));

    ACCEL_CHECK(accel_prepare(t->accelerator, t->model, t->optimizer, t->loader, t->scheduler));
    ACCEL_CHECK(accel_prepare_loader(t->accelerator, t->valid_loader));
    ACCEL_CHECK(accel_init_trackers(t->accelerator, "words", ACCEL_DICT("layers", o->model.layers,
        "width", o->model.width, "heads", o->model.heads, "batch", o->batch, "steps", o->steps,
        "lr", o->lr, "seed", o->model.seed, "file", o->file,
        "accumulate", o->accumulate, "mixed_precision", accel_mixed_precision(t->accelerator),
        "processes", accel_num_processes(t->accelerator)), NULL));
}
/* clang-format on */
#endif

static void train_epoch(trainer_t *t, int64_t epoch)
{
    progress_t *progress = &t->progress;
#ifdef WORDS_WITHOUT_ACCEL
    plain_batch_t batch;
    plain_loader_begin(t->loader);
    while (progress->step < progress->steps && plain_loader_next(t->loader, &batch)) {
        double lr = t->options.lr * plain_schedule(progress->step, t->warmup, progress->steps);
        double loss = gpt_forward(t->gpt, batch.words, batch.rows);
        gpt_backward(t->gpt, 1);
        plain_clip_grad_norm(t->optimizer, MAX_NORM);
        plain_adamw_step(t->optimizer, lr);
        plain_zero_grad(t->optimizer);
#else
    accel_batch_t batch;
    ACCEL_CHECK(accel_loader_begin(t->loader, epoch));
    while (progress->step < progress->steps && ACCEL_NEXT(t->loader, &batch)) {
        ACCEL_CHECK(accel_accumulate(t->accelerator, t->model));
        double lr = accel_optimizer_get_lr(t->optimizer);
        double loss = gpt_forward(t->gpt, batch.fields[0].data, batch.rows);
        ACCEL_CHECK(accel_backward(t->accelerator, t->model));
        ACCEL_CHECK(accel_clip_grad_norm(t->accelerator, t->model, MAX_NORM, NULL));
        ACCEL_CHECK(accel_optimizer_step(t->optimizer));
        ACCEL_CHECK(accel_scheduler_step(t->scheduler));
        ACCEL_CHECK(accel_optimizer_zero_grad(t->optimizer));
        ACCEL_CHECK(accel_reduce(t->accelerator, ACCEL_TENSOR(&loss, ACCEL_F64, 1), ACCEL_MEAN));
        double speed = words_per_second(progress);
        ACCEL_CHECK(accel_log(t->accelerator,
                              ACCEL_DICT("train_loss", loss, "lr", lr, "words_per_second", speed),
                              progress->step));
#endif
        progress->step++;
        progress->words += t->options.batch;
        show_progress(progress, epoch + 1, lr, loss);
    }
}

static void add_scores(const gpt_score_t *scores, int64_t count, double *nats, double *characters)
{
    for (int64_t i = 0; i < count; i++) {
        *nats += (double)scores[i].nats;
        *characters += (double)scores[i].characters;
    }
}

/* Mean over every character of every word once, whatever the number of processes. */
static double validate(trainer_t *t)
{
    double nats = 0, characters = 0;
#ifdef WORDS_WITHOUT_ACCEL
    plain_batch_t batch;
    plain_loader_begin(t->valid_loader);
    while (plain_loader_next(t->valid_loader, &batch)) {
        gpt_forward(t->gpt, batch.words, batch.rows);
        add_scores(gpt_scores(t->gpt), batch.rows, &nats, &characters);
    }
#else
    accel_batch_t batch;
    accel_tensor_t *all;
    ACCEL_CHECK(accel_loader_begin(t->valid_loader, 0));
    while (ACCEL_NEXT(t->valid_loader, &batch)) {
        gpt_forward(t->gpt, batch.fields[0].data, batch.rows);
        ACCEL_CHECK(accel_gather_for_metrics(
            t->accelerator, ACCEL_TENSOR(gpt_scores(t->gpt), ACCEL_F32, batch.rows, 2), &all));
        add_scores(all->data, all->shape[0], &nats, &characters);
        accel_tensor_destroy(all);
    }
    ACCEL_CHECK(
        accel_log(t->accelerator, ACCEL_DICT("valid_loss", nats / characters), t->progress.step));
#endif
    return nats / characters;
}

static void end(trainer_t *t)
{
#ifdef WORDS_WITHOUT_ACCEL
    plain_adamw_destroy(t->optimizer);
    plain_loader_destroy(t->valid_loader);
    plain_loader_destroy(t->loader);
#else
    ACCEL_CHECK(accel_end_training(t->accelerator));
    accel_scheduler_destroy(t->scheduler);
    accel_optimizer_destroy(t->optimizer);
    accel_loader_destroy(t->valid_loader);
    accel_loader_destroy(t->loader);
    accel_dataset_destroy(t->valid_set);
    accel_dataset_destroy(t->train_set);
    accel_model_destroy(t->model);
    accel_destroy(t->accelerator);
#endif
}

int main(int argc, char **argv)
{
    trainer_t t = {.options = parse_options(argc, argv)};
    double valid_loss = 0;

    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    text_read(t.options.file, &t.train, &t.valid);
    t.options.model.characters = (double)text_characters(&t.train) / (double)t.train.count;
    t.gpt = gpt_create(&t.options.model);
    begin(&t);
    for (int64_t epoch = 0; t.progress.step < t.progress.steps; epoch++) {
        train_epoch(&t, epoch);
        valid_loss = validate(&t);
        show_epoch(&t.progress, epoch + 1, valid_loss);
    }
    if (t.progress.speaks) {
        show_result(&t.progress, &t.train, &t.valid, valid_loss);
        invent(t.gpt, &t.train, &t.valid, &t.options);
    }
    end(&t);
    gpt_destroy(t.gpt);
    free(t.train.words);
    free(t.valid.words);
    return 0;
}
