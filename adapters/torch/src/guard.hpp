/* SPDX-License-Identifier: Apache-2.0 */
/* The border to C: nothing that is thrown passes it. */
#ifndef ACCEL_TORCH_SRC_GUARD_HPP
#define ACCEL_TORCH_SRC_GUARD_HPP

#include <new>
#include <string>

#include <c10/util/Exception.h>

#include <accel/torch/tensor.hpp>

namespace engine
{
using accel::Error;
using accel::detail::check;

/* The line of libtorch's text that says what is wrong: the first, but of what TorchScript threw the
 * last, which comes after its traces. */
inline std::string one_line(const std::string &text)
{
    size_t end = text.find_last_not_of(" \n");
    bool traced = text.find("TorchScript") != std::string::npos;

    if (end == std::string::npos)
        return "libtorch threw an exception without a text";
    std::string trimmed = text.substr(0, end + 1);
    size_t newline = traced ? trimmed.rfind('\n') : trimmed.find('\n');
    std::string line = newline == std::string::npos ? trimmed
                       : traced                     ? trimmed.substr(newline + 1)
                                                    : trimmed.substr(0, newline);
    size_t advice = line.find(". ", 60); /* what libtorch guesses after a long first sentence */
    return line.size() > 200 && advice != std::string::npos ? line.substr(0, advice) : line;
}

inline accel_status_t status_of(const std::exception &error)
{
    return accel::detail::is_out_of_memory(error) ? ACCEL_ERR_NO_MEMORY : ACCEL_ERR_INVALID;
}

/* Run `action`, whose exceptions become a status and a line that begins with `what`. */
template <typename Action> accel_status_t guarded(const char *what, const Action &action) noexcept
{
    try {
        action();
        return ACCEL_OK;
    } catch (const Error &error) {
        return accel_fail(error.status(), "%s: %s", what, error.what());
    } catch (const c10::Error &error) {
        return accel_fail(status_of(error), "%s: %s", what,
                          one_line(error.what_without_backtrace()).c_str());
    } catch (const std::bad_alloc &) {
        return accel_fail(ACCEL_ERR_NO_MEMORY, "%s: out of memory", what);
    } catch (const std::exception &error) {
        return accel_fail(status_of(error), "%s: %s", what, one_line(error.what()).c_str());
    } catch (...) {
        return accel_fail(ACCEL_ERR_INTERNAL, "%s: an unknown exception", what);
    }
}
} // namespace engine

#endif
