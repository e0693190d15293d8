/* SPDX-License-Identifier: Apache-2.0 */
/* test-timeout: 120
 * Parameters that no rank used in a step: random programs on 1 to 3 ranks, compared with a serial
 * reference that gives each parameter its own count of updates and skips what has no gradient, as
 * torch.optim does; and what else must hold. ACCEL_TEST_SEED repeats a run, ACCEL_TEST_PROGRAMS
 * makes it longer. */
#include "test.h"

#include <inttypes.h>

#include "base/base.h"
#include "random.h"

enum { MAX_RANKS = 3, MAX_PARAMS = 9, MAX_SIZE = 1500, MAX_STEPS = 8, NUM_STATES = 3 };

/* ---- rules, as torch.optim has them, for one element ---- */

typedef enum rule { ADAMW, ADAM, SGD, MOMENTUM, NESTEROV, ADAGRAD, RMSPROP, OWN, NUM_RULES } rule_t;

static const double learning_rates[] = {1e-2, 3e-2}; /* of the groups */

static void adam(bool decoupled, double lr, int64_t t, double *p, double g, double *s)
{
    double correction = 1 - pow(0.9, (double)t);

    if (decoupled)
        *p *= 1 - lr * 0.1;
    else
        g += 0.1 * *p;
    s[0] = 0.9 * s[0] + 0.1 * g;
    s[1] = 0.99 * s[1] + 0.01 * g * g;
    s[2] = fmax(s[2], s[1]);
    *p -= lr / correction * s[0] /
          (sqrt(decoupled ? s[1] : s[2]) / sqrt(1 - pow(0.99, (double)t)) + 1e-8);
}

static void update(rule_t rule, double lr, int64_t t, double *p, double g, double *s)
{
    switch (rule) {
    case ADAMW:
    case ADAM:
        adam(rule == ADAMW, lr, t, p, g, s);
        return;
    case MOMENTUM:
        s[0] = t == 1 ? g + 0.1 * *p : 0.9 * s[0] + 0.7 * (g + 0.1 * *p);
        *p -= lr * s[0];
        return;
    case NESTEROV:
        s[0] = 0.9 * s[0] + g;
        *p -= lr * (g + 0.9 * s[0]);
        return;
    case ADAGRAD:
        g += 0.1 * *p;
        s[0] = (t == 1 ? 0.2 : s[0]) + g * g;
        *p -= lr / (1 + (double)(t - 1) * 0.05) * g / (sqrt(s[0]) + 1e-10);
        return;
    case RMSPROP:
        g += 0.1 * *p;
        s[0] = 0.9 * s[0] + 0.1 * g * g;
        s[1] = 0.9 * s[1] + 0.1 * g;
        s[2] = 0.5 * s[2] + g / (sqrt(s[0] - s[1] * s[1]) + 1e-2);
        *p -= lr * s[2];
        return;
    case OWN:
        s[0] += g;
        *p -= lr * (s[0] / (double)t + 0.1 * *p);
        return;
    default:
        *p -= lr * (g + 0.1 * *p);
    }
}

static void own_rule(void *context, const accel_update_t *it)
{
    (void)context;
    for (int64_t i = 0; i < it->count; i++) {
        double *s = it->states[0];

        s[i] += ((const double *)it->gradients)[i];
        ((double *)it->values)[i] -=
            it->lr * (s[i] / (double)it->step + it->weight_decay * ((double *)it->values)[i]);
    }
}

static accel_optimizer_t *make_adaptive(accel_model_t *model, rule_t rule, bool maximize)
{
    accel_optimizer_t *optimizer = NULL;

    if (rule == ADAMW)
        CHECK_OK(accel_adamw_create(model,
                                    ACCEL_ADAMW_OPTIONS(.lr = 1e-2, .beta2 = 0.99,
                                                        .weight_decay = 0.1, .maximize = maximize),
                                    &optimizer));
    else if (rule == ADAM)
        CHECK_OK(
            accel_adam_create(model,
                              ACCEL_ADAM_OPTIONS(.lr = 1e-2, .beta2 = 0.99, .weight_decay = 0.1,
                                                 .amsgrad = true, .maximize = maximize),
                              &optimizer));
    else if (rule == ADAGRAD)
        CHECK_OK(accel_adagrad_create(
            model,
            ACCEL_ADAGRAD_OPTIONS(.lr = 1e-2, .lr_decay = 0.05, .weight_decay = 0.1,
                                  .initial_accumulator_value = 0.2, .maximize = maximize),
            &optimizer));
    else
        CHECK_OK(accel_rmsprop_create(model,
                                      ACCEL_RMSPROP_OPTIONS(.lr = 1e-2, .alpha = 0.9, .eps = 1e-2,
                                                            .weight_decay = 0.1, .momentum = 0.5,
                                                            .centered = true, .maximize = maximize),
                                      &optimizer));
    return optimizer;
}

