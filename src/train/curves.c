/* SPDX-License-Identifier: Apache-2.0 */
/* The formulas of schedules: transformers' and torch's, with their order of operations. */
#include "train/schedule.h"

#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

static accel_status_t refuse(const accel_scheduler_t *scheduler, const char *option, double value,
                             const char *expected)
{
    return accel__fail(ACCEL_ERR_INVALID, "accel_scheduler_create: '%s': %s is %g; expected %s",
                       scheduler->curve->name, option, value, expected);
}

static accel_status_t check_none(accel_scheduler_t *scheduler)
{
    (void)scheduler;
    return ACCEL_OK;
}

static double at(const accel_scheduler_t *scheduler)
{
    return (double)scheduler->state.step;
}

static bool is_warming(const accel_scheduler_t *scheduler)
{
    return scheduler->state.step < scheduler->options.num_warmup_steps;
}

static double warmup(const accel_scheduler_t *scheduler)
{
    return at(scheduler) / fmax(1, (double)scheduler->options.num_warmup_steps);
}

/* Steps after the warm-up, `ahead` added, as a part of all such steps; beyond 1 when the loop
 * goes on. */
static double progress(const accel_scheduler_t *scheduler, double ahead)
{
    const accel_scheduler_options_t *options = &scheduler->options;
    double steps = (double)(options->num_training_steps - options->num_warmup_steps);

    return (at(scheduler) - (double)options->num_warmup_steps + ahead) / fmax(1, steps);
}

static accel_status_t check_total(accel_scheduler_t *scheduler)
{
    if (scheduler->options.num_training_steps > 0)
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_INVALID,
                       "accel_scheduler_create: num_training_steps is %lld; '%s' wants the number "
                       "of optimizer steps",
                       (long long)scheduler->options.num_training_steps, scheduler->curve->name);
}

/* ---- constant, linear ---- */

static double constant(const accel_scheduler_t *scheduler, double base, int32_t group)
{
    (void)scheduler, (void)group;
    return base;
}

static double constant_with_warmup(const accel_scheduler_t *scheduler, double base, int32_t group)
{
    (void)group;
    return is_warming(scheduler) ? base * warmup(scheduler) : base;
}

static double linear(const accel_scheduler_t *scheduler, double base, int32_t group)
{
    const accel_scheduler_options_t *options = &scheduler->options;
    double left = (double)options->num_training_steps - at(scheduler);

    (void)group;
    if (is_warming(scheduler))
        return base * warmup(scheduler);
    return base *
           fmax(0,
                left / fmax(1, (double)(options->num_training_steps - options->num_warmup_steps)));
}

/* ---- cosine ---- */

static double wave(double num_cycles, double x)
{
    return 0.5 * (1 + cos(pi * num_cycles * 2 * x));
}

static double cosine(const accel_scheduler_t *scheduler, double base, int32_t group)
{
    (void)group;
    if (is_warming(scheduler))
        return base * warmup(scheduler);
    return base * fmax(0, wave(scheduler->options.num_cycles, progress(scheduler, 0)));
}

static double cosine_with_restarts(const accel_scheduler_t *scheduler, double base, int32_t group)
{
    double x = progress(scheduler, 0);

    (void)group;
    if (is_warming(scheduler))
        return base * warmup(scheduler);
    if (x >= 1)
        return 0;
    return base * fmax(0, 0.5 * (1 + cos(pi * fmod(scheduler->options.num_cycles * x, 1))));
}

static double cosine_to_minimum(const accel_scheduler_t *scheduler, double ahead)
{
    double rate = scheduler->options.min_lr_rate;
    double factor = wave(scheduler->options.num_cycles, progress(scheduler, ahead));

    return fmax(0, factor * (1 - rate) + rate);
}

static double cosine_with_min_lr(const accel_scheduler_t *scheduler, double base, int32_t group)
{
    (void)group;
    return base * (is_warming(scheduler) ? warmup(scheduler) : cosine_to_minimum(scheduler, 0));
}

