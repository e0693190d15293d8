/* SPDX-License-Identifier: Apache-2.0 */
/* A list of named facts about this machine, in the order they were added. */
#ifndef ACCEL_TOOLS_FACTS_H
#define ACCEL_TOOLS_FACTS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct fact {
    char *name, *value;
} fact_t;

typedef struct facts {
    fact_t *items;
    size_t count;
    bool failed; /* memory ran out; nothing more is added */
} facts_t;

void facts_add(facts_t *facts, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void facts_fini(facts_t *facts);

void facts_add_system(facts_t *facts);   /* distribution, kernel, libc, CPU, memory, GPU driver */
void facts_add_limits(facts_t *facts);   /* control groups and resource limits */
void facts_add_programs(facts_t *facts); /* other launchers in PATH */
void facts_add_plugins(facts_t *facts);  /* what is found, and whether it loads */

#endif
