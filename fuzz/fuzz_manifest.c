/* SPDX-License-Identifier: Apache-2.0 */
/* An artifact's manifest as a server gives it: whatever it says, no entry leads out of the folder
 * that it is downloaded to. */
#include <string.h>

#include "download/remote.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    accel__wandb_remote_t remote = {.qualified_name = "e/p/a:v0",
                                    .digest = "0cc175b9c0f1b6a831c399e269772661"};
    fuzz_begin();
    /* refused in the end for its digest, and read all the same */
    (void)accel__wandb_remote_manifest(&remote, (const char *)data, size);
    for (size_t i = 0; i < remote.count; i++) {
        const char *path = remote.entries[i].path;
        FUZZ_CHECK(*path != '/' && strncmp(path, "../", 3) != 0 && !strstr(path, "/../"));
        FUZZ_CHECK(strcmp(path, "..") != 0);
    }
    accel__wandb_arena_free(&remote.arena);
    return 0;
}