static double cosine_warmup_with_min_lr(const accel_scheduler_t *scheduler, double base,
                                        int32_t group)
{
    const accel_scheduler_options_t *options = &scheduler->options;
    double first = accel__or_default(options->warmup_lr_rate, 0);
    double steps = (double)options->num_warmup_steps;

    (void)group;
    if (!is_warming(scheduler))
        return base * cosine_to_minimum(scheduler, 1);
    if (options->warmup_lr_rate == 0)
        return base * ((at(scheduler) + 1) / fmax(1, steps));
    return base * (first + (1 - first) * at(scheduler) / fmax(1, steps - 1));
}

static accel_status_t check_minimum(accel_scheduler_t *scheduler)
{
    accel_scheduler_options_t *options = &scheduler->options;
    accel_status_t status = check_total(scheduler);

    if (status != ACCEL_OK)
        return status;
    if ((options->min_lr == 0) == (options->min_lr_rate == 0))
        return accel__fail(ACCEL_ERR_INVALID,
                           "accel_scheduler_create: '%s' wants either min_lr or min_lr_rate; one "
                           "that is zero is written ACCEL_ZERO",
                           scheduler->curve->name);
    if (options->min_lr != 0)
        options->min_lr_rate = accel__or_default(options->min_lr, 0) / scheduler->bases[0];
    options->min_lr_rate = accel__or_default(options->min_lr_rate, 0);
    return isfinite(options->min_lr_rate) && options->min_lr_rate >= 0
               ? ACCEL_OK
               : refuse(scheduler, "min_lr_rate", options->min_lr_rate, "a number >= 0");
}

/* ---- polynomial, inverse square root ---- */

static double polynomial(const accel_scheduler_t *scheduler, double base, int32_t group)
{
    const accel_scheduler_options_t *options = &scheduler->options;
    double first = scheduler->bases[0], last = options->lr_end;
    double rate;

    (void)group;
    if (is_warming(scheduler))
        return base * warmup(scheduler);
    rate = scheduler->state.step > options->num_training_steps
               ? last
               : (first - last) * pow(1 - progress(scheduler, 0), options->power) + last;
    return base * (rate / first);
}

static accel_status_t check_polynomial(accel_scheduler_t *scheduler)
{
    accel_scheduler_options_t *options = &scheduler->options;

    options->lr_end = accel__or_default(options->lr_end, 1e-7);
    options->power = accel__or_default(options->power, 1);
    if (!(options->lr_end >= 0 && options->lr_end < scheduler->bases[0]))
        return refuse(scheduler, "lr_end", options->lr_end, "0 <= lr_end < the learning rate");
    if (!(options->power >= 0) || isinf(options->power))
        return refuse(scheduler, "power", options->power, "a number >= 0");
    return check_total(scheduler);
}

static double inverse_sqrt(const accel_scheduler_t *scheduler, double base, int32_t group)
{
    const accel_scheduler_options_t *options = &scheduler->options;
    double shift = (double)(options->timescale - options->num_warmup_steps);

    (void)group;
    if (is_warming(scheduler))
        return base * warmup(scheduler);
    return base * (1 / sqrt((at(scheduler) + shift) / (double)options->timescale));
}

static accel_status_t check_inverse_sqrt(accel_scheduler_t *scheduler)
{
    accel_scheduler_options_t *options = &scheduler->options;

    if (options->timescale == 0)
        options->timescale = options->num_warmup_steps ? options->num_warmup_steps : 10000;
    return options->timescale > 0
               ? ACCEL_OK
               : refuse(scheduler, "timescale", (double)options->timescale, "1 or more");
}

/* ---- warm-up, stable, decay ---- */

static double warm_linear(double x)
{
    return x;
}

static double warm_cosine(double x)
{
    return 0.5 * (1 - cos(pi * x));
}

static double warm_sqrt(double x)
{
    return 1 - sqrt(1 - x);
}

static double decay_linear(double x, double num_cycles)
{
    (void)num_cycles;
    return 1 - x;
}