static accel_optimizer_t *make_optimizer(accel_model_t *model, rule_t rule, bool maximize,
                                         accel_granularity_t granularity)
{
    accel_sgd_options_t sgd = accel_sgd_options_init();
    accel_optimizer_t *optimizer = NULL;

    if (rule == OWN) {
        CHECK_OK(accel_optimizer_create(
            model,
            ACCEL_OPTIMIZER_OPTIONS(.update = own_rule, .granularity = granularity, .num_states = 1,
                                    .lr = 1e-2, .weight_decay = 0.1, .maximize = maximize),
            &optimizer));
        return optimizer;
    }
    if (rule != SGD && rule != MOMENTUM && rule != NESTEROV)
        return make_adaptive(model, rule, maximize);
    sgd.lr = 1e-2;
    sgd.weight_decay = rule == NESTEROV ? 0 : 0.1;
    sgd.momentum = rule == SGD ? 0 : 0.9;
    sgd.dampening = rule == MOMENTUM ? 0.3 : 0;
    sgd.nesterov = rule == NESTEROV;
    sgd.maximize = maximize;
    CHECK_OK(accel_sgd_create(model, &sgd, &optimizer));
    return optimizer;
}

/* ---- a program ---- */

typedef enum clip { NO_CLIP, CLIP_NORM, CLIP_VALUE, NUM_CLIPS } clip_t;

typedef struct program {
    uint64_t seed;
    int32_t size, num_params, num_micro, density; /* of 8 uses, how many there are */
    int64_t sizes[MAX_PARAMS], num_steps;
    rule_t rule;
    clip_t clip;
    accel_granularity_t granularity;
    bool averaged, fixed_memory, maximize, groups, frozen, outside, fp16, keeps;
    bool joins;                  /* each rank its own number of steps */
    int64_t steps_of[MAX_RANKS]; /* then */
    int64_t bad_step;            /* with fp16: a gradient of it is infinite, if there is one */
    int32_t bad_rank;
} program_t;

static program_t random_program(uint64_t seed)
{
    uint64_t state = seed;
    program_t p = {.seed = seed,
                   .size = 1 + (int32_t)below(&state, MAX_RANKS),
                   .num_params = 1 + (int32_t)below(&state, MAX_PARAMS),
                   .num_micro = 1 + (int32_t)below(&state, 3),
                   .density = 1 + (int32_t)below(&state, 6),
                   .num_steps = 3 + below(&state, MAX_STEPS - 2),
                   .rule = (rule_t)below(&state, NUM_RULES),
                   .clip = (clip_t)below(&state, NUM_CLIPS),
                   .granularity = (accel_granularity_t)below(&state, 3),
                   .averaged = below(&state, 2),
                   .fixed_memory = below(&state, 3) == 0,
                   .maximize = below(&state, 3) == 0,
                   .groups = below(&state, 2),
                   .frozen = below(&state, 2),
                   .outside = below(&state, 2),
                   .fp16 = below(&state, 3) == 0,
                   .joins = below(&state, 4) == 0,
                   .bad_step = below(&state, 5)};

    for (int32_t i = 0; i < p.num_params; i++)
        p.sizes[i] = 1 + below(&state, below(&state, 2) ? 30 : MAX_SIZE);
    p.groups = p.groups && p.num_params > 1;
    p.keeps = p.averaged && p.clip == NO_CLIP && !p.fp16 && !p.joins && below(&state, 2);
    p.bad_rank = (int32_t)below(&state, p.size);
    if (p.joins)
        p.num_micro = 1;
    for (int32_t r = 0; r < p.size; r++)
        p.steps_of[r] = p.joins && r > 0 ? below(&state, p.num_steps + 1) : p.num_steps;
    return p;
}

