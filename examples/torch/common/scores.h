/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what the model says of the next byte: 256 scores, logarithms of odds. */
#ifndef ACCEL_EXAMPLES_SCORES_H
#define ACCEL_EXAMPLES_SCORES_H

#include <stdint.h>

enum { BYTES = 256 };

/* -log of the probability of `byte`: nats. */
double scores_loss(const float *scores, int64_t byte);

/* A byte by its odds, sharpened a little. */
int64_t scores_draw(const float *scores, uint64_t *random);

#endif
