/* SPDX-License-Identifier: Apache-2.0 */
/* Text to train on and text to test on, as bytes. */
#ifndef ACCEL_EXAMPLES_TEXT_H
#define ACCEL_EXAMPLES_TEXT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct text {
    unsigned char *bytes;  /* of all files, one after the other */
    int64_t length, train; /* all, and how many of them are to train on: nine tenths */
} text_t;

/* Without files: Debian's licences. Ends the program if one cannot be read, or if all together
 * have too few bytes to train on, or to test on. */
text_t text_read(char *const *files, int num_files, int64_t least_train, int64_t least_test);

#ifdef __cplusplus
}
#endif

#endif
