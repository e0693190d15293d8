/* SPDX-License-Identifier: Apache-2.0 */
/* accel env: the facts a bug report needs, as `key: value` lines or JSON. */
#include <accel/version.h>

#include <dlfcn.h>
#include <getopt.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "facts.h"
#include "tool.h"

static const char help[] =
    "Usage: accel env [--json]\n"
    "\n"
    "Print what to paste into a bug report: versions, the machine, its limits, launchers,\n"
    "plugins, and the variables that change what accel does. The values of keys, tokens and\n"
    "passwords are not shown.\n"
    "\n"
    "Options:\n"
    "  -j, --json  As one JSON object\n"
    "  -h, --help  Show this\n";

/* ---- variables ---- */

/* Those the library, its trackers and the launchers read; a last * stands for any ending. */
static const char *const variables[] = {
    "ACCEL_*",
    "ACCELERATE_*",
    "WANDB_*",
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "GROUP_RANK",
    "MASTER_ADDR",
    "MASTER_PORT",
    "TORCHELASTIC_*",
    "OMPI_COMM_WORLD_*",
    "PMIX_NAMESPACE",
    "PMIX_RANK",
    "PMI_*",
    "SLURM_JOB_ID",
    "SLURM_STEP_*",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_NTASKS",
    "SLURM_NNODES",
    "CUDA_VISIBLE_DEVICES",
    "NCCL_*",
    "OMP_*",
    "OPENBLAS_*",
    "MKL_*",
    "KMP_*",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    NULL,
};

static bool is_of_interest(const char *name, size_t length)
{
    for (const char *const *pattern = variables; *pattern; pattern++) {
        size_t fixed = strcspn(*pattern, "*");

        if (length >= fixed && strncmp(name, *pattern, fixed) == 0 &&
            (length == fixed || (*pattern)[fixed] == '*'))
            return true;
    }
    return false;
}

static bool is_secret(const char *name, const char *value)
{
    static const char *const words[] = {"KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL"};

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        if (strstr(name, words[i]))
            return true;
    /* https://user:password@host */
    return strstr(value, "://") && strchr(value, '@');
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_variables(facts_t *facts)
{
    size_t count = 0;
    char **sorted;

    while (environ && environ[count])
        count++;
    sorted = calloc(count + 1, sizeof(*sorted));
    if (!sorted) {
        facts->failed = true;
        return;
    }
    for (size_t i = 0; i < count; i++)
        sorted[i] = environ[i];
    qsort(sorted, count, sizeof(*sorted), by_text);
    for (size_t i = 0; i < count; i++) {
        size_t length = strcspn(sorted[i], "=");
        const char *value = sorted[i] + length + (sorted[i][length] == '=');
        char name[128];

        if (!is_of_interest(sorted[i], length) || length >= sizeof(name))
            continue;
        snprintf(name, sizeof(name), "%.*s", (int)length, sorted[i]);
        facts_add(facts, name, "%s", is_secret(name, value) ? "(set, not shown)" : value);
    }
    if (!getenv("WANDB_API_KEY"))
        facts_add(facts, "WANDB_API_KEY", "(unset)");
    free(sorted);
}

/* ---- this build ---- */

#if defined(__clang__)
#define COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define COMPILER "gcc " __VERSION__
#else
#define COMPILER "unknown"
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZER ", address sanitizer"
#elif defined(__SANITIZE_THREAD__)
#define SANITIZER ", thread sanitizer"
#else
#define SANITIZER ""
#endif

#ifdef __OPTIMIZE__
#define OPTIMIZED ", optimized"
#else
#define OPTIMIZED ", not optimized"
#endif

static void add_build(facts_t *facts)
{
    Dl_info library;

    facts_add(facts, "accel", "%s", accel_version());
    if (strcmp(accel_version(), ACCEL_VERSION) != 0)
        facts_add(facts, "accel tool", "%s: another version than the library's", ACCEL_VERSION);
    if (dladdr((const void *)(uintptr_t)accel_version, &library) && library.dli_fname)
        facts_add(facts, "library", "%s", library.dli_fname);
    facts_add(facts, "compiler", "%s%s%s", COMPILER, OPTIMIZED, SANITIZER);
}

/* ---- the command ---- */

static int print_text(const facts_t *facts)
{
    for (size_t i = 0; i < facts->count; i++)
        printf("%s: %s\n", facts->items[i].name, facts->items[i].value);
    return tool_finish("env");
}

/* A name that comes twice has a list. */
static int set_json(json_t *object, const fact_t *fact)
{
    json_t *value = json_string(fact->value), *present = json_object_get(object, fact->name);
    json_t *list;

    /* A variable may hold anything. */
    if (!value)
        value = json_string("(not UTF-8)");
    if (!present)
        return json_object_set_new(object, fact->name, value);
    if (json_is_array(present))
        return json_array_append_new(present, value);
    list = json_array();
    if (json_array_append(list, present) != 0 || json_array_append_new(list, value) != 0) {
        json_decref(list);
        return -1;
    }
    return json_object_set_new(object, fact->name, list);
}

static int print_json(const facts_t *facts)
{
    json_t *object = json_object();
    int failed = object ? 0 : -1;

    for (size_t i = 0; i < facts->count && failed == 0; i++)
        failed = set_json(object, &facts->items[i]);
    if (failed == 0)
        failed = json_dumpf(object, stdout, JSON_INDENT(2));
    json_decref(object);
    if (failed != 0) {
        tool_say("env", "cannot write the JSON to standard output");
        return TOOL_FAILED;
    }
    putchar('\n');
    return tool_finish("env");
}

static int run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};
    facts_t facts = {0};
    bool json = false;
    int option, result;

    opterr = 0;
    while ((option = getopt_long(argc, argv, "+jh", long_options, NULL)) != -1) {
        if (option == 'h')
            return tool_help(&tool_env);
        if (option == '?') {
            tool_say("env", "unknown option %s; `accel env --help` lists them", argv[optind - 1]);
            return TOOL_USAGE;
        }
        json = true;
    }
    if (optind < argc) {
        tool_say("env", "unexpected argument '%s'", argv[optind]);
        return TOOL_USAGE;
    }
    add_build(&facts);
    facts_add_system(&facts);
    facts_add_limits(&facts);
    facts_add_programs(&facts);
    facts_add_plugins(&facts);
    add_variables(&facts);
    result = TOOL_FAILED;
    if (facts.failed)
        tool_say("env", "out of memory");
    else
        result = json ? print_json(&facts) : print_text(&facts);
    facts_fini(&facts);
    return result;
}

const tool_command_t tool_env = {
    .name = "env",
    .summary = "Print what to paste into a bug report",
    .help = help,
    .run = run,
};
