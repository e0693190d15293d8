/* SPDX-License-Identifier: Apache-2.0 */
/* A netrc from anywhere: read, and written to. What was written is read again, and other machines
 * keep what they had. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "apikey.h"
#include "fuzz.h"

static const char key[] = "0123456789abcdef0123456789abcdef01234567";

static bool same(const char *a, const char *b)
{
    return a && b ? !strcmp(a, b) : a == b;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stat about;
    fuzz_begin();
    const char *path = fuzz_path("netrc");
    fuzz_write(path, data, size);
    char *other = accel__wandb_netrc_password(path, "other"),
         *own = accel__wandb_netrc_password(path, "api.wandb.ai");
    if (accel__wandb_netrc_save(path, "api.wandb.ai", key) == ACCEL_OK) {
        char *after = accel__wandb_netrc_password(path, "api.wandb.ai"),
             *other_after = accel__wandb_netrc_password(path, "other");
        FUZZ_CHECK(same(after, key));
        FUZZ_CHECK(same(other, other_after));
        FUZZ_CHECK(stat(path, &about) == 0 && (about.st_mode & 0777) == 0600);
        free(after);
        free(other_after);
    }
    free(other);
    free(own);
    return 0;
}
