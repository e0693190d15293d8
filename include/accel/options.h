/* SPDX-License-Identifier: Apache-2.0 */
/* How option structs are made.
 *
 * Every option struct begins with `size_t struct_size`, and every field's zero means
 * "default". In C and in C++17 they are written in place:
 *
 *     accel_create(ACCEL_OPTIONS(.log_with = "wandb"), &accelerator);
 *
 * and elsewhere filled from accel_x_options_init(). A library older than the program
 * refuses a field it does not know, unless it is zero. NULL is all defaults. */
#ifndef ACCEL_OPTIONS_H
#define ACCEL_OPTIONS_H

#include <stddef.h>
#include <string.h>

#ifdef __cplusplus
namespace accel
{
namespace detail
{
template <typename Options, typename Set> struct options_holder {
    Options options;

    explicit options_holder(const Set &set)
    {
        memset(&options, 0, sizeof(options));
        options.struct_size = sizeof(options);
        set(options);
    }
    operator const Options *() const { return &options; }
};
template <typename Options, typename Set> options_holder<Options, Set> make_options(const Set &set)
{
    return options_holder<Options, Set>(set);
}
} // namespace detail
} // namespace accel

/* Each argument is `.field = value`, and becomes a statement on the struct. */
#define ACCEL__OPTIONS(type, ...)                                     \
    (accel::detail::make_options<type>([&](type &accel__options_) { \
        ACCEL__SET(__VA_ARGS__, , , , , , , , , , , , , , , , )       \
    }))
#define ACCEL__SET(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ...)                       \
    ACCEL__SET1(a) ACCEL__SET1(b) ACCEL__SET1(c) ACCEL__SET1(d) ACCEL__SET1(e) ACCEL__SET1(f) \
    ACCEL__SET1(g) ACCEL__SET1(h) ACCEL__SET1(i) ACCEL__SET1(j) ACCEL__SET1(k) ACCEL__SET1(l) \
    ACCEL__SET1(m) ACCEL__SET1(n) ACCEL__SET1(o) ACCEL__SET1(p)
#define ACCEL__SET1(assignment) static_cast<void>(accel__options_ assignment);
#else
#define ACCEL__OPTIONS(type, ...) \
    ((const type *)&(const type){.struct_size = sizeof(type), __VA_ARGS__})
#endif

/* Defines accel_x_options_init() for accel_x_options_t. */
#define ACCEL__OPTIONS_INIT(name)                \
    static inline name##_t name##_init(void)     \
    {                                            \
        name##_t options;                        \
        memset(&options, 0, sizeof(options));    \
        options.struct_size = sizeof(options);   \
        return options;                          \
    }

#endif
