/* SPDX-License-Identifier: Apache-2.0 */
/* The gradient of every element of every parameter of examples/words/gpt.c, against central
 * differences of its loss. The source is compiled as it is with double for float, so that the
 * difference says something: in single precision rounding would hide small mistakes.
 *
 * Prints a line for each parameter: name, elements, largest difference, largest gradient. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cblas.h>

#ifdef __clang__
#pragma clang diagnostic ignored "-Wkeyword-macro"
#endif
#define float double
#define cblas_sgemm cblas_dgemm
#define expf exp
#define logf log
#define sqrtf sqrt
#include "../../examples/words/gpt.c"

#define STEP 1e-5

/* Of several lengths, the shortest and the longest; letters that repeat. */
static const uint8_t words[][GPT_LENGTH] = {
    {1},
    {3, 1, 20},
    {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {26, 26, 1, 26, 2},
};
enum { WORDS = sizeof(words) / sizeof(words[0]) };

static void compare_parameter(gpt_t *gpt, const gpt_parameter_t *p, double scale)
{
    double most = 0, largest = 0;

    for (int64_t i = 0; i < p->rows * p->columns; i++) {
        double value = p->value[i], above, below, difference;
        p->value[i] = value + STEP;
        above = gpt_forward(gpt, words[0], WORDS);
        p->value[i] = value - STEP;
        below = gpt_forward(gpt, words[0], WORDS);
        p->value[i] = value;
        difference = fabs(p->gradient[i] - scale * (above - below) / (2 * STEP));
        most = difference > most ? difference : most;
        largest = fabs(p->gradient[i]) > largest ? fabs(p->gradient[i]) : largest;
    }
    printf("%s %lld %.3e %.3e\n", p->name, (long long)(p->rows * p->columns), most, largest);
}

int main(void)
{
    gpt_t *gpt = gpt_create(
        &(gpt_options_t){.layers = 2, .width = 12, .heads = 3, .seed = 7, .characters = 5});
    int count;
    const gpt_parameter_t *p = gpt_parameters(gpt, &count);

    /* Two calls add up. */
    for (int times = 0; times < 2; times++) {
        gpt_forward(gpt, words[0], WORDS);
        gpt_backward(gpt, 0.25 + times);
    }
    for (int i = 0; i < count; i++)
        compare_parameter(gpt, &p[i], 1.5);
    gpt_destroy(gpt);
    return 0;
}
