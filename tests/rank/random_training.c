/* SPDX-License-Identifier: Apache-2.0
 * test-timeout: 240 */
/* Random training programs on 1 to 5 ranks: accumulation windows, weights, uneven and early ends,
 * both kinds of gradients, arena and fixed memory, clipping, loss scaling with infinities,
 * optimizers and schedules, compared with a serial reference that only knows what each rank saw;
 * and the same with one rank out of step, which every rank must be told of. ACCEL_TEST_SEED
 * repeats a run, ACCEL_TEST_PROGRAMS makes it longer. */
#include "test.h"

#include <inttypes.h>
#include <pthread.h>

#include "base/base.h"
#include "random.h"

enum { MAX_RANKS = 5, MAX_PARAMS = 3, MAX_SIZE = 700, MAX_BATCHES = 96, MAX_ROWS = 4 };

/* ---- a program ---- */

typedef enum fault {
    NONE,
    SKIPS_BACKWARD,
    WEIGHS,
    OTHER_RATE,
    OTHER_NORM,
    SKIPS_ACCUMULATE,
    NUM_FAULTS
} fault_t;

typedef struct program {
    uint64_t seed;
    int32_t size, num_params, num_steps, batch_size;
    int64_t sizes[MAX_PARAMS], samples;
    bool averaged, fixed_memory, overwrites, with_loader_end, each_batch, true_window;
    bool weighted, clips, fp16, adamw, even, stream;
    bool joins;                  /* no loader: each rank its own number of batches */
    int64_t batches[MAX_RANKS];  /* then */
    int32_t bad_rank, bad_batch; /* whose gradient is infinite, with fp16 */
    fault_t fault;               /* of rank `faulty`, at its first batch */
    int32_t faulty;
} program_t;

static program_t random_program(uint64_t seed)
{
    uint64_t state = seed;
    program_t p = {.seed = seed,
                   .size = 1 + (int32_t)below(&state, MAX_RANKS),
                   .num_params = 1 + (int32_t)below(&state, MAX_PARAMS),
                   .num_steps = 1 + (int32_t)below(&state, 4),
                   .batch_size = 1 + (int32_t)below(&state, MAX_ROWS),
                   .samples = 1 + below(&state, 40),
                   .averaged = below(&state, 2),
                   .fixed_memory = below(&state, 2),
                   .with_loader_end = below(&state, 4) > 0,
                   .each_batch = below(&state, 3) == 0,
                   .true_window = below(&state, 4) > 0,
                   .weighted = below(&state, 2),
                   .clips = below(&state, 2),
                   .fp16 = below(&state, 3) == 0,
                   .adamw = below(&state, 2),
                   .even = below(&state, 3) > 0,
                   .stream = below(&state, 3) == 0,
                   .joins = below(&state, 3) == 0,
                   .bad_rank = -1};

    for (int32_t i = 0; i < p.num_params; i++)
        p.sizes[i] = 1 + below(&state, below(&state, 4) ? 20 : MAX_SIZE);
    for (int32_t r = 0; r < p.size; r++)
        p.batches[r] = below(&state, 10);
    p.overwrites = p.num_steps == 1 && below(&state, 3) == 0;
    if (p.fp16 && below(&state, 2)) {
        p.bad_rank = (int32_t)below(&state, p.size);
        p.bad_batch = (int32_t)below(&state, 6);
    }
    return p;
}

/* ---- the model: every sample pulls the values its own way ---- */

typedef struct net {
    const program_t *program;
    double *values[MAX_PARAMS], *gradients[MAX_PARAMS];
    double *blocks[2 * MAX_PARAMS];
    accel_model_t *model;
    int64_t rows, samples[MAX_ROWS]; /* of the next backward */
    bool bad;
} net_t;

static void add_gradients(net_t *net, double scale, bool overwrite)
{
    for (int32_t i = 0; i < net->program->num_params; i++)
        for (int64_t at = 0; at < net->program->sizes[i]; at++) {
            double sum = 0;

            for (int64_t row = 0; row < net->rows; row++) {
                double s = (double)net->samples[row];

                sum +=
                    net->values[i][at] * (0.5 + 0.1 * fmod(s, 7)) + sin(0.7 * s + (double)at + i);
            }
            if (net->rows > 0)
                sum *= scale / (double)net->rows;
            net->gradients[i][at] = sum + (overwrite ? 0 : net->gradients[i][at]);
        }
    if (net->bad)
        net->gradients[0][0] = INFINITY;
}

static accel_status_t net_backward(void *context, double scale)
{
    net_t *net = context;

    add_gradients(net, scale, net->program->overwrites);
    return ACCEL_OK;
}

