/* SPDX-License-Identifier: Apache-2.0 */
#define _POSIX_C_SOURCE 200809L

#include "text.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void fail(const char *path)
{
    fprintf(stderr, "%s: %s\n", path, strerror(errno));
    exit(1);
}

static void append(text_t *text, const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t got;

    if (!file)
        fail(path);
    do {
        unsigned char *bytes = (unsigned char *)realloc(text->bytes, (size_t)text->length + BUFSIZ);

        if (!bytes)
            fail(path);
        text->bytes = bytes;
        got = fread(bytes + text->length, 1, BUFSIZ, file);
        text->length += (int64_t)got;
    } while (got > 0);
    if (ferror(file))
        fail(path);
    fclose(file);
}

/* But for links, which are other names of files that are there. */
static void append_licences(text_t *text)
{
    glob_t found;
    struct stat about;

    if (glob("/usr/share/common-licenses/*", 0, NULL, &found) != 0) {
        fprintf(stderr, "there is no /usr/share/common-licenses: name a FILE of text\n");
        exit(1);
    }
    for (size_t i = 0; i < found.gl_pathc; i++)
        if (lstat(found.gl_pathv[i], &about) == 0 && S_ISREG(about.st_mode))
            append(text, found.gl_pathv[i]);
    globfree(&found);
}

text_t text_read(char *const *files, int num_files, int64_t least_train, int64_t least_test)
{
    text_t text = {NULL, 0, 0};

    for (int i = 0; i < num_files; i++)
        append(&text, files[i]);
    if (num_files == 0)
        append_licences(&text);
    text.train = text.length - text.length / 10;
    if (text.train < least_train || text.length - text.train < least_test) {
        fprintf(stderr, "%lld bytes of text to train on, %lld to test on: expected %lld and %lld\n",
                (long long)text.train, (long long)(text.length - text.train),
                (long long)least_train, (long long)least_test);
        exit(1);
    }
    return text;
}