/* Does the rank's micro-batch use the parameter? */
static bool uses(const program_t *p, int64_t step, int32_t micro, int32_t rank, int32_t param)
{
    uint64_t state = p->seed + (uint64_t)(((step * 8 + micro) * 8 + rank) * 16 + param) * 7919;

    return step < p->steps_of[rank] && next_random(&state) % 8 < (uint64_t)p->density;
}

static bool clears(const program_t *p, int64_t step)
{
    return !p->keeps || step % 3 == 1;
}

static double slope(int64_t step, int32_t micro, int32_t rank, int32_t param, int64_t at,
                    double value)
{
    return 0.1 * value +
           sin(0.7 * (double)(17 * step + 5 * micro + 3 * rank) + (double)at + 2 * (double)param);
}

/* ---- the reference ---- */

typedef struct reference {
    const program_t *program;
    double values[MAX_PARAMS][MAX_SIZE], states[MAX_PARAMS][MAX_SIZE][NUM_STATES];
    double gradients[MAX_RANKS][MAX_PARAMS][MAX_SIZE];
    bool has_gradient[MAX_PARAMS];
    int64_t t[MAX_PARAMS];
    bool bad;
} reference_t;

/* Of rank `rank` in a micro-batch; returns whether it made one that is infinite. */
static bool add_gradients(const program_t *p, double *const *gradients, double *const *values,
                          int64_t step, int32_t micro, int32_t rank, double scale)
{
    bool bad = p->fp16 && step == p->bad_step && rank == p->bad_rank, was_bad = false;

    for (int32_t i = 0; i < p->num_params; i++) {
        if (!uses(p, step, micro, rank, i))
            continue;
        for (int64_t at = 0; at < p->sizes[i]; at++)
            gradients[i][at] += scale * slope(step, micro, rank, i, at, values[i][at]);
        if (bad)
            gradients[i][0] = INFINITY;
        was_bad = was_bad || bad;
    }
    return was_bad;
}

/* The average over the ranks, clipped, into those of every rank. */
static void average(reference_t *reference)
{
    const program_t *p = reference->program;
    double squares = 0, factor = 1;

    for (int32_t i = 0; i < p->num_params; i++)
        for (int64_t at = 0; at < p->sizes[i]; at++) {
            double sum = 0;

            for (int32_t r = 0; r < p->size; r++)
                sum += reference->gradients[r][i][at];
            sum /= p->size;
            squares += sum * sum;
            if (p->clip == CLIP_VALUE)
                sum = fmin(fmax(sum, -0.4), 0.4);
            for (int32_t r = 0; r < p->size; r++)
                reference->gradients[r][i][at] = sum;
        }
    if (p->clip == CLIP_NORM)
        factor = fmin(1, 0.5 / (sqrt(squares) + 1e-6));
    for (int32_t i = 0; i < p->num_params; i++)
        for (int64_t at = 0; at < p->sizes[i]; at++)
            for (int32_t r = 0; r < p->size; r++)
                reference->gradients[r][i][at] *= factor;
}

static void step_param(reference_t *reference, int32_t i)
{
    const program_t *p = reference->program;
    int32_t group = p->groups && i % 2 == 1;

    if (!reference->has_gradient[i] || (group == 1 && p->frozen))
        return;
    reference->t[i]++;
    for (int64_t at = 0; at < p->sizes[i]; at++) {
        double g = reference->gradients[0][i][at];

        update(p->rule, learning_rates[group], reference->t[i], &reference->values[i][at],
               p->maximize ? -g : g, reference->states[i][at]);
    }
}

static void reference_step(reference_t *reference, int64_t step)
{
    const program_t *p = reference->program;
    bool bad = false;

    for (int32_t r = 0; r < p->size; r++)
        for (int32_t micro = 0; micro < p->num_micro; micro++) {
            double *gradients[MAX_PARAMS], *values[MAX_PARAMS];

            for (int32_t i = 0; i < p->num_params; i++) {
                gradients[i] = reference->gradients[r][i];
                values[i] = reference->values[i];
                reference->has_gradient[i] |= uses(p, step, micro, r, i);
            }
            bad |= add_gradients(p, gradients, values, step, micro, r, 1.0 / p->num_micro);
        }
    if (!bad) {
        average(reference);
        for (int32_t i = 0; i < p->num_params; i++)
            step_param(reference, i);
    }
    reference->bad = bad;
}

