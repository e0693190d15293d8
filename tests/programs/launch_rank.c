/* SPDX-License-Identifier: Apache-2.0 */
/* A rank for the launcher's tests: does what its arguments say, one after the other. An
 * action "R:ACTION" is for rank R alone.
 *
 *   say TEXT | warn TEXT    a line to standard output or error
 *   raw TEXT                \n, \r, \\ are read; no newline is added; flushed
 *   lines N                 N numbered lines to standard output
 *   bytes N                 N bytes of one line, without its end
 *   exit N | kill N         end with that code, or by that signal
 *   sleep MS
 *   ignore N                ignore that signal
 *   on N CODE               end with CODE on that signal
 *   child                   start a process in this group that sleeps
 *   outlive MS              start one that holds the output open, in a session of its own
 *   close                   close standard output and error
 *   cat                     copy standard input to standard output
 *   touch PATH              make an empty file
 *   await PATH              wait until it is there
 *   print NAME              that variable of the environment */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t code_on_signal;

static void end_on_signal(int signal)
{
    (void)signal;
    _exit(code_on_signal);
}

static long number(const char *text)
{
    return strtol(text, NULL, 10);
}

static void sleep_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};

    while (nanosleep(&time, &time) != 0)
        ;
}

static void act_say(char **values)
{
    printf("%s\n", values[0]);
    fflush(stdout);
}

static void act_warn(char **values)
{
    fprintf(stderr, "%s\n", values[0]);
}

static void act_raw(char **values)
{
    for (const char *c = values[0]; *c; c++) {
        if (*c == '\\' && c[1]) {
            c++;
            putchar(*c == 'n' ? '\n' : *c == 'r' ? '\r' : *c);
        } else {
            putchar(*c);
        }
    }
    fflush(stdout);
}

static void act_lines(char **values)
{
    for (long i = 0; i < number(values[0]); i++)
        printf("line %ld\n", i);
}

static void act_bytes(char **values)
{
    for (long i = 0; i < number(values[0]); i++)
        putchar('a' + (int)(i % 26));
}

static void act_exit(char **values)
{
    exit((int)number(values[0]));
}

static void act_kill(char **values)
{
    signal((int)number(values[0]), SIG_DFL);
    raise((int)number(values[0]));
    _exit(99);
}

static void act_sleep(char **values)
{
    sleep_ms(number(values[0]));
}

static void act_ignore(char **values)
{
    signal((int)number(values[0]), SIG_IGN);
}

static void act_on(char **values)
{
    code_on_signal = (sig_atomic_t)number(values[1]);
    signal((int)number(values[0]), end_on_signal);
}

static void act_child(char **values)
{
    (void)values;
    if (fork() == 0) {
        sleep_ms(600000);
        _exit(0);
    }
}

/* Returns when it has left the group: before, it would go with the group. */
static void act_outlive(char **values)
{
    int ends[2];
    char byte;

    if (pipe(ends) != 0)
        exit(98);
    if (fork() == 0) {
        setsid();
        close(ends[0]);
        close(ends[1]);
        sleep_ms(number(values[0]));
        _exit(0);
    }
    close(ends[1]);
    if (read(ends[0], &byte, 1) != 0)
        exit(98);
    close(ends[0]);
}

static void act_close(char **values)
{
    (void)values;
    close(1);
    close(2);
}

static void act_cat(char **values)
{
    int c;

    (void)values;
    while ((c = getchar()) != EOF)
        putchar(c);
    fflush(stdout);
}

static void act_touch(char **values)
{
    int fd = open(values[0], O_CREAT | O_WRONLY, 0666);

    if (fd < 0)
        exit(98);
    close(fd);
}

static void act_await(char **values)
{
    struct stat status;

    while (stat(values[0], &status) != 0)
        sleep_ms(5);
}

static void act_print(char **values)
{
    const char *value = getenv(values[0]);

    printf("%s=%s\n", values[0], value ? value : "(unset)");
}

static const struct action {
    const char *name;
    int num_values;
    void (*run)(char **values);
} actions[] = {
    {"say", 1, act_say},     {"warn", 1, act_warn},   {"raw", 1, act_raw},
    {"lines", 1, act_lines}, {"bytes", 1, act_bytes}, {"exit", 1, act_exit},
    {"kill", 1, act_kill},   {"sleep", 1, act_sleep}, {"ignore", 1, act_ignore},
    {"on", 2, act_on},       {"child", 0, act_child}, {"outlive", 1, act_outlive},
    {"close", 0, act_close}, {"cat", 0, act_cat},     {"touch", 1, act_touch},
    {"await", 1, act_await}, {"print", 1, act_print},
};

static const struct action *find_action(const char *name)
{
    for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++)
        if (strcmp(actions[i].name, name) == 0)
            return &actions[i];
    return NULL;
}

int main(int argc, char **argv)
{
    const char *rank = getenv("RANK");

    for (int i = 1; i < argc; i++) {
        const char *colon = strchr(argv[i], ':');
        const struct action *action = find_action(colon ? colon + 1 : argv[i]);
        bool mine = !colon || (rank && number(argv[i]) == number(rank));

        if (!action || i + action->num_values >= argc) {
            fprintf(stderr, "launch_rank: what is '%s'?\n", argv[i]);
            return 97;
        }
        if (mine)
            action->run(argv + i + 1);
        i += action->num_values;
    }
    return 0;
}
