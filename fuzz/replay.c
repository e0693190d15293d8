/* SPDX-License-Identifier: Apache-2.0 */
/* In libFuzzer's place: every file of the folders that are named, once. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "fuzz.h"

/* In memory of its own size, so that a sanitizer sees a read behind its end. */
static void try_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    long size = file && fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    FUZZ_CHECK(size >= 0);
    rewind(file);
    uint8_t *data = malloc((size_t)size ? (size_t)size : 1);
    FUZZ_CHECK(data && fread(data, 1, (size_t)size, file) == (size_t)size);
    fclose(file);
    (void)LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
}

int main(int argc, char **argv)
{
    int count = 0;
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        FUZZ_CHECK(folder);
        for (const struct dirent *entry; (entry = readdir(folder));) {
            char path[4096];
            if (entry->d_name[0] == '.')
                continue;
            snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
            try_file(path);
            count++;
        }
        closedir(folder);
    }
    printf("%d inputs\n", count);
    return count ? 0 : 1;
}
