/* SPDX-License-Identifier: Apache-2.0 */
/* C++'s std::cout, std::cerr and std::clog. Unless the program asks for speed instead, libstdc++
 * keeps them in step with C's streams: each has a buffer that is none, and prints to what stdout or
 * stderr was when the library was loaded. They are given one like it for the wrapper, and later
 * their own again.
 *
 * This plugin links no C++. What is called is exported by libstdc++, with versions, and looked up
 * by name; of the streams only what the C++ ABI says of every class is read. Where a program has no
 * C++, another library of it, or streams that go their own ways, nothing is touched. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "monitor.h"

#define SYNC_BUFFER "N9__gnu_cxx18stdio_sync_filebufIcSt11char_traitsIcEE"
#define STREAM "St9basic_iosIcSt11char_traitsIcEE"

enum { BUFFER_SIZE = 256 }; /* of a buffer's object, which has 80 bytes */

typedef struct {
    void *(*buffer)(const void *ios);
    void *(*set_buffer)(void *ios, void *buffer);
    void (*construct)(void *buffer, FILE *file);
    FILE *(*file)(const void *buffer);
    const char *kind; /* what the vtable pointer of a buffer of the kind is */
} library_t;

/* `other`: the buffer that the stream has not at present. Buffers are never freed: as wrappers,
 * they may still be printed to. */
static struct {
    const char *name;
    bool is_stderr;
    void *other;
    _Alignas(max_align_t) char made[BUFFER_SIZE];
} streams[] = {{.name = "_ZSt4cout"},
               {.name = "_ZSt4cerr", .is_stderr = true},
               {.name = "_ZSt4clog", .is_stderr = true}};

static bool find(const char *name, void *place)
{
    void *symbol = dlsym(RTLD_DEFAULT, name);
    memcpy(place, &symbol, sizeof(symbol));
    return symbol != NULL;
}

static bool find_library(library_t *library)
{
    bool found = find("_ZNK" STREAM "5rdbufEv", &library->buffer) &&
                 find("_ZN" STREAM "5rdbufEPSt15basic_streambufIcS1_E", &library->set_buffer) &&
                 find("_Z" SYNC_BUFFER "C1EP8_IO_FILE", &library->construct) &&
                 find("_Z" SYNC_BUFFER "4fileEv", &library->file) &&
                 find("_ZTV" SYNC_BUFFER "E", &library->kind);
    if (found)
        library->kind += 2 * sizeof(void *); /* behind two entries that every vtable has */
    return found;
}

static const char *kind_of(const void *object)
{
    const char *vtable;
    memcpy(&vtable, object, sizeof(vtable));
    return vtable;
}

/* The part of an ostream that has the buffer is a virtual base: where it is, its vtable says. NULL:
 * there is no such stream, or its constructor has not run yet. */
static void *ios_of(const char *name)
{
    char *stream = dlsym(RTLD_DEFAULT, name);
    const char *kind = stream ? kind_of(stream) : NULL;
    ptrdiff_t offset;
    if (!kind)
        return NULL;
    memcpy(&offset, kind - 3 * sizeof(void *), sizeof(offset));
    return stream + offset;
}

void accel__wandb_iostream_move(bool is_stderr, FILE *from, FILE *to)
{
    library_t library;
    if (!find_library(&library))
        return;
    for (size_t i = 0; i < sizeof(streams) / sizeof(*streams); i++) {
        void *ios = streams[i].is_stderr == is_stderr ? ios_of(streams[i].name) : NULL;
        void *buffer = ios ? library.buffer(ios) : NULL;
        if (!buffer || kind_of(buffer) != library.kind || library.file(buffer) != from)
            continue;
        if (!streams[i].other) {
            library.construct(streams[i].made, to);
            streams[i].other = streams[i].made;
        }
        library.set_buffer(ios, streams[i].other);
        streams[i].other = buffer;
    }
}