static void net_init(net_t *net, const program_t *program, bool reference)
{
    accel_model_options_t options = accel_model_options_init();

    *net = (net_t){.program = program};
    options.fixed_memory = program->fixed_memory && !reference;
    options.overwrites_gradients = program->overwrites && !reference;
    options.backward = net_backward;
    options.context = net;
    options.bucket_cap_mb = 0.001;
    CHECK_OK(accel_model_create(&options, &net->model));
    for (int32_t i = 0; i < program->num_params; i++) {
        char name[] = "w0";

        name[1] = (char)('0' + i);
        net->values[i] = net->blocks[i] = calloc((size_t)program->sizes[i], sizeof(double));
        net->gradients[i] = net->blocks[MAX_PARAMS + i] =
            calloc((size_t)program->sizes[i], sizeof(double));
        CHECK(net->values[i] && net->gradients[i]);
        for (int64_t at = 0; at < program->sizes[i]; at++)
            net->values[i][at] = cos((double)(at + i));
        CHECK_OK(accel_model_add(net->model, name, ACCEL_F64, 1, &program->sizes[i],
                                 &net->values[i], &net->gradients[i]));
    }
}

static void net_free(net_t *net)
{
    accel_model_destroy(net->model);
    for (int32_t i = 0; i < 2 * MAX_PARAMS; i++)
        free(net->blocks[i]);
}

static accel_optimizer_t *make_optimizer(const net_t *net)
{
    accel_optimizer_t *optimizer;

    if (net->program->adamw)
        CHECK_OK(accel_adamw_create(net->model, ACCEL_ADAMW_OPTIONS(.lr = 1e-2), &optimizer));
    else
        CHECK_OK(accel_sgd_create(net->model, ACCEL_SGD_OPTIONS(.lr = 5e-2, .momentum = 0.9),
                                  &optimizer));
    return optimizer;
}

static accel_scheduler_t *make_scheduler(accel_optimizer_t *optimizer)
{
    accel_scheduler_t *scheduler;

    CHECK_OK(accel_scheduler_create(
        optimizer, ACCEL_SCHEDULER_OPTIONS(.name = "linear", .num_training_steps = 200),
        &scheduler));
    return scheduler;
}

/* ---- what a rank saw ---- */

typedef struct seen {
    int64_t rows, samples[MAX_ROWS];
    double weight;
    bool bad, last;
} seen_t;

typedef struct player {
    const program_t *program;
    accel_thread_ranks_t *ranks;
    int32_t rank;
    pthread_t thread;

    accel_t *accelerator;
    net_t net;
    accel_optimizer_t *optimizer;
    accel_scheduler_t *scheduler;
    seen_t seen[MAX_BATCHES];
    int64_t num_seen, number; /* number: that comes next in the stream */
    double final[MAX_PARAMS][MAX_SIZE];
    accel_status_t status;
    char text[512];
} player_t;

/* A few samples at random, and how much they weigh. */
static seen_t random_batch(const player_t *player, int64_t rows)
{
    uint64_t state =
        player->program->seed + (uint64_t)player->rank * 7919 + (uint64_t)player->num_seen * 104729;
    seen_t seen = {.rows = rows};

    for (int64_t row = 0; row < rows; row++)
        seen.samples[row] = below(&state, 1000);
    seen.weight = rows == 0 ? 0 : (double)below(&state, 5);
    return seen;
}

#define TRY(call)                          \
    do {                                   \
        accel_status_t try_status_ = call; \
        if (try_status_ != ACCEL_OK)       \
            return try_status_;            \
    } while (0)

static bool is_faulty(const player_t *player, fault_t fault)
{
    return player->program->fault == fault && player->program->faulty == player->rank &&
           player->num_seen == 1;
}

static accel_status_t do_backward(player_t *player, const seen_t *seen)
{
    bool weighted = player->program->weighted != is_faulty(player, WEIGHS);

    if (is_faulty(player, SKIPS_BACKWARD))
        return ACCEL_OK;
    player->net.rows = seen->rows;
    memcpy(player->net.samples, seen->samples, sizeof(seen->samples));
    player->net.bad = seen->bad;
    return weighted ? accel_backward_weighted(player->accelerator, player->net.model, seen->weight)
                    : accel_backward(player->accelerator, player->net.model);
}