static void reference_zero_grad(reference_t *reference)
{
    memset(reference->gradients, 0, sizeof(reference->gradients));
    memset(reference->has_gradient, 0, sizeof(reference->has_gradient));
}

/* ---- a rank ---- */

typedef struct player {
    const program_t *program;
    accel_t *accelerator;
    int32_t rank, micro;
    int64_t step;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    double *values[MAX_PARAMS], *gradients[MAX_PARAMS], *blocks[2 * MAX_PARAMS];
    float frozen_block[3], *frozen;
    reference_t *reference;
} player_t;

/* Parameter 0 of the model is a frozen one. */
static void say_ready(const player_t *player)
{
    const program_t *p = player->program;

    for (int32_t i = p->num_params - 1; i >= 0; i--)
        if (uses(p, player->step, player->micro, player->rank, i))
            CHECK_OK(accel_grad_ready(player->model, i + 1));
}

static bool uses_all(const player_t *player)
{
    bool all = true;

    for (int32_t i = 0; i < player->program->num_params; i++)
        all = all && uses(player->program, player->step, player->micro, player->rank, i);
    return all;
}

static accel_status_t run_backward(void *context, double scale)
{
    player_t *player = context;

    (void)add_gradients(player->program, player->gradients, player->values, player->step,
                        player->micro, player->rank, scale);
    say_ready(player);
    return ACCEL_OK;
}

static void backward(player_t *player)
{
    if (player->program->outside) {
        CHECK_OK(run_backward(player, accel_gradient_scale(player->accelerator)));
        if (accel_is_sync_step(player->accelerator) && uses_all(player))
            return;
    }
    CHECK_OK(accel_backward(player->accelerator, player->model));
}

static void clip(player_t *player)
{
    if (player->program->clip == CLIP_NORM)
        CHECK_OK(accel_clip_grad_norm(player->accelerator, player->model, 0.5, NULL));
    else if (player->program->clip == CLIP_VALUE)
        CHECK_OK(accel_clip_grad_value(player->accelerator, player->model, 0.4));
}

static void check_values(const player_t *player, const char *when)
{
    const program_t *p = player->program;

    for (int32_t i = 0; i < p->num_params; i++)
        for (int64_t at = 0; at < p->sizes[i]; at++) {
            double expected = player->reference->values[i][at], found = player->values[i][at];

            if (!(fabs(expected - found) <= 1e-11 * fmax(1, fabs(expected))))
                test_fail(__FILE__, __LINE__,
                          "seed %" PRIu64 " %s, step %d: element %d of parameter %d (rule %d) is "
                          "%.17g, not %.17g",
                          p->seed, when, (int)player->step, (int)at, (int)i, (int)p->rule, found,
                          expected);
        }
}

static void train(player_t *player)
{
    const program_t *p = player->program;

    for (player->micro = 0; player->micro < p->num_micro; player->micro++) {
        CHECK_OK(accel_accumulate(player->accelerator, player->model));
        backward(player);
        clip(player);
        CHECK_OK(accel_optimizer_step(player->optimizer));
        if (clears(p, player->step))
            CHECK_OK(accel_optimizer_zero_grad(player->optimizer));
    }
    player->micro = 0;
}

static void check_step(player_t *player)
{
    const program_t *p = player->program;

    reference_step(player->reference, player->step);
    CHECK(accel_optimizer_step_was_skipped(player->optimizer) == player->reference->bad);
    for (int32_t i = 0; i < p->num_params; i++)
        CHECK(accel_model_is_used(player->model, i + 1) == player->reference->has_gradient[i]);
    if (clears(p, player->step))
        reference_zero_grad(player->reference);
    check_values(player, "after");
}

