/* SPDX-License-Identifier: Apache-2.0 */
#include "scores.h"

#include <math.h>

#define TEMPERATURE 0.8f

double scores_loss(const float *scores, int64_t byte)
{
    double most = (double)scores[0], sum = 0;

    for (int k = 1; k < BYTES; k++)
        most = fmax(most, (double)scores[k]);
    for (int k = 0; k < BYTES; k++)
        sum += exp((double)scores[k] - most);
    return most + log(sum) - (double)scores[byte];
}

int64_t scores_draw(const float *scores, uint64_t *random)
{
    float sharper[BYTES];
    int64_t byte = -1;
    double left;

    *random = *random * 6364136223846793005u + 1442695040888963407u;
    left = (double)(*random >> 11) / 9007199254740992.0; /* 0 to 1 */
    for (int k = 0; k < BYTES; k++)
        sharper[k] = scores[k] / TEMPERATURE;
    while (left >= 0 && byte < BYTES - 1)
        left -= exp(-scores_loss(sharper, ++byte));
    return byte;
}