/* The loop's body: what a program of the four lines does with a batch. */
static accel_status_t train(player_t *player, seen_t seen)
{
    const program_t *program = player->program;

    seen.bad = player->rank == program->bad_rank && player->num_seen == program->bad_batch;
    CHECK(player->num_seen < MAX_BATCHES);
    player->seen[player->num_seen++] = seen;
    if (!is_faulty(player, SKIPS_ACCUMULATE))
        TRY(accel_accumulate(player->accelerator, player->net.model));
    TRY(do_backward(player, &seen));
    if (program->clips)
        TRY(accel_clip_grad_norm(player->accelerator, player->net.model,
                                 is_faulty(player, OTHER_NORM) ? 2 : 1, NULL));
    if (is_faulty(player, OTHER_RATE))
        TRY(accel_optimizer_set_lr(player->optimizer, 0.125));
    TRY(accel_optimizer_step(player->optimizer));
    TRY(accel_scheduler_step(player->scheduler));
    return accel_optimizer_zero_grad(player->optimizer);
}

/* ---- its data ---- */

static accel_status_t next_number(void *context, void *const *fields)
{
    player_t *player = context;

    if (player->number == player->program->samples)
        return ACCEL_END;
    memcpy(fields[0], &player->number, sizeof(player->number));
    player->number++;
    return ACCEL_OK;
}

static accel_status_t rewind_numbers(void *context, int64_t epoch)
{
    (void)epoch;
    ((player_t *)context)->number = 0;
    return ACCEL_OK;
}

static accel_dataset_t *make_dataset(player_t *player, const accel_tensor_t *numbers)
{
    static const accel_field_t field = {.name = "number", .dtype = ACCEL_I64};
    accel_dataset_t *dataset;

    if (player->program->stream)
        CHECK_OK(accel_stream_dataset_create(
            ACCEL_STREAM_OPTIONS(.begin = rewind_numbers, .next = next_number, .context = player,
                                 .fields = &field, .num_fields = 1),
            &dataset));
    else
        CHECK_OK(accel_tensor_dataset_create(&numbers, 1, &dataset));
    return dataset;
}

static accel_status_t run_epochs(player_t *player, accel_loader_t *loader)
{
    for (int64_t epoch = 0; epoch < 2; epoch++) {
        accel_batch_t batch;
        accel_status_t status;

        TRY(accel_loader_begin(loader, epoch));
        while ((status = accel_loader_next(loader, &batch)) == ACCEL_OK) {
            seen_t seen = random_batch(player, batch.rows);

            seen.last = batch.last;
            TRY(train(player, seen));
        }
        if (status != ACCEL_END)
            return status;
    }
    return ACCEL_OK;
}

static accel_status_t play_loader(player_t *player)
{
    int64_t numbers[64] = {0};
    accel_tensor_t view;
    accel_dataset_t *dataset = make_dataset(
        player, accel_tensor_view(&view, numbers, ACCEL_I64, 1, &player->program->samples));
    accel_loader_t *loader;
    accel_status_t status;

    CHECK_OK(accel_loader_create(
        dataset,
        ACCEL_LOADER_OPTIONS(.batch_size = player->program->batch_size,
                             .even_batches = player->program->even ? ACCEL_ON : ACCEL_OFF),
        &loader));
    status = accel_prepare_loader(player->accelerator, loader);
    if (status == ACCEL_OK)
        status = run_epochs(player, loader);
    accel_loader_destroy(loader);
    accel_dataset_destroy(dataset);
    return status;
}

static accel_status_t play_join(player_t *player)
{
    TRY(accel_join_uneven_inputs_begin(player->accelerator, ACCEL_DEFAULT));
    for (int64_t b = 0; b < player->program->batches[player->rank]; b++)
        TRY(train(player, random_batch(player, 1 + b % MAX_ROWS)));
    return accel_join_uneven_inputs_end(player->accelerator);
}

/* ---- a rank ---- */

static accel_status_t play(player_t *player)
{
    const program_t *program = player->program;
    accel_gradient_accumulation_options_t accumulation = accel_gradient_accumulation_options_init();
    accel_grad_scaler_options_t scaler = accel_grad_scaler_options_init();
    accel_options_t options = accel_options_init();

    accumulation.num_steps = program->num_steps;
    accumulation.sync_with_dataloader = program->with_loader_end ? ACCEL_ON : ACCEL_OFF;
    accumulation.sync_each_batch = program->each_batch ? ACCEL_ON : ACCEL_OFF;
    accumulation.true_last_window = program->true_window ? ACCEL_ON : ACCEL_OFF;
    scaler.init_scale = 256;
    scaler.growth_interval = 3;
    options.threads = player->ranks;
    options.process_index = player->rank;
    options.timeout_ms = 30000;
    options.gradient_accumulation = &accumulation;
    options.gradients = program->averaged ? ACCEL_GRADIENTS_AVERAGED : ACCEL_GRADIENTS_LOCAL;
    options.mixed_precision = program->fp16 ? "fp16" : "no";
    options.grad_scaler = &scaler;
    TRY(accel_create(&options, &player->accelerator));
    player->optimizer = make_optimizer(&player->net);
    player->scheduler = make_scheduler(player->optimizer);
    TRY(accel_prepare(player->accelerator, player->net.model, player->optimizer, NULL,
                      player->scheduler));
    return program->joins ? play_join(player) : play_loader(player);
}

