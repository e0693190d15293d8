/* SPDX-License-Identifier: Apache-2.0 */
/* define_metric: which metric is whose x axis, and what the summary keeps. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "run.h"

/* ---- names and paths ---- */

char *accel__wandb_path_of(const char *name)
{
    char *path = strdup(name), *out = path;
    if (!path)
        return NULL;
    for (const char *c = name; *c; c++) {
        if (c[0] == '\\' && c[1] == '.')
            *out++ = *++c;
        else
            *out++ = *c == '.' ? ACCEL__WANDB_SEPARATOR : *c;
    }
    *out = '\0';
    return path;
}

const char *accel__wandb_leaf_path(const accel__wandb_leaf_t *leaf, accel__wandb_text_t *text)
{
    static const char separator[] = {ACCEL__WANDB_SEPARATOR, '\0'};
    text->length = 0;
    for (size_t i = 0; i < leaf->depth; i++) {
        accel__wandb_text_puts(text, i ? separator : "");
        accel__wandb_text_puts(text, leaf->path[i]);
    }
    return text->failed ? NULL : text->data;
}

/* ---- the definitions ---- */

/* Append to, or with `at` insert into, an array of pointers. */
static bool insert(void ***array, size_t *count, size_t at, void *element)
{
    void **grown = realloc(*array, (*count + 1) * sizeof(*grown));
    if (!grown)
        return false;
    memmove(grown + at + 1, grown + at, (*count - at) * sizeof(*grown));
    grown[at] = element;
    *array = grown;
    ++*count;
    return true;
}

static void definition_free(accel__wandb_definition_t *definition)
{
    if (!definition)
        return;
    free(definition->path);
    free(definition->step_metric);
    free(definition);
}

void accel__wandb_definitions_free(accel__wandb_definitions_t *definitions)
{
    for (size_t i = 0; i < definitions->num_exact; i++)
        definition_free(definitions->exact[i]);
    for (size_t i = 0; i < definitions->num_globs; i++)
        definition_free(definitions->globs[i]);
    for (size_t i = 0; i < definitions->num_steps; i++) {
        free(definitions->steps[i]->path);
        free(definitions->steps[i]);
    }
    free(definitions->exact);
    free(definitions->globs);
    free(definitions->steps);
    *definitions = (accel__wandb_definitions_t){0};
}