static double decay_cosine(double x, double num_cycles)
{
    return wave(num_cycles, x);
}

static double decay_sqrt(double x, double num_cycles)
{
    (void)num_cycles;
    return 1 - sqrt(x);
}

static double above_ratio(const accel_scheduler_t *scheduler, double factor)
{
    double ratio = scheduler->options.min_lr_ratio;

    return fmax(0, factor * (1 - ratio) + ratio);
}

static double warmup_stable_decay(const accel_scheduler_t *scheduler, double base, int32_t group)
{
    const accel_scheduler_options_t *options = &scheduler->options;
    int64_t into = scheduler->state.step - options->num_warmup_steps - options->num_stable_steps;
    double steps = fmax(1, (double)options->num_decay_steps);

    (void)group;
    if (is_warming(scheduler))
        return base * above_ratio(scheduler, scheduler->warm(warmup(scheduler)));
    if (into < 0)
        return base;
    if (into >= options->num_decay_steps)
        return base * options->min_lr_ratio;
    return base *
           above_ratio(scheduler, scheduler->decay((double)into / steps, options->num_cycles));
}

static const char *const types[] = {"linear", "cosine", "1-sqrt"};

/* The place of `text` among `names`; -1, with the error made. */
static int find_text(const accel_scheduler_t *scheduler, const char *option, const char *text,
                     const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0)
            return i;
    accel__fail(ACCEL_ERR_INVALID,
                "accel_scheduler_create: '%s': %s is '%s'; expected '%s'%s%s%s or '%s'",
                scheduler->curve->name, option, text, names[0], count > 2 ? ", '" : "",
                count > 2 ? names[1] : "", count > 2 ? "'" : "", names[count - 1]);
    return -1;
}

static accel_status_t check_stages(accel_scheduler_t *scheduler)
{
    static double (*const warms[])(double) = {warm_linear, warm_cosine, warm_sqrt};
    static double (*const decays[])(double, double) = {decay_linear, decay_cosine, decay_sqrt};
    accel_scheduler_options_t *options = &scheduler->options;
    int warm = find_text(scheduler, "warmup_type",
                         options->warmup_type ? options->warmup_type : types[0], types, 3);
    int decay = warm < 0
                    ? -1
                    : find_text(scheduler, "decay_type",
                                options->decay_type ? options->decay_type : types[1], types, 3);

    if (decay < 0)
        return ACCEL_ERR_INVALID;
    scheduler->warm = warms[warm];
    scheduler->decay = decays[decay];
    options->min_lr_ratio = accel__or_default(options->min_lr_ratio, 0);
    if (!(options->min_lr_ratio >= 0) || isinf(options->min_lr_ratio))
        return refuse(scheduler, "min_lr_ratio", options->min_lr_ratio, "a number >= 0");
    if (options->num_decay_steps == 0)
        return refuse(scheduler, "num_decay_steps", 0, "the length of the decay, or -1 for none");
    options->num_decay_steps = options->num_decay_steps < 0 ? 0 : options->num_decay_steps;
    if (options->num_stable_steps == 0) {
        accel_status_t status = check_total(scheduler);

        if (status != ACCEL_OK)
            return status;
        options->num_stable_steps =
            options->num_training_steps - options->num_warmup_steps - options->num_decay_steps;
        return ACCEL_OK;
    }
    options->num_stable_steps = options->num_stable_steps < 0 ? 0 : options->num_stable_steps;
    return ACCEL_OK;
}

/* ---- steps ---- */

static double step_curve(const accel_scheduler_t *scheduler, double base, int32_t group)
{
    int64_t times = scheduler->state.step / scheduler->options.step_size;

    (void)group;
    return base * pow(scheduler->options.gamma, (double)times);
}

static double multi_step(const accel_scheduler_t *scheduler, double base, int32_t group)
{
    int32_t passed = 0;

    (void)group;
    for (int32_t i = 0; i < scheduler->options.num_milestones; i++)
        passed += scheduler->milestones[i] <= scheduler->state.step;
    return base * pow(scheduler->options.gamma, (double)passed);
}