static void *run_player(void *argument)
{
    player_t *player = argument;

    net_init(&player->net, player->program, false);
    player->status = play(player);
    snprintf(player->text, sizeof(player->text), "%s", accel_last_error());
    for (int32_t i = 0; i < player->program->num_params; i++)
        memcpy(player->final[i], player->net.values[i],
               (size_t)player->program->sizes[i] * sizeof(double));
    /* The others may still read what this rank holds. */
    if (player->status == ACCEL_OK)
        player->status = accel_wait_for_everyone(player->accelerator);
    accel_destroy(player->accelerator);
    accel_scheduler_destroy(player->scheduler);
    accel_optimizer_destroy(player->optimizer);
    net_free(&player->net);
    return NULL;
}

static player_t *run_program(const program_t *program)
{
    player_t *players = calloc(MAX_RANKS, sizeof(*players));
    accel_thread_ranks_t *ranks;

    CHECK(players);
    CHECK_OK(accel_thread_ranks_create(program->size, &ranks));
    for (int32_t r = 0; r < program->size; r++) {
        players[r].program = program;
        players[r].ranks = ranks;
        players[r].rank = r;
        CHECK(pthread_create(&players[r].thread, NULL, run_player, &players[r]) == 0);
    }
    for (int32_t r = 0; r < program->size; r++)
        pthread_join(players[r].thread, NULL);
    accel_thread_ranks_destroy(ranks);
    return players;
}

/* ---- the reference ---- */

typedef struct reference {
    net_t net;
    accel_optimizer_t *optimizer;
    accel_scheduler_t *scheduler;
} reference_t;

static double clip_factor(const net_t *net)
{
    double squares = 0, norm;

    for (int32_t i = 0; i < net->program->num_params; i++)
        for (int64_t at = 0; at < net->program->sizes[i]; at++)
            squares += net->gradients[i][at] * net->gradients[i][at];
    norm = sqrt(squares);
    return 1 / (norm + 1e-6) < 1 ? 1 / (norm + 1e-6) : 1;
}

/* One step: of every rank the batches begin .. end - 1, or as many of them as it has. */
static void reference_step(reference_t *reference, const player_t *players, int64_t begin,
                           int64_t end, int64_t divisor)
{
    const program_t *program = reference->net.program;
    double weights = 0, factor = 1.0 / (double)(divisor * program->size);
    bool bad = false;

    CHECK_OK(accel_optimizer_zero_grad(reference->optimizer));
    for (int32_t r = 0; r < program->size; r++)
        for (int64_t b = begin; b < end && b < players[r].num_seen; b++) {
            const seen_t *seen = &players[r].seen[b];

            reference->net.rows = seen->rows;
            memcpy(reference->net.samples, seen->samples, sizeof(seen->samples));
            add_gradients(&reference->net, program->weighted ? seen->weight : 1, false);
            weights += seen->weight;
            bad |= seen->bad;
        }
    if (bad)
        return;
    if (program->weighted)
        factor = weights > 0 ? 1 / weights : 1;
    for (int round = 0; round < 1 + program->clips; round++) {
        if (round == 1)
            factor = clip_factor(&reference->net);
        for (int32_t i = 0; i < program->num_params; i++)
            for (int64_t at = 0; at < program->sizes[i]; at++)
                reference->net.gradients[i][at] *= factor;
    }
    CHECK_OK(accel_optimizer_step(reference->optimizer));
    CHECK_OK(accel_scheduler_step(reference->scheduler));
}

/* Steps happen as long as any rank fills a window. */
static void reference_join(reference_t *reference, const player_t *players)
{
    const program_t *program = reference->net.program;
    int64_t most = 0;

    for (int32_t r = 0; r < program->size; r++)
        most = players[r].num_seen > most ? players[r].num_seen : most;
    for (int64_t end = program->num_steps; end <= most; end += program->num_steps)
        reference_step(reference, players, end - program->num_steps, end, program->num_steps);
}

