/* SPDX-License-Identifier: Apache-2.0 */
/* accel report: reads its arguments and hands over to accel-report, which can read the logs. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

static const char help[] =
    "Usage: accel report [-o FILE] RUN...\n"
    "\n"
    "Write one HTML file that shows runs: charts of every metric, configuration and results side\n"
    "by side, console, system metrics, artifacts, and how to reproduce them. It needs no network\n"
    "and no server: open it in a browser, mail it, keep it beside the run.\n"
    "\n"
    "A RUN is a run's folder (wandb/latest-run, or one of the jsonl tracker), a log\n"
    "(run-ID.wandb, also of the Python client), or a folder that holds runs.\n"
    "\n"
    "Options:\n"
    "  -o, --output FILE  Where to; - is standard output; default report.html\n"
    "  -h, --help         Show this\n"
    "\n"
    "Examples:\n"
    "  accel report wandb/latest-run\n"
    "  accel report -o all.html wandb runs/my_project\n";

static bool find_program(char *path, size_t size)
{
    static const char program[] = "/" ACCEL_BIN_TO_LIBEXEC "/accel-report";
    ssize_t length = readlink("/proc/self/exe", path, size - 1);
    char *slash;

    if (length < 0)
        return false;
    path[length] = '\0';
    slash = strrchr(path, '/');
    if (!slash || (size_t)(slash - path) + sizeof(program) > size)
        return false;
    memcpy(slash, program, sizeof(program));
    return true;
}

/* Returns only if it failed. */
static int hand_over(const char *output, char **names, int count)
{
    char path[PATH_MAX], **arguments = calloc((size_t)count + 3, sizeof(*arguments));

    if (!arguments || !find_program(path, sizeof(path))) {
        tool_say("report", "cannot find the place of this program");
        free(arguments);
        return TOOL_FAILED;
    }
    arguments[0] = path;
    arguments[1] = (char *)(uintptr_t)output;
    memcpy(arguments + 2, names, (size_t)count * sizeof(*names));
    execv(path, arguments);
    if (errno == ENOENT)
        tool_say("report",
                 "this build has no accel-report: it needs the packages libprotobuf-c-dev "
                 "protobuf-c-compiler zlib1g-dev when accel is built");
    else
        tool_say("report", "%s: %s", path, strerror(errno));
    free(arguments);
    return TOOL_FAILED;
}

static int run(int argc, char **argv)
{
    static const struct option long_options[] = {{"output", required_argument, NULL, 'o'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    const char *output = "report.html";
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, ":o:h", long_options, NULL)) != -1) {
        if (option == 'h')
            return tool_help(&tool_report);
        if (option == ':') {
            tool_say("report", "%s needs a value", argv[optind - 1]);
            return TOOL_USAGE;
        }
        if (option == '?') {
            tool_say("report", "unknown option %s; `accel report --help` lists them",
                     argv[optind - 1]);
            return TOOL_USAGE;
        }
        output = optarg;
    }
    if (optind == argc) {
        tool_say("report", "no run given; for example: accel report wandb/latest-run");
        return TOOL_USAGE;
    }
    if (!*output) {
        tool_say("report", "--output is empty; expected a file");
        return TOOL_USAGE;
    }
    return hand_over(output, argv + optind, argc - optind);
}

const tool_command_t tool_report = {
    .name = "report",
    .summary = "Write runs as one HTML file",
    .help = help,
    .run = run,
};