static double exponential(const accel_scheduler_t *scheduler, double base, int32_t group)
{
    (void)group;
    return base * pow(scheduler->options.gamma, at(scheduler));
}

static accel_status_t check_gamma(accel_scheduler_t *scheduler)
{
    double gamma = scheduler->options.gamma = accel__or_default(scheduler->options.gamma, 0.1);

    return gamma >= 0 && isfinite(gamma) ? ACCEL_OK
                                         : refuse(scheduler, "gamma", gamma, "a number >= 0");
}

static accel_status_t check_step(accel_scheduler_t *scheduler)
{
    if (scheduler->options.step_size < 1)
        return refuse(scheduler, "step_size", (double)scheduler->options.step_size, "1 or more");
    return check_gamma(scheduler);
}

static accel_status_t check_exponential(accel_scheduler_t *scheduler)
{
    if (scheduler->options.gamma == 0)
        return refuse(scheduler, "gamma", 0, "the factor of each step");
    return check_gamma(scheduler);
}

static accel_status_t check_milestones(accel_scheduler_t *scheduler)
{
    if (!scheduler->milestones)
        return refuse(scheduler, "num_milestones", (double)scheduler->options.num_milestones,
                      "milestones, and how many");
    return check_gamma(scheduler);
}

static double by_lambda(const accel_scheduler_t *scheduler, double base, int32_t group)
{
    return base *
           scheduler->options.lambda(scheduler->options.context, scheduler->state.step, group);
}

static accel_status_t check_lambda(accel_scheduler_t *scheduler)
{
    return scheduler->options.lambda
               ? ACCEL_OK
               : accel__fail(ACCEL_ERR_INVALID, "accel_scheduler_create: 'lambda': lambda is NULL");
}

/* ---- one cycle ---- */

/* Where the step lies: in which phase (0: up, 1: down, 2: further down), and how far in it. */
static int find_phase(const accel_scheduler_t *scheduler, double *x)
{
    const accel_scheduler_options_t *options = &scheduler->options;
    double total = (double)options->num_training_steps, begin = 0;
    double ends[3] = {options->pct_start * total - 1, 2 * options->pct_start * total - 2,
                      total - 1};
    int phase = 0;

    if (!options->three_phase)
        ends[1] = total - 1;
    while (phase < (options->three_phase ? 2 : 1) && at(scheduler) > ends[phase])
        begin = ends[phase++];
    *x = fmin(1, (at(scheduler) - begin) / (ends[phase] - begin)); /* torch may overshoot */
    return phase;
}

static double anneal(const accel_scheduler_t *scheduler, double from, double to, double x)
{
    if (scheduler->cosine_anneal)
        return to + (from - to) / 2 * (cos(pi * x) + 1);
    return (to - from) * x + from;
}

static double one_cycle(const accel_scheduler_t *scheduler, double base, int32_t group)
{
    const accel_scheduler_options_t *options = &scheduler->options;
    double most = options->max_lr > 0 ? options->max_lr : base;
    double first = most / options->div_factor, last = first / options->final_div_factor, x;

    (void)group;
    switch (find_phase(scheduler, &x)) {
    case 0:
        return anneal(scheduler, first, most, x);
    case 1:
        return anneal(scheduler, most, options->three_phase ? first : last, x);
    default:
        return anneal(scheduler, first, last, x);
    }
}

double accel__one_cycle_momentum(const accel_scheduler_t *scheduler)
{
    double least = scheduler->options.base_momentum, most = scheduler->options.max_momentum, x;

    switch (find_phase(scheduler, &x)) {
    case 0:
        return anneal(scheduler, most, least, x);
    case 1:
        return anneal(scheduler, least, most, x);
    default:
        return most;
    }
}