static void reference_loader(reference_t *reference, const player_t *players)
{
    const program_t *program = reference->net.program;
    int64_t begin = 0, count = 0;

    for (int64_t b = 0; b < players[0].num_seen; b++) {
        bool ends = players[0].seen[b].last && program->with_loader_end;

        count++;
        if (!ends && count % program->num_steps != 0)
            continue;
        reference_step(reference, players, begin, b + 1,
                       program->true_window ? b + 1 - begin : program->num_steps);
        begin = b + 1;
        count = ends ? 0 : count;
    }
}

static void check_values(const reference_t *reference, const player_t *player)
{
    const program_t *program = player->program;

    for (int32_t i = 0; i < program->num_params; i++)
        for (int64_t at = 0; at < program->sizes[i]; at++) {
            double expected = reference->net.values[i][at], found = player->final[i][at];

            if (!(fabs(expected - found) <= 1e-9 * (1 + fabs(expected))))
                test_fail(__FILE__, __LINE__,
                          "seed %" PRIu64 ", rank %d of %d: w%d[%lld] is %.17g, not %.17g",
                          program->seed, (int)player->rank, (int)program->size, (int)i,
                          (long long)at, found, expected);
        }
}

static void check_program(const program_t *program)
{
    player_t *players = run_program(program);
    reference_t reference;

    net_init(&reference.net, program, true);
    reference.optimizer = make_optimizer(&reference.net);
    reference.scheduler = make_scheduler(reference.optimizer);
    for (int32_t r = 0; r < program->size; r++)
        if (players[r].status != ACCEL_OK)
            test_fail(__FILE__, __LINE__, "seed %" PRIu64 ", rank %d of %d: %s", program->seed,
                      (int)r, (int)program->size, players[r].text);
    if (program->joins)
        reference_join(&reference, players);
    else
        reference_loader(&reference, players);
    for (int32_t r = 0; r < program->size; r++)
        check_values(&reference, &players[r]);
    accel_scheduler_destroy(reference.scheduler);
    accel_optimizer_destroy(reference.optimizer);
    net_free(&reference.net);
    free(players);
}

static void programs_train_as_a_serial_one_would(void)
{
    uint64_t seed = number_from_environment("ACCEL_TEST_SEED", (uint64_t)accel__clock_ns());
    uint64_t count = number_from_environment("ACCEL_TEST_PROGRAMS", 2000);

    printf("ACCEL_TEST_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    for (uint64_t i = 0; i < count; i++) {
        program_t program = random_program(seed + i);

        check_program(&program);
    }
}

/* ---- one rank out of step ---- */

/* In a first step that every rank takes, of one batch unless that is the fault. */
static program_t random_faulty_program(uint64_t seed)
{
    uint64_t state = ~seed;
    program_t program = random_program(seed);

    while (program.size < 2)
        program = random_program(next_random(&state));
    program.fault = (fault_t)(1 + below(&state, NUM_FAULTS - 1));
    program.faulty = (int32_t)below(&state, program.size);
    program.bad_rank = -1;
    program.joins = false;
    program.clips |= program.fault == OTHER_NORM;
    program.samples = 40; /* two batches at least, so that windows differ */
    program.num_steps = program.fault == SKIPS_ACCUMULATE ? 2 : 1;
    program.true_window |= program.fault == SKIPS_ACCUMULATE;
    program.overwrites &= program.num_steps == 1;
    return program;
}

static void one_out_of_step_is_always_told(void)
{
    static const char *const told[] = {"",         "accel_backward", "accel_backward_weighted",
                                       "learning", "max_norm",       "rank"};
    uint64_t seed = number_from_environment("ACCEL_TEST_SEED", (uint64_t)accel__clock_ns());
    uint64_t count = number_from_environment("ACCEL_TEST_PROGRAMS", 1000);

    printf("ACCEL_TEST_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    for (uint64_t i = 0; i < count; i++) {
        program_t program = random_faulty_program(seed + i);
        player_t *players = run_program(&program);

        for (int32_t r = 0; r < program.size; r++)
            if (players[r].status != ACCEL_ERR_MISMATCH ||
                (!program.averaged && !strstr(players[r].text, told[program.fault])) ||
                !strstr(players[r].text, "rank"))
                test_fail(__FILE__, __LINE__,
                          "seed %" PRIu64 ", fault %d of rank %d: rank %d of %d got %s: %s",
                          program.seed, (int)program.fault, (int)program.faulty, (int)r,
                          (int)program.size, accel_status_name(players[r].status), players[r].text);
        free(players);
    }
}

TEST_MAIN(TEST(programs_train_as_a_serial_one_would), TEST(one_out_of_step_is_always_told))
