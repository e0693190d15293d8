/* SPDX-License-Identifier: Apache-2.0 */
/* What gpt.cpp and gpt_c.c are told: the command line, and ^C. */
#ifndef ACCEL_EXAMPLES_OPTIONS_H
#define ACCEL_EXAMPLES_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct options {
    int64_t epochs, batch, accumulate, length, sample, seed;
    int64_t layers, width, heads;
    double lr;
    const char *mixed_precision, *log_with, *prompt, *save; /* NULL: not given */
    const char *library, *archive, *weights;                /* of gpt_c.c only */
    char *const *files;
    int num_files;
} options_t;

/* Ends the program after --help, and where it cannot do what is asked. */
options_t options_parse(int argc, char **argv, const char *program, bool in_c);

/* From now on the first ^C does not end the program, but is seen. */
void interrupt_catch(void);
bool interrupt_seen(void);

#ifdef __cplusplus
}
#endif

#endif
