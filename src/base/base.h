/* SPDX-License-Identifier: Apache-2.0 */
/* What every room may use: errors, log, memory, text, files, environment, time, numbers.
 * Nothing here knows of ranks. */
#ifndef ACCEL_BASE_BASE_H
#define ACCEL_BASE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <accel/dict.h>
#include <accel/log.h>
#include <accel/status.h>
#include <accel/types.h>

/* ---- errors (error.c) ---- */

/* The one way to make an error: leave a line for accel_last_error() and return `status`.
 * The text may quote accel_last_error() itself. */
accel_status_t accel__fail(accel_status_t status, const char *format, ...) ACCEL_PRINTF(2, 3);

/* How many lines this thread has left so far: has a callback left one of its own? */
uint64_t accel__failures(void);

/* "out of memory: WHAT (N bytes)" */
accel_status_t accel__fail_memory(const char *what, size_t size);

/* "WHAT: strerror" from errno. */
accel_status_t accel__fail_errno(accel_status_t status, const char *format, ...) ACCEL_PRINTF(2, 3);

/* Where the caller's program stands: the file, and the line in *line; NULL if it did not
 * say. Cheap enough for every collective. */
const char *accel__call_site(int *line);

#if defined(__clang_analyzer__) && !defined(ACCEL__DEFINES_FAIL)
/* A static analyser sees one file at a time: tell it what these give back. */
#define accel__fail(status, ...) ((void)accel__fail(status, __VA_ARGS__), (status))
#define accel__fail_errno(status, ...) ((void)accel__fail_errno(status, __VA_ARGS__), (status))
#define accel__fail_memory(what, size) ((void)accel__fail_memory(what, size), ACCEL_ERR_NO_MEMORY)
#endif

/* What a static analyser cannot know from one file; nothing in a real build. */
#ifdef __clang_analyzer__
#define accel__assume(condition) ((condition) ? (void)0 : __builtin_unreachable())
#else
#define accel__assume(condition) ((void)0)
#endif

/* ---- log (log.c) ---- */

void accel__log(accel_log_level_t level, const char *format, ...) ACCEL_PRINTF(2, 3);
void accel__vlog(accel_log_level_t level, const char *format, va_list arguments);

/* A line that somebody else has decided to write: to the callback, or with `prefix` to stderr. */
void accel__log_line(accel_log_level_t level, const char *prefix, const char *line);

/* ---- memory ---- */

/* *size = a * b; false if that overflows. */
bool accel__mul_size(size_t a, size_t b, size_t *size);

/* Copy of a string, or NULL if `text` is NULL or memory ran out. */
char *accel__strdup(const char *text);

/* ---- growable text (text.c) ---- */

/* Always NUL-terminated once something was appended. Start from {0}. After a failed
 * allocation `failed` is set and further appends do nothing: check once, at the end. */
typedef struct accel__text {
    char *data;
    size_t length, capacity;
    bool failed;
} accel__text_t;

void accel__text_append(accel__text_t *text, const char *data, size_t length);
void accel__text_appendf(accel__text_t *text, const char *format, ...) ACCEL_PRINTF(2, 3);
void accel__text_free(accel__text_t *text);

/* ---- files (io.c) ---- */

/* Write all of `size`, through EINTR and short counts. `path` is for the message. */
accel_status_t accel__write_full(int fd, const void *data, size_t size, const char *path);

/* Make a directory and its parents; existing ones are fine. */
accel_status_t accel__make_dirs(const char *path);

/* ---- environment (env.c): the only getenv ---- */

/* The value, or NULL if unset or empty. */
const char *accel__env(const char *name);

/* Parse a whole number in min..max. *set tells whether the variable was there; an unset
 * one leaves *value alone. Anything that is not entirely such a number is an error that
 * quotes it. */
accel_status_t accel__env_int(const char *name, int64_t min, int64_t max, int64_t *value,
                              bool *set);

/* The same number parser, for text from elsewhere; `what` is for the message. */
accel_status_t accel__parse_int(const char *text, const char *what, int64_t min, int64_t max,
                                int64_t *value);

/* ---- options (options.c) ---- */

/* Copy a caller's option struct, of any version, over `destination`, already zeroed. NULL
 * is all defaults; unknown non-zero tail bytes are ACCEL_ERR_UNSUPPORTED. `what` is for
 * the message. */
accel_status_t accel__options_read(void *destination, size_t size, const void *source,
                                   const char *what);

/* ACCEL_DEFAULT becomes `fallback`; a value that is no tri-state is an error naming `what`. */
accel_status_t accel__tristate(accel_tristate_t value, bool fallback, const char *what, bool *out);

/* ---- forks (fork.c) ---- */

/* A number that is another one in a child this process forks, which has none of its threads and no
 * right to what it shares with others. Cheap enough for every call: getpid() is a system call. */
unsigned accel__process_mark(void);

/* ---- time (clock.c) ---- */

uint64_t accel__clock_ns(void); /* monotonic */
double accel__clock_unix(void); /* seconds since the epoch */

/* ---- random numbers (rng.c) ---- */

/* mt19937 */
typedef struct accel__mt19937 {
    uint32_t state[624];
    uint32_t next;
} accel__mt19937_t;

void accel__mt19937_seed(accel__mt19937_t *rng, uint32_t seed);
uint32_t accel__mt19937_next(accel__mt19937_t *rng);