static void make_model(player_t *player)
{
    const program_t *p = player->program;
    accel_model_options_t options = accel_model_options_init();

    options.backward = p->outside ? NULL : run_backward;
    options.context = player;
    options.fixed_memory = p->fixed_memory;
    options.bucket_cap_mb = 0.001;
    options.find_unused_parameters = true;
    CHECK_OK(accel_model_create(&options, &player->model));
    player->frozen = player->frozen_block;
    CHECK_OK(accel_model_add_frozen(player->model, "frozen", ACCEL_F32, ACCEL_SHAPE(3),
                                    &player->frozen));
    for (int32_t i = 0; i < p->num_params; i++) {
        char name[] = "w0";

        name[1] = (char)('0' + i);
        player->values[i] = player->blocks[i] = calloc((size_t)p->sizes[i], sizeof(double));
        player->gradients[i] = player->blocks[MAX_PARAMS + i] =
            calloc((size_t)p->sizes[i], sizeof(double));
        CHECK(player->values[i] && player->gradients[i]);
        for (int64_t at = 0; at < p->sizes[i]; at++)
            player->values[i][at] = player->reference->values[i][at] = cos((double)(at + i));
        CHECK_OK(accel_model_add(player->model, name, ACCEL_F64, 1, &p->sizes[i],
                                 &player->values[i], &player->gradients[i]));
    }
}

static void begin(player_t *player, const program_t *program)
{
    accel_options_t options = accel_options_init();

    *player = (player_t){.program = program};
    options.gradients = program->averaged ? ACCEL_GRADIENTS_AVERAGED : ACCEL_GRADIENTS_LOCAL;
    options.gradient_accumulation_steps = program->num_micro;
    options.mixed_precision = program->fp16 ? "fp16" : "no";
    player->accelerator = test_accelerator(options);
    player->rank = accel_process_index(player->accelerator);
    player->reference = calloc(1, sizeof(*player->reference));
    CHECK(player->reference);
    player->reference->program = program;
    make_model(player);
    player->optimizer =
        make_optimizer(player->model, program->rule, program->maximize, program->granularity);
    if (program->groups)
        CHECK_OK(accel_optimizer_add_group(player->optimizer,
                                           ACCEL_GROUP_OPTIONS(.pattern = "w[13579]",
                                                               .lr = learning_rates[1],
                                                               .frozen = program->frozen),
                                           NULL));
    CHECK_OK(accel_prepare(player->accelerator, player->model, player->optimizer, NULL, NULL));
}

static void end(player_t *player)
{
    accel_optimizer_destroy(player->optimizer);
    accel_model_destroy(player->model);
    accel_destroy(player->accelerator);
    for (int32_t i = 0; i < 2 * MAX_PARAMS; i++)
        free(player->blocks[i]);
    free(player->reference);
}

/* A rank without batches sees what the others made of them when the scope ends. */
static void run_joined(player_t *player)
{
    const program_t *p = player->program;

    CHECK_OK(accel_join_uneven_inputs_begin(player->accelerator, ACCEL_DEFAULT));
    for (; player->step < p->steps_of[player->rank]; player->step++)
        train(player);
    CHECK_OK(accel_join_uneven_inputs_end(player->accelerator));
    for (int64_t step = 0; step < p->num_steps; step++) {
        reference_step(player->reference, step);
        reference_zero_grad(player->reference);
    }
    check_values(player, "joined");
}

static void run_program(const program_t *program)
{
    player_t player;

    begin(&player, program);
    if (program->joins) {
        run_joined(&player);
    } else {
        for (; player.step < program->num_steps; player.step++) {
            train(&player);
            check_step(&player);
        }
    }
    end(&player);
}

static void run_random(int rank, int size)
{
    uint64_t first = number_from_environment("ACCEL_TEST_SEED", 1);
    uint64_t count = number_from_environment("ACCEL_TEST_PROGRAMS", 150);

    (void)rank;
    accel_set_log_level(ACCEL_LOG_ERROR); /* a first step that uses nothing is warned of */
    for (uint64_t seed = first; seed < first + count; seed++) {
        program_t program = random_program(seed);

        if (program.size == size)
            run_program(&program);
    }
}
static void random_programs(void)
{
    for (int size = 1; size <= MAX_RANKS; size++)
        TEST_RANKS(size, run_random);
}

TEST_MAIN(TEST(random_programs))