static accel_status_t check_momentum(accel_scheduler_t *scheduler)
{
    const accel_optimizer_t *optimizer = scheduler->optimizer;
    accel_scheduler_options_t *options = &scheduler->options;
    unsigned uses = optimizer->rule->uses;
    accel_status_t status = accel__tristate(options->cycle_momentum, true, "cycle_momentum",
                                            &scheduler->cycles_momentum);

    options->base_momentum = accel__or_default(options->base_momentum, 0.85);
    options->max_momentum = accel__or_default(options->max_momentum, 0.95);
    if (status != ACCEL_OK || !scheduler->cycles_momentum)
        return status;
    if (!(options->base_momentum >= 0 && options->base_momentum < 1))
        return refuse(scheduler, "base_momentum", options->base_momentum, "0 to 1");
    if (!(options->max_momentum >= 0 && options->max_momentum < 1))
        return refuse(scheduler, "max_momentum", options->max_momentum, "0 to 1");
    if ((uses & ACCEL__USES(ACCEL__BETA1)) ||
        ((uses & ACCEL__USES(ACCEL__MOMENTUM)) && optimizer->groups[0].hypers[ACCEL__MOMENTUM] > 0))
        return ACCEL_OK;
    return accel__fail(ACCEL_ERR_INVALID,
                       "accel_scheduler_create: 'one_cycle' cycles momentum, and the %s optimizer "
                       "was created without; say .cycle_momentum = ACCEL_OFF, or give it momentum",
                       optimizer->rule->name);
}

static accel_status_t check_one_cycle(accel_scheduler_t *scheduler)
{
    static const char *const strategies[] = {"cos", "linear"};
    accel_scheduler_options_t *options = &scheduler->options;
    const char *strategy = options->anneal_strategy ? options->anneal_strategy : "cos";
    int which = find_text(scheduler, "anneal_strategy", strategy, strategies, 2);

    if (which < 0)
        return ACCEL_ERR_INVALID;
    scheduler->cosine_anneal = which == 0;
    options->pct_start = accel__or_default(options->pct_start, 0.3);
    options->div_factor = accel__or_default(options->div_factor, 25);
    options->final_div_factor = accel__or_default(options->final_div_factor, 1e4);
    if (!(options->pct_start >= 0 && options->pct_start <= 1))
        return refuse(scheduler, "pct_start", options->pct_start, "0 to 1");
    if (!(options->max_lr >= 0) || isinf(options->max_lr))
        return refuse(scheduler, "max_lr", options->max_lr, "a number > 0");
    if (!(options->div_factor > 0) || !(options->final_div_factor > 0))
        return refuse(scheduler, "div_factor, or final_div_factor,",
                      fmin(options->div_factor, options->final_div_factor), "a number > 0");
    if (check_total(scheduler) != ACCEL_OK)
        return ACCEL_ERR_INVALID;
    return check_momentum(scheduler);
}

/* ---- plateau ---- */

static double plateau(const accel_scheduler_t *scheduler, double base, int32_t group)
{
    const accel_scheduler_options_t *options = &scheduler->options;
    double rate = base;

    (void)group;
    for (int64_t i = 0; i < scheduler->state.num_reductions; i++) {
        double reduced = fmax(rate * options->factor, options->min_lr);

        if (rate - reduced <= options->eps)
            break; /* and so it stays */
        rate = reduced;
    }
    return rate;
}

static bool is_better(const accel_scheduler_t *scheduler, double metric)
{
    double threshold = scheduler->options.threshold, best = scheduler->state.best;

    if (scheduler->is_max)
        return metric > (scheduler->is_absolute ? best + threshold : best * (threshold + 1));
    return metric < (scheduler->is_absolute ? best - threshold : best * (1 - threshold));
}

void accel__plateau_step(accel_scheduler_t *scheduler, double metric)
{
    accel_scheduler_state_t *state = &scheduler->state;

    if (is_better(scheduler, metric)) {
        state->best = metric;
        state->num_bad_steps = 0;
    } else {
        state->num_bad_steps++;
    }
    if (state->cooldown_counter > 0) {
        state->cooldown_counter--;
        state->num_bad_steps = 0;
    }
    if (state->num_bad_steps > scheduler->options.patience) {
        state->num_reductions++;
        state->cooldown_counter = scheduler->options.cooldown;
        state->num_bad_steps = 0;
    }
}

