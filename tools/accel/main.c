/* SPDX-License-Identifier: Apache-2.0 */
/* accel: the command line. Finds the command and hands over. */
#include <accel/version.h>

#include <stdio.h>
#include <string.h>

#include "tool.h"

static const tool_command_t *const commands[] = {&tool_launch, &tool_report, &tool_sync,
                                                 &tool_login, &tool_env};
#define NUM_COMMANDS (sizeof(commands) / sizeof(*commands))

static void print_help(FILE *file)
{
    fputs("accel: train on any number of processes\n"
          "\n"
          "  accel launch -n 4 ./train --lr 0.01    four processes of ./train on this host\n"
          "  accel launch ./train                   one process for every CPU\n"
          "  accel report wandb/latest-run          charts and all of a run in one HTML file\n"
          "  accel sync                             runs that were written offline to W&B\n"
          "  accel env                              what to paste into a bug report\n"
          "\n"
          "Commands:\n",
          file);
    for (size_t i = 0; i < NUM_COMMANDS; i++)
        fprintf(file, "  %-8s %s\n", commands[i]->name, commands[i]->summary);
    fputs("  help     Show the help of a command: accel help launch\n"
          "\n"
          "Options:\n"
          "  -h, --help     Show this\n"
          "  -V, --version  Show the version\n",
          file);
}

static const tool_command_t *find_command(const char *name)
{
    const char *names[NUM_COMMANDS + 2] = {"help"};
    const char *nearest;

    for (size_t i = 0; i < NUM_COMMANDS; i++) {
        if (strcmp(name, commands[i]->name) == 0)
            return commands[i];
        names[i + 1] = commands[i]->name;
    }
    nearest = tool_nearest(name, names);
    if (nearest)
        tool_say(NULL, "unknown command '%s'; did you mean '%s'?", name, nearest);
    else
        tool_say(NULL, "unknown command '%s'; `accel --help` lists them", name);
    return NULL;
}

static int show_help(int argc, char **argv)
{
    const tool_command_t *command;

    if (argc < 2 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return tool_finish("help");
    }
    command = find_command(argv[1]);
    return command ? tool_help(command) : TOOL_USAGE;
}

static int show_version(void)
{
    printf("accel %s\n", accel_version());
    return tool_finish(NULL);
}

int main(int argc, char **argv)
{
    const tool_command_t *command;
    const char *name = argc > 1 ? argv[1] : "";

    if (argc < 2) {
        print_help(stderr);
        return TOOL_USAGE;
    }
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "help") == 0)
        return show_help(argc - 1, argv + 1);
    if (strcmp(name, "-V") == 0 || strcmp(name, "--version") == 0)
        return show_version();
    if (name[0] == '-') {
        tool_say(NULL,
                 "unknown option '%s'; options of a command come after its name: accel launch "
                 "-n 4 PROGRAM",
                 name);
        return TOOL_USAGE;
    }
    command = find_command(name);
    return command ? command->run(argc - 1, argv + 1) : TOOL_USAGE;
}
