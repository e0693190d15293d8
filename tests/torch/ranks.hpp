/* SPDX-License-Identifier: Apache-2.0 */
/* The harness of the C tests, for tests in C++. */
#ifndef ACCEL_TESTS_TORCH_RANKS_HPP
#define ACCEL_TESTS_TORCH_RANKS_HPP

#include <string>

#include <accel/torch.hpp>

/* libtorch has checks of these names, which end the process. */
#undef CHECK
#undef CHECK_NEAR
#undef CHECK_OK
#include "test.h"

namespace ranks
{
struct Options : accel_options_t {
    operator const accel_options_t *() const { return this; }
};

/* Of the rank that asks, with what `set` sets. */
template <typename Set> Options options(const Set &set)
{
    Options options{accel_options_init()};

    test_world(&options);
    set(options);
    return options;
}
inline Options options()
{
    return options([](accel_options_t &) {});
}

/* What `action` throws: an accel::Error whose text has this. */
template <typename Action>
void check_throws(const char *file, int line, accel_status_t status, const std::string &text,
                  const Action &action)
{
    try {
        action();
    } catch (const accel::Error &error) {
        if (error.status() != status || std::string(error.what()).find(text) == std::string::npos)
            test_fail(file, line, "%s: '%s', without '%s'", accel_status_name(error.status()),
                      error.what(), text.c_str());
        return;
    }
    test_fail(file, line, "nothing was thrown; expected '%s'", text.c_str());
}
#define CHECK_THROWS(status, text, ...) \
    ranks::check_throws(__FILE__, __LINE__, status, text, [&] { __VA_ARGS__; })
} // namespace ranks

#endif
