/* SPDX-License-Identifier: Apache-2.0 */
/* Logs rows as fast as it can, and says how much memory that took:
 *     program-wandb_pressure ROWS BYTES
 * Each row has a number and a text of so many bytes. Prints, in KiB, what was resident when a tenth
 * of the rows had been logged, when all had, and after the end. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <accel/accel.h>
#include <accel/wandb.h>

static long resident_kib(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kib = -1;

    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    }
    if (file)
        fclose(file);
    return kib;
}

int main(int argc, char **argv)
{
    accel_wandb_run_t *run;
    long rows, bytes, early = 0, late;
    char *text;

    if (argc != 3)
        return 2;
    rows = strtol(argv[1], NULL, 10);
    bytes = strtol(argv[2], NULL, 10);
    text = malloc((size_t)bytes + 1);
    if (!text)
        return 2;
    memset(text, 'x', (size_t)bytes);
    text[bytes] = '\0';
    ACCEL_CHECK(accel_wandb_init(ACCEL_DICT("project", "conformance", "id", "pressure"), &run));
    for (long i = 0; i < rows; i++) {
        ACCEL_CHECK(accel_wandb_run_log(run, ACCEL_DICT("i", i, "text", (const char *)text),
                                        ACCEL_NO_STEP));
        if (i == rows / 10)
            early = resident_kib();
    }
    late = resident_kib();
    ACCEL_CHECK(accel_wandb_run_finish(run, 0));
    printf("%ld %ld %ld\n", early, late, resident_kib());
    free(text);
    return 0;
}
