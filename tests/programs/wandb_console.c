/* SPDX-License-Identifier: Apache-2.0 */
/* A run whose program prints, as the judge wandb_monitor.py orders:
 *     program-wandb_console MODE [SECONDS]
 * SECONDS: between two samples of the system. The run's settings come from the environment. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wchar.h>

#include "wandb_host.h"

static const accel_tracker_class_t *wandb;
static void *run;

static void check(accel_status_t status, const char *what)
{
    if (status == ACCEL_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, wandb_host_error);
    exit(1);
}

static void begin(double seconds)
{
    const accel_item_t *kwargs =
        ACCEL_DICT("settings", ACCEL_DICT("x_stats_sampling_interval", seconds));
    accel_tracker_init_t init = {.struct_size = sizeof(init),
                                 .project_name = "p",
                                 .init_kwargs = seconds > 0 ? kwargs : NULL,
                                 .num_processes = 1};
    check(wandb->create(wandb->context, &init, &run), "create");
    check(wandb->start(run), "start");
}

static void end(void)
{
    check(wandb->finish(run, 0), "finish");
    wandb->destroy(run);
}

static void pause_ms(long milliseconds)
{
    nanosleep(&(struct timespec){milliseconds / 1000, milliseconds % 1000 * 1000000}, NULL);
}

/* What stock is made to print, too. */
static void print_text(void)
{
    printf("hello\n");
    fprintf(stderr, "a warning\n");
    for (int i = 0; i <= 20; i++) {
        printf("\rstep %d/20", i);
        fflush(stdout);
    }
    printf("\nfirst\nsecond\033[Aup\n\n\033[31mred\033[0m t\xc3\xa9xt\n");
    fputs("x\033\ny\033[\nz\n", stdout);
    for (int i = 0; i < 40; i++)
        putchar('\n');
    for (int i = 0; i < 5000; i++)
        putchar('L');
    puts("");
    fflush(stdout);
    fputs("no line break", stderr);
}

static void burst(void)
{
    static char line[102];
    for (int i = 0; i < 100000; i++) {
        snprintf(line, sizeof(line), "%-99d", i);
        puts(line);
    }
}

static void binary(void)
{
    for (int round = 0; round < 64; round++) {
        for (int i = 0; i < 256; i++)
            putchar(i);
    }
    fflush(stdout);
}

static void returns(void)
{
    for (int i = 0; i < 100000; i++)
        printf("\r%d", i);
    printf("\n");
}

/* Descriptors and streams are what they were. */
static void streams(void)
{
    FILE *copy = stdout;
    printf("%d%d\n", fileno(stdout), fileno(stderr));
    fflush(stdout);
    if (system("echo child") != 0)
        exit(1);
    pid_t child = fork();
    if (child == 0) {
        printf("forked\n");
        exit(0);
    }
    waitpid(child, NULL, 0);
    errno = ENOENT;
    perror("perror");
    end();
    fprintf(copy, "late\n");
    fflush(copy);
    printf("after\n");
}

static void freopened(void)
{
    printf("before\n");
    if (!freopen("freopened.txt", "w", stdout))
        exit(1);
    printf("in the file\n");
    fflush(stdout);
    if (system("echo child") != 0)
        exit(1);
}

static void wide(void)
{
    if (wprintf(L"wide\n") != 5 || fflush(stdout) != 0)
        exit(1);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 0;
    if (!(wandb = wandb_host_load()))
        return 2;
    char self[32]; /* this process uses the GPU of the library that stands in for the driver's */
    snprintf(self, sizeof(self), "%ld", (long)getpid());
    setenv("FAKE_NVML_PID", self, 1);
    begin(seconds);
    if (!strcmp(mode, "text")) {
        print_text();
    } else if (!strcmp(mode, "burst")) {
        burst();
    } else if (!strcmp(mode, "binary")) {
        binary();
    } else if (!strcmp(mode, "returns")) {
        returns();
    } else if (!strcmp(mode, "freopen")) {
        freopened();
    } else if (!strcmp(mode, "wide")) {
        wide();
    } else if (!strcmp(mode, "streams")) {
        streams();
        return 0;
    } else if (!strcmp(mode, "closed")) {
        if (fclose(stdout) != 0)
            return 3;
    } else if (!strcmp(mode, "kill")) {
        printf("last words\n");
        fflush(stdout);
        kill(getpid(), SIGKILL);
    } else if (!strcmp(mode, "abort")) {
        fprintf(stderr, "assertion failed\n");
        abort();
    } else if (!strcmp(mode, "exit")) {
        printf("unflushed");
        exit(4);
    } else if (!strcmp(mode, "sleep")) {
        pause_ms(1200);
    }
    end();
    return 0;
}
