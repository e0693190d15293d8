/* SPDX-License-Identifier: Apache-2.0 */
/* accel launch: options to accel_launch(). Names are those of `accelerate launch`, with _ or
 * -. What that command has and this one has not is refused by name, with what to do. */
#include <accel/launch.h>

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

#define MAX_THREADS 65536
#define MAX_GRACE 86400.0
#define MAX_STEPS 1000000000
#define MAX_ENVIRONMENT 8
#define TYPED_SIZE 64 /* of an option in a message */

static const char help[] =
    "Usage: accel launch [OPTIONS] PROGRAM [ARGUMENTS]\n"
    "\n"
    "Run N processes (\"ranks\") of a program on this host and look after them.\n"
    "\n"
    "  accel launch -n 4 ./train --lr 0.01    options after the program are the program's\n"
    "  accel launch -n 2 --threads 4 ./train  OMP_NUM_THREADS=4 in each\n"
    "  accel launch --log-dir logs ./train    also into logs/rank-0.log, logs/rank-1.log, ...\n"
    "  accel launch -n 2 gdb -batch -ex run -ex bt ./train\n"
    "\n"
    "Options (- and _ in names are the same):\n"
    "  -n, --num-processes N   Processes to start; default: one for every usable CPU\n"
    "      --threads N         OMP_NUM_THREADS of each; default: as set, else CPUs / N.\n"
    "                          Also --num-cpu-threads-per-process\n"
    "      --log-dir DIR       Also write each rank's output, unprefixed, to DIR/rank-N.log\n"
    "      --no-prefix         Do not put \"[rank] \" before the ranks' lines\n"
    "      --grace SECONDS     Time to end after SIGTERM or ^C before SIGKILL; default: 5\n"
    "  -q, --quiet             No closing report when a rank fails\n"
    "      --cpu               ACCELERATE_USE_CPU=true\n"
    "      --mixed-precision P ACCELERATE_MIXED_PRECISION=P\n"
    "      --gradient-accumulation-steps N\n"
    "                          ACCELERATE_GRADIENT_ACCUMULATION_STEPS=N\n"
    "  -h, --help              Show this\n"
    "\n"
    "Each rank finds RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR, MASTER_PORT,\n"
    "ACCEL_JOB_ID and OMP_NUM_THREADS in its environment. When one fails the others are\n"
    "stopped, and the first failure is reported with its rank, signal or exit code and last\n"
    "lines.\n"
    "\n"
    "Exit code: 0 if every rank returned 0; else that of the first that failed, 128 + the\n"
    "signal that killed it; 128 + the signal that interrupted the launcher. 2: wrong options,\n"
    "126: the program cannot be executed, 127: there is no such program, 125: the launcher\n"
    "itself failed.\n";

/* ---- options of `accelerate launch` that mean nothing here ---- */

typedef struct refusal {
    const char *name; /* a last * stands for any ending */
    const char *reason;
} refusal_t;

static const refusal_t refusals[] = {
    {"multi-gpu", "-n N starts N processes, whatever they compute on"},
    {"gpu-ids", "set CUDA_VISIBLE_DEVICES instead"},
    {"machine-rank", "this command starts the ranks of one host; on several, run the same program "
                     "under mpirun, srun or torchrun --no-python"},
    {"main-process-ip", "the ranks of one host need no address; on several hosts, run the same "
                        "program under mpirun, srun or torchrun --no-python"},
    {"main-process-port", "the ranks of one host need no port; for a program that does, set "
                          "MASTER_PORT, which is passed on"},
    {"same-network", "this command starts the ranks of one host"},
    {"rdzv-*", "the ranks of one host need no rendezvous"},
    {"mpirun-hostfile",
     "say `mpirun --hostfile FILE -n N PROGRAM`; the same program runs under it"},
    {"config-file", "configuration files are not read; say it on the command line"},
    {"module", "say `python3 -m MODULE` as the program"},
    {"max-restarts", "a failed job is not restarted"},
    {"monitor-interval", "the end of a rank is seen at once; there is nothing to poll"},
    {"tee", "all output is shown; --log-dir DIR also keeps it"},
    {"role", "there are no roles; every rank runs the same program"},
    {"enable-cpu-affinity", "put `numactl` or `taskset` before the program instead"},
    {"debug", "collectives are always checked; ACCEL_LOG_LEVEL=debug tells more"},
    {"dynamo-*", "torch.compile is PyTorch's, for Python programs"},
    {"use-deepspeed", "DeepSpeed is for Python programs"},
    {"deepspeed-*", "DeepSpeed is for Python programs"},
    {"zero*", "DeepSpeed is for Python programs"},
    {"offload-*", "DeepSpeed is for Python programs"},
    {"use-fsdp", "how a model is sharded is said in the program"},
    {"fsdp-*", "how a model is sharded is said in the program"},
    {"use-parallelism-config", "how a model is sharded is said in the program"},
    {"parallelism-config-*", "how a model is sharded is said in the program"},
    {"use-megatron-lm", "Megatron-LM is for Python programs"},
    {"megatron-lm-*", "Megatron-LM is for Python programs"},
    {"fp8-*", "fp8 is not supported"},
    {"tpu*", "TPUs are not supported"},
    {"aws-*", "SageMaker is not supported"},
};

