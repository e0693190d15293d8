/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the program's own: who writes, in what order, and at what level. */
#include "test.h"

#include <fcntl.h>
#include <unistd.h>

#include <accel/logger.h>

static char path[512];

/* Ranks are processes, or threads of one: all append to one file. */
static void append(void *context, accel_log_level_t level, const char *message)
{
    char line[256];
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    int length = snprintf(line, sizeof(line), "%d %s\n", (int)level, message);

    (void)context;
    CHECK(fd >= 0 && write(fd, line, (size_t)length) == length);
    close(fd);
}

static void expect_file(const char *expected)
{
    char found[4096] = "";
    FILE *file = fopen(path, "r");

    if (file) {
        found[fread(found, 1, sizeof(found) - 1, file)] = '\0';
        fclose(file);
    }
    if (strcmp(expected, found) != 0)
        test_fail(__FILE__, __LINE__, "found\n%swhere this was expected\n%s", found, expected);
}

static void fresh_file(void)
{
    snprintf(path, sizeof(path), "%s/log", test_dir());
    unlink(path);
}

static void speak_in_order(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    accel_logger_t *logger;

    (void)size;
    CHECK_OK(accel_get_logger(accelerator, "train", rank == 1 ? "error" : "info", &logger));
    CHECK_OK(accel_logger_log_in_order(logger, ACCEL_LOG_INFO, "shard %d", rank * 10));
    accel_logger_info(logger, "the main process only");
    CHECK_OK(accel_wait_for_everyone(accelerator));
    CHECK_OK(accel_logger_log_in_order(logger, ACCEL_LOG_ERROR, "again"));
    accel_logger_destroy(logger);
    accel_destroy(accelerator);
}

static void ranks_speak_one_by_one(void)
{
    fresh_file();
    accel_set_log_callback(append, NULL);
    TEST_RANKS(3, speak_in_order);
    accel_set_log_callback(NULL, NULL);
    /* rank 1's level keeps it quiet, and takes part all the same */
    expect_file("20 train:[RANK 0] shard 0\n20 train:[RANK 2] shard 20\n"
                "20 train:[RANK 0] the main process only\n"
                "40 train:[RANK 0] again\n40 train:[RANK 1] again\n40 train:[RANK 2] again\n");
}

static void speak_alone(int rank, int size)
{
    accel_t *accelerator = test_accelerator(accel_options_init());
    accel_logger_t *logger;

    (void)size;
    CHECK_OK(accel_get_logger(accelerator, "n", "info", &logger));
    if (rank == 1)
        accel_logger_log(logger, ACCEL_LOG_WARNING, ACCEL_LOG_EVERY_PROCESS, "I am %d", rank);
    accel_logger_destroy(logger);
    accel_destroy(accelerator);
}

static void any_process_may_speak(void)
{
    fresh_file();
    accel_set_log_callback(append, NULL);
    TEST_RANKS(2, speak_alone);
    accel_set_log_callback(NULL, NULL);
    expect_file("30 n:[RANK 1] I am 1\n");
}

static void levels(void)
{
    accel_logger_t *logger;

    fresh_file();
    accel_set_log_callback(append, NULL);
    CHECK_OK(accel_get_logger(NULL, "x", NULL, &logger));
    CHECK(!accel_logger_is_enabled_for(logger, ACCEL_LOG_INFO));
    accel_logger_debug(logger, "no");
    accel_logger_info(logger, "no");
    accel_logger_warning(logger, "%s", "yes");
    accel_logger_error(logger, "yes");
    for (int i = 0; i < 6; i++)
        accel_logger_warning_once(logger, "once %d", i % 2);
    accel_logger_destroy(logger);
    CHECK(setenv("ACCELERATE_LOG_LEVEL", "Debug", 1) == 0);
    CHECK_OK(accel_get_logger(NULL, "x", NULL, &logger));
    accel_logger_debug(logger, "now");
    accel_logger_destroy(logger);
    accel_set_log_callback(NULL, NULL);
    expect_file("30 x:[RANK 0] yes\n40 x:[RANK 0] yes\n30 x:[RANK 0] once 0\n"
                "30 x:[RANK 0] once 1\n10 x:[RANK 0] now\n");
}

static void bad_levels_are_named(void)
{
    accel_logger_t *logger;

    CHECK_STATUS(ACCEL_ERR_INVALID, accel_get_logger(NULL, "x", "loud", &logger));
    CHECK_ERROR("level is 'loud'; expected debug, info, warning or error");
    CHECK(setenv("ACCELERATE_LOG_LEVEL", "7", 1) == 0);
    CHECK_STATUS(ACCEL_ERR_INVALID, accel_get_logger(NULL, "x", NULL, &logger));
    CHECK_ERROR("ACCELERATE_LOG_LEVEL is '7'");
    CHECK(!logger);
}

TEST_MAIN(TEST(ranks_speak_one_by_one), TEST(any_process_may_speak), TEST(levels),
          TEST(bad_levels_are_named))
