/* SPDX-License-Identifier: Apache-2.0 */
/* A status of the C library becomes an exception, which carries its text. */
#ifndef ACCEL_TORCH_ERROR_HPP
#define ACCEL_TORCH_ERROR_HPP

#include <stdexcept>
#include <string>

#include <accel/status.h>

namespace accel
{
class Error : public std::runtime_error
{
public:
    Error(accel_status_t status, const std::string &text)
        : std::runtime_error(text), status_(status)
    {
    }

    accel_status_t status() const noexcept { return status_; }

private:
    accel_status_t status_;
};

/* Where in the user's program a call stands: collectives carry it, so that a mismatch or a
 * time-out names the line that each rank is at. As a default argument it is the caller's. */
struct Site {
    const char *file;
    int line;

    static Site here(const char *file = __builtin_FILE(), int line = __builtin_LINE())
    {
        return {file, line};
    }
};

namespace detail
{
inline accel_status_t check(accel_status_t status)
{
    if (status < ACCEL_OK)
        throw Error(status, accel_last_error());
    return status;
}

/* The calls within its scope stand there. */
class AtSite
{
public:
    explicit AtSite(const Site &site) { accel_set_call_site(site.file, site.line); }
    ~AtSite() { accel_set_call_site(nullptr, 0); }
    AtSite(const AtSite &) = delete;
    AtSite &operator=(const AtSite &) = delete;
};
} // namespace detail
} // namespace accel

#endif