/* Bytes from the system's secure source. */
accel_status_t accel__random_bytes(void *data, size_t size);

/* ---- instruction sets (isa.c) ---- */

/* What the library's loops are compiled for; off x86-64 all are PLAIN. Products and sums are
 * never contracted, so a result does not depend on which of them runs. */
typedef enum accel__isa {
    ACCEL__ISA_PLAIN,
    ACCEL__ISA_AVX2,
    ACCEL__ISA_AVX512,
    ACCEL__ISA_AVX512_BF16 /* and what goes with it */
} accel__isa_t;

/* The widest this processor has: it has those before it, too. */
accel__isa_t accel__isa_best(void);

/* Of an array that a loop walks through: have the cache lines that follow these `size` bytes a
 * block later brought near. The processor's own look-ahead ends with a page, and a loop with
 * several arrays and a division has use for more. */
static inline __attribute__((always_inline)) void accel__fetch_ahead(const void *array, size_t size)
{
    enum { AHEAD = 8192, LINE = 64 };

    for (size_t at = 0; at < size; at += LINE)
        __builtin_prefetch((const char *)array + AHEAD + at, 0, 2);
}

/* ---- small floats (half.c): round to nearest even ---- */

float accel__f16_to_f32(uint16_t half);
uint16_t accel__f32_to_f16(float value);
float accel__bf16_to_f32(uint16_t half);
uint16_t accel__f32_to_bf16(float value);

/* The same for arrays that do not overlap, to the same bits by all instruction sets; and what an
 * average of them is made of. */
typedef struct accel__half_kernels {
    void (*bf16_to_f32)(float *dst, const uint16_t *src, size_t count);
    void (*f32_to_bf16)(uint16_t *dst, const float *src, size_t count);
    void (*f16_to_f32)(float *dst, const uint16_t *src, size_t count);
    void (*f32_to_f16)(uint16_t *dst, const float *src, size_t count);
    void (*add_bf16)(float *sum, const uint16_t *term, size_t count);
    void (*add_f16)(float *sum, const uint16_t *term, size_t count);
    void (*divide)(float *sum, int32_t by, size_t count);
} accel__half_kernels_t;

const accel__half_kernels_t *accel__half_kernels(accel__isa_t isa);

/* `count` elements from one type to another: both the same, or one of them float32 and the other
 * bfloat16 or float16. */
void accel__convert(void *dst, accel_dtype_t dst_dtype, const void *src, accel_dtype_t src_dtype,
                    size_t count);

/* ---- tensors (tensor.c) ---- */

/* A compact tensor that accel_tensor_destroy() frees; data uninitialised. */
accel_status_t accel__tensor_create(accel_dtype_t dtype, int32_t ndim, const int64_t *shape,
                                    accel_tensor_t **tensor);

/* Is this a view the library can work on: CPU, known dtype, valid shape, compact? `what` is
 * for the message. */
accel_status_t accel__tensor_check(const accel_tensor_t *tensor, const char *what);

/* First byte of the elements. */
void *accel__tensor_data(const accel_tensor_t *tensor);

/* ---- single elements (element.c) ---- */

/* One element, as it lies in memory. */
typedef struct accel__element {
    unsigned char bytes[8];
    size_t size;
} accel__element_t;

/* `value` in this dtype; floats are rounded, integers must hold it. `what` is for the message. */
accel_status_t accel__element_make(accel_dtype_t dtype, double value, const char *what,
                                   accel__element_t *element);

/* Write `count` of them, return the place after them. */
char *accel__element_fill(const accel__element_t *element, char *to, size_t count);

/* ---- dictionaries (dict.c) ---- */

/* Keys present and not NULL, strings UTF-8, types known, at most 8 levels; on an error the text
 * names the key. NULL is fine. */
accel_status_t accel__dict_check(const accel_item_t *dict, const char *what);

/* The same of a row that is logged, in which there may be media. */
accel_status_t accel__row_check(const accel_item_t *values, const char *what);

/* The item of that key, or NULL. */
const accel_item_t *accel__dict_find(const accel_item_t *dict, const char *key);

/* A deep copy in one block of the caller's, aligned to 16, and the bytes it needs. NULL gives an
 * empty dictionary. */
size_t accel__dict_packed_size(const accel_item_t *dict);
accel_item_t *accel__dict_pack(const accel_item_t *dict, void *block);

/* Of `count` names the one nearest to `name` by edit distance, or NULL if none is near. */
const char *accel__nearest(const char *name, const char *const *names, size_t count);

/* ---- lists of things that are let go together (link.c) ---- */

/* A place in a ring. The ring's head is a link too, whose `object` is unused. What is
 * destroyed takes itself out; what outlives the ring's owner is released by it. */
typedef struct accel__link {
    struct accel__link *previous, *next; /* NULL: in no ring */
    void (*release)(void *object);       /* must take the link out */
    void *object;
} accel__link_t;

void accel__link_init(accel__link_t *head);
void accel__link_insert(accel__link_t *head, accel__link_t *link, void (*release)(void *),
                        void *object);
void accel__link_remove(accel__link_t *link); /* one in no ring is fine */
/* Release what came after `link`, the latest first; with the head itself, everything. */
void accel__link_release_after(accel__link_t *head, const accel__link_t *link);

#endif