static accel_status_t check_plateau(accel_scheduler_t *scheduler)
{
    static const char *const modes[] = {"min", "max"}, *const kinds[] = {"rel", "abs"};
    accel_scheduler_options_t *options = &scheduler->options;
    int mode = find_text(scheduler, "mode", options->mode ? options->mode : "min", modes, 2);
    int kind = mode < 0
                   ? -1
                   : find_text(scheduler, "threshold_mode",
                               options->threshold_mode ? options->threshold_mode : "rel", kinds, 2);

    if (kind < 0)
        return ACCEL_ERR_INVALID;
    scheduler->is_max = mode == 1;
    scheduler->is_absolute = kind == 1;
    scheduler->state.best = scheduler->is_max ? -INFINITY : INFINITY;
    options->factor = accel__or_default(options->factor, 0.1);
    options->threshold = accel__or_default(options->threshold, 1e-4);
    options->eps = accel__or_default(options->eps, 1e-8);
    options->min_lr = accel__or_default(options->min_lr, 0);
    options->patience = options->patience == 0 ? 10 : options->patience;
    options->patience = options->patience < 0 ? 0 : options->patience;
    options->cooldown = options->cooldown < 0 ? 0 : options->cooldown;
    if (!(options->factor >= 0 && options->factor < 1))
        return refuse(scheduler, "factor", options->factor, "0 <= factor < 1");
    if (!(options->min_lr >= 0) || !(options->threshold >= 0) || !(options->eps >= 0))
        return refuse(scheduler, "min_lr, threshold or eps",
                      fmin(options->min_lr, fmin(options->threshold, options->eps)),
                      "a number >= 0");
    return ACCEL_OK;
}

/* ---- by name ---- */

static const accel__curve_t curves[] = {
    {"constant", constant, check_none},
    {"constant_with_warmup", constant_with_warmup, check_none},
    {"linear", linear, check_total},
    {"cosine", cosine, check_total},
    {"cosine_with_restarts", cosine_with_restarts, check_total},
    {"cosine_with_min_lr", cosine_with_min_lr, check_minimum},
    {"cosine_warmup_with_min_lr", cosine_warmup_with_min_lr, check_minimum},
    {"polynomial", polynomial, check_polynomial},
    {"inverse_sqrt", inverse_sqrt, check_inverse_sqrt},
    {"warmup_stable_decay", warmup_stable_decay, check_stages},
    {"reduce_lr_on_plateau", plateau, check_plateau},
    {"step", step_curve, check_step},
    {"multi_step", multi_step, check_milestones},
    {"exponential", exponential, check_exponential},
    {"one_cycle", one_cycle, check_one_cycle},
    {"lambda", by_lambda, check_lambda}};
#define NUM_CURVES (sizeof(curves) / sizeof(*curves))

const accel__curve_t *accel__curve_find(const char *name)
{
    const char *names[NUM_CURVES], *nearest;
    accel__text_t all = {0};

    for (size_t i = 0; i < NUM_CURVES; i++) {
        names[i] = curves[i].name;
        if (strcmp(name, names[i]) == 0) {
            accel__text_free(&all);
            return &curves[i];
        }
        accel__text_appendf(&all, "%s%s", i == 0 ? "" : ", ", names[i]);
    }
    nearest = accel__nearest(name, names, NUM_CURVES);
    accel__fail(ACCEL_ERR_INVALID,
                "accel_scheduler_create: there is no schedule '%s'%s%s%s; expected one of %s", name,
                nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "",
                all.data ? all.data : "those in optimizer.h");
    accel__text_free(&all);
    return NULL;
}

bool accel__curve_wants_metric(const accel__curve_t *curve)
{
    return curve->rate == plateau;
}

bool accel__curve_ends(const accel__curve_t *curve)
{
    return curve->rate == one_cycle;
}