static const char *refusal_of(const char *name)
{
    for (size_t i = 0; i < sizeof(refusals) / sizeof(*refusals); i++) {
        size_t length = strcspn(refusals[i].name, "*");
        bool any_ending = refusals[i].name[length] == '*';

        if (strncmp(name, refusals[i].name, length) == 0 && (any_ending || name[length] == '\0'))
            return refusals[i].reason;
    }
    return NULL;
}

/* ---- options ---- */

enum {
    OPTION_THREADS = 256,
    OPTION_LOG_DIR,
    OPTION_NO_PREFIX,
    OPTION_GRACE,
    OPTION_CPU,
    OPTION_MIXED_PRECISION,
    OPTION_STEPS,
    OPTION_MACHINES,
    OPTION_NO_PYTHON
};

static const struct option long_options[] = {
    {"num-processes", required_argument, NULL, 'n'},
    {"threads", required_argument, NULL, OPTION_THREADS},
    {"num-cpu-threads-per-process", required_argument, NULL, OPTION_THREADS},
    {"log-dir", required_argument, NULL, OPTION_LOG_DIR},
    {"no-prefix", no_argument, NULL, OPTION_NO_PREFIX},
    {"grace", required_argument, NULL, OPTION_GRACE},
    {"quiet", no_argument, NULL, 'q'},
    {"cpu", no_argument, NULL, OPTION_CPU},
    {"mixed-precision", required_argument, NULL, OPTION_MIXED_PRECISION},
    {"gradient-accumulation-steps", required_argument, NULL, OPTION_STEPS},
    {"num-machines", required_argument, NULL, OPTION_MACHINES},
    {"no-python", no_argument, NULL, OPTION_NO_PYTHON}, /* what is always done */
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

typedef struct arguments {
    accel_launch_options_t options;
    char *environment[MAX_ENVIRONMENT + 1]; /* owned */
    int num_environment;
    bool help;
} arguments_t;

/* "--log_dir=x_y" is "--log-dir=x_y". Only the option that is read next is changed, since
 * what follows the program is the program's. */
static void dashes_for_underscores(char *text)
{
    if (strncmp(text, "--", 2) != 0)
        return;
    for (char *c = text; *c && *c != '='; c++)
        if (*c == '_')
            *c = '-';
}

static bool read_number(const char *option, int64_t max, int32_t *number)
{
    int64_t value;

    if (!tool_parse_int(optarg, 1, max, &value)) {
        tool_say("launch", "%s is '%s'; expected a whole number from 1 to %lld", option, optarg,
                 (long long)max);
        return false;
    }
    *number = (int32_t)value;
    return true;
}

static bool read_grace(arguments_t *arguments)
{
    double seconds;

    if (!tool_parse_seconds(optarg, MAX_GRACE, &seconds)) {
        tool_say("launch", "--grace is '%s'; expected seconds from 0 to %.0f", optarg, MAX_GRACE);
        return false;
    }
    /* 0 is the default there, and "at once" here. */
    arguments->options.grace_ms = seconds < 0.001 ? 1 : (uint32_t)(seconds * 1000);
    return true;
}

static bool add_environment(arguments_t *arguments, const char *name, const char *value)
{
    char *entry;

    if (arguments->num_environment == MAX_ENVIRONMENT) {
        tool_say("launch", "too many options that set a variable");
        return false;
    }
    if (asprintf(&entry, "%s=%s", name, value) < 0) {
        tool_say("launch", "out of memory");
        return false;
    }
    arguments->environment[arguments->num_environment++] = entry;
    return true;
}

static bool read_machines(void)
{
    if (strcmp(optarg, "1") == 0)
        return true;
    tool_say("launch",
             "--num-machines is '%s': this command starts the ranks of one host; on "
             "several, run the same program under mpirun, srun or torchrun --no-python",
             optarg);
    return false;
}

static bool take_option(arguments_t *arguments, int option)
{
    int32_t steps;

    switch (option) {
    case 'n':
        return read_number("--num-processes", ACCEL_LAUNCH_MAX_PROCESSES,
                           &arguments->options.num_processes);
    case OPTION_THREADS:
        return read_number("--threads", MAX_THREADS, &arguments->options.threads_per_process);
    case OPTION_LOG_DIR:
        arguments->options.log_dir = optarg;
        return true;
    case OPTION_NO_PREFIX:
        arguments->options.no_prefix = true;
        return true;
    case OPTION_GRACE:
        return read_grace(arguments);
    case 'q':
        arguments->options.quiet = true;
        return true;
    case OPTION_CPU:
        return add_environment(arguments, "ACCELERATE_USE_CPU", "true");
    case OPTION_MIXED_PRECISION:
        return add_environment(arguments, "ACCELERATE_MIXED_PRECISION", optarg);
    case OPTION_STEPS:
        return read_number("--gradient-accumulation-steps", MAX_STEPS, &steps) &&
               add_environment(arguments, "ACCELERATE_GRADIENT_ACCUMULATION_STEPS", optarg);
    case OPTION_MACHINES:
        return read_machines();
    case 'h':
        arguments->help = true;
        return true;
    default: /* --no-python */
        return true;
    }
}

/* An option that getopt does not know: `typed` is the argument, `letter` a short one or 0. */
static void refuse(const char *typed, int letter)
{
    const char *names[sizeof(long_options) / sizeof(*long_options)] = {NULL}, *reason, *nearest;
    char name[TYPED_SIZE], short_name[] = {'-', (char)letter, '\0'};

    snprintf(name, sizeof(name), "%s",
             letter == 'm'   ? "--module"
             : letter == 't' ? "--tee"
             : letter        ? "--"
                             : typed);
    dashes_for_underscores(name);
    for (size_t i = 0; long_options[i].name; i++)
        names[i] = long_options[i].name;
    reason = refusal_of(name + 2);
    nearest = letter ? NULL : tool_nearest(name + 2, names);
    if (letter)
        typed = short_name;
    if (reason)
        tool_say("launch", "%s has no meaning here: %s", typed, reason);
    else if (nearest)
        tool_say("launch", "unknown option %s; did you mean --%s?", typed, nearest);
    else
        tool_say("launch", "unknown option %s; `accel launch --help` lists them", typed);
}

/* Options up to the program; optind is its place. */
static bool read_arguments(int argc, char **argv, arguments_t *arguments)
{
    opterr = 0;
    optind = 1;
    while (optind < argc) {
        char typed[TYPED_SIZE];
        int option;

        snprintf(typed, sizeof(typed), "%.*s", (int)strcspn(argv[optind], "="), argv[optind]);
        dashes_for_underscores(argv[optind]);
        option = getopt_long(argc, argv, "+:n:qh", long_options, NULL);
        if (option == -1)
            break;
        if (option == '?' && strncmp(typed, "--", 2) == 0 && optopt != 0) {
            tool_say("launch", "%s takes no value", typed);
            return false;
        }
        if (option == '?') {
            refuse(typed, optopt);
            return false;
        }
        if (option == ':') {
            tool_say("launch", "%s needs a value", typed);
            return false;
        }
        if (!take_option(arguments, option))
            return false;
    }
    return true;
}

static int launch(int argc, char **argv, arguments_t *arguments)
{
    accel_status_t status;
    int exit_code;

    if (!read_arguments(argc, argv, arguments))
        return TOOL_USAGE;
    if (arguments->help)
        return tool_help(&tool_launch);
    if (optind == argc) {
        tool_say("launch", "no program given; for example: accel launch -n 4 ./train");
        return TOOL_USAGE;
    }
    arguments->options.environment = (const char *const *)arguments->environment;
    status = accel_launch(&arguments->options, argv + optind, &exit_code);
    if (status != ACCEL_OK)
        tool_say("launch", "%s", accel_last_error());
    return exit_code;
}

static int run(int argc, char **argv)
{
    arguments_t arguments = {.options = accel_launch_options_init()};
    int exit_code = launch(argc, argv, &arguments);

    for (int i = 0; i < arguments.num_environment; i++)
        free(arguments.environment[i]);
    return exit_code;
}

const tool_command_t tool_launch = {
    .name = "launch",
    .summary = "Run N processes of a program on this host",
    .help = help,
    .run = run,
};