static size_t lower_bound(const accel__wandb_definitions_t *definitions, const char *path)
{
    size_t low = 0, high = definitions->num_exact;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(definitions->exact[middle]->path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static accel__wandb_definition_t *find_or_add(accel__wandb_definitions_t *definitions,
                                              const char *path)
{
    size_t at = lower_bound(definitions, path);
    if (at < definitions->num_exact && !strcmp(definitions->exact[at]->path, path))
        return definitions->exact[at];
    accel__wandb_definition_t *added = calloc(1, sizeof(*added));
    if (added)
        added->path = strdup(path);
    if (added && added->path &&
        insert((void ***)(void *)&definitions->exact, &definitions->num_exact, at, added))
        return added;
    definition_free(added);
    return NULL;
}

static accel__wandb_definition_t *find_or_add_glob(accel__wandb_definitions_t *definitions,
                                                   const char *beginning)
{
    for (size_t i = 0; i < definitions->num_globs; i++) {
        if (!strcmp(definitions->globs[i]->path, beginning))
            return definitions->globs[i];
    }
    accel__wandb_definition_t *added = calloc(1, sizeof(*added));
    if (added)
        added->path = strdup(beginning);
    if (added && added->path &&
        insert((void ***)(void *)&definitions->globs, &definitions->num_globs,
               definitions->num_globs, added))
        return added;
    definition_free(added);
    return NULL;
}

/* From when a metric is somebody's x axis its last value is known. */
static accel__wandb_step_t *find_or_add_step(accel__wandb_definitions_t *definitions,
                                             const char *name)
{
    accel__wandb_step_t *added = calloc(1, sizeof(*added));
    if (added)
        added->path = accel__wandb_path_of(name);
    for (size_t i = 0; added && added->path && i < definitions->num_steps; i++) {
        accel__wandb_step_t *step = definitions->steps[i];
        if (strcmp(step->path, added->path) != 0)
            continue;
        free(added->path);
        free(added);
        return step;
    }
    if (added && added->path &&
        insert((void ***)(void *)&definitions->steps, &definitions->num_steps,
               definitions->num_steps, added))
        return added;
    if (added)
        free(added->path);
    free(added);
    return NULL;
}

static bool copy_definition(accel__wandb_definition_t *to, const accel__wandb_definition_t *from)
{
    char *step_metric = from->step_metric ? strdup(from->step_metric) : NULL;
    if (from->step_metric && !step_metric)
        return false;
    free(to->step_metric);
    to->step_metric = step_metric;
    to->step = from->step;
    to->step_sync = from->step_sync;
    to->hidden = from->hidden;
    to->summary = from->summary;
    return true;
}

/* Does a glob with this beginning stand for the path? Names that have dots of their own are what
 * stock's globs miss. */
static bool begins(const char *beginning, const char *path)
{
    for (; *beginning; beginning++, path++) {
        char c = *path == ACCEL__WANDB_SEPARATOR ? '.' : *path;
        if (c != *beginning)
            return false;
    }
    return true;
}

/* Which of several globs counts is chance in stock; here it is the longest. */
static const accel__wandb_definition_t *find_glob(const accel__wandb_definitions_t *definitions,
                                                  const char *path)
{
    const accel__wandb_definition_t *best = NULL;
    if (*path == '_' || strchr(path, '.'))
        return NULL;
    for (size_t i = 0; i < definitions->num_globs; i++) {
        const accel__wandb_definition_t *glob = definitions->globs[i];
        if (begins(glob->path, path) && (!best || strlen(glob->path) > strlen(best->path)))
            best = glob;
    }
    return best;
}

accel_status_t accel__wandb_definition_of(accel__wandb_definitions_t *definitions, const char *path,
                                          const accel__wandb_definition_t **found, bool *added)
{
    size_t at = lower_bound(definitions, path);
    *added = false;
    *found = NULL;
    if (at < definitions->num_exact && !strcmp(definitions->exact[at]->path, path)) {
        *found = definitions->exact[at];
        return ACCEL_OK;
    }
    const accel__wandb_definition_t *glob = find_glob(definitions, path);
    if (!glob)
        return ACCEL_OK;
    accel__wandb_definition_t *expanded = find_or_add(definitions, path);
    if (!expanded || !copy_definition(expanded, glob))
        return accel__wandb_fail_memory();
    *found = expanded;
    *added = true;
    return ACCEL_OK;
}

/* ---- define_metric ---- */

static const struct {
    const char *word;
    unsigned flag;
} words[] = {
    {"min", ACCEL__WANDB_MIN},     {"max", ACCEL__WANDB_MAX},   {"mean", ACCEL__WANDB_MEAN},
    {"first", ACCEL__WANDB_FIRST}, {"last", ACCEL__WANDB_LAST}, {"copy", ACCEL__WANDB_COPY},
    {"none", ACCEL__WANDB_NONE},
};

static accel_status_t parse_word(const char *word, size_t length, unsigned *flags)
{
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (strlen(words[i].word) == length && !strncasecmp(words[i].word, word, length)) {
            *flags |= words[i].flag;
            return ACCEL_OK;
        }
    }
    return accel__wandb_fail(
        ACCEL_ERR_INVALID,
        "wandb: define_metric's summary has '%.*s', which is none of min, max, "
        "mean, first, last, copy, none",
        (int)length, word);
}

static accel_status_t parse_summary(const char *text, unsigned *flags)
{
    accel_status_t status = ACCEL_OK;
    *flags = 0;
    for (const char *end; text && *text && !status; text = end + 1) {
        end = strchrnul(text, ',');
        status = parse_word(text, (size_t)(end - text), flags);
        if (!*end)
            break;
    }
    return status;
}

static accel_status_t check_name(const char *name)
{
    const char *star = name ? strchr(name, '*') : NULL;
    if (!name || !*name)
        return accel__wandb_fail(ACCEL_ERR_INVALID, "wandb: define_metric needs a name");
    if (star && star[1])
        return accel__wandb_fail(ACCEL_ERR_INVALID,
                                 "wandb: define_metric's name '%s' has a '*' before its end", name);
    return ACCEL_OK;
}

/* As stock's core merges: what is said takes the place of what was, the words of the summary are
 * added up, and "none" holds until others are said. */
static accel_status_t merge(accel__wandb_definitions_t *definitions,
                            accel__wandb_definition_t *definition,
                            const accel_wandb_metric_options_t *options, unsigned summary)
{
    if (options->overwrite) {
        const accel__wandb_definition_t nothing = {0};
        copy_definition(definition, &nothing);
    }
    if (options->step_metric) {
        char *copy = strdup(options->step_metric);
        if (!copy)
            return accel__wandb_fail_memory();
        free(definition->step_metric);
        definition->step_metric = copy;
        definition->step = find_or_add_step(definitions, copy);
        if (!definition->step)
            return accel__wandb_fail_memory();
    }
    if (options->step_sync > 0 || (options->step_sync == 0 && options->step_metric))
        definition->step_sync = true;
    definition->hidden = definition->hidden || options->hidden;
    if (summary)
        definition->summary = (definition->summary & ~(unsigned)ACCEL__WANDB_NONE) | summary;
    return ACCEL_OK;
}

static accel_status_t define_exact(accel__wandb_run_t *run, const char *name,
                                   const accel_wandb_metric_options_t *options, unsigned summary)
{
    char *path = accel__wandb_path_of(name);
    accel__wandb_definition_t *definition = path ? find_or_add(&run->definitions, path) : NULL;
    accel_status_t status = definition ? merge(&run->definitions, definition, options, summary)
                                       : accel__wandb_fail_memory();
    accel__wandb_metric_t *metric = status ? NULL : accel__wandb_summary_at(&run->summary, path);
    if (metric) {
        metric->definition = definition;
        metric->summary = definition->summary;
    } else if (!status) {
        status = accel__wandb_fail_memory();
    }
    free(path);
    return status;
}

static accel_status_t define_glob(accel__wandb_run_t *run, const char *name,
                                  const accel_wandb_metric_options_t *options, unsigned summary)
{
    char *beginning = strndup(name, strlen(name) - 1);
    accel__wandb_definition_t *definition =
        beginning ? find_or_add_glob(&run->definitions, beginning) : NULL;
    free(beginning);
    return definition ? merge(&run->definitions, definition, options, summary)
                      : accel__wandb_fail_memory();
}

static void use_features(accel__wandb_run_t *run, const accel_wandb_metric_options_t *options)
{
    if (options->summary && *options->summary)
        accel__wandb_use_feature(run, &run->features.metric_summary);
    if (options->hidden)
        accel__wandb_use_feature(run, &run->features.metric_hidden);
    if (options->step_sync > 0)
        accel__wandb_use_feature(run, &run->features.metric_step_sync);
    accel__wandb_use_feature(run, &run->features.metric);
}

accel_status_t accel__wandb_run_define_metric(accel__wandb_run_t *run, const char *name,
                                              const accel_wandb_metric_options_t *options)
{
    unsigned summary = 0;
    accel_status_t status = check_name(name);
    if (!status)
        status = parse_summary(options->summary, &summary);
    if (status || !accel__wandb_is_writing(run))
        return status;
    use_features(run, options);
    accel__wandb_emit_metric(run, name, options, summary);
    status = accel__wandb_commit(run);
    if (status)
        return status;
    return name[strlen(name) - 1] == '*' ? define_glob(run, name, options, summary)
                                         : define_exact(run, name, options, summary);
}
