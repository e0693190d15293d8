/* SPDX-License-Identifier: Apache-2.0 */
/* Is the libtorch of this process the one that was compiled against? The loader cannot tell: that
 * of PyPI and of pytorch.org has no version in its name, and C++ objects differ from one to the
 * next. */
#ifndef ACCEL_TORCH_LOADED_HPP
#define ACCEL_TORCH_LOADED_HPP

#include <string>

#include <ATen/Version.h>

#include <accel/torch/error.hpp>
#include <accel/torch/version.hpp>

namespace accel
{
namespace detail
{
/* "2.13.0"; "" if libtorch does not say. */
inline std::string loaded_version()
{
    const std::string key = "TORCH_VERSION=", settings = at::show_config();
    size_t begin = settings.find(key);

    if (begin == std::string::npos)
        return "";
    begin += key.size();
    return settings.substr(begin, settings.find(',', begin) - begin);
}

inline void check_loaded_version()
{
    const std::string loaded = loaded_version();
    const std::string compiled =
        std::to_string(TORCH_VERSION_MAJOR) + "." + std::to_string(TORCH_VERSION_MINOR);

    if (!loaded.empty() && (loaded + ".").compare(0, compiled.size() + 1, compiled + ".") != 0)
        throw Error(ACCEL_ERR_UNSUPPORTED,
                    "the process has loaded libtorch " + loaded +
                        ", and this was compiled against " + compiled +
                        "; compile it again, or have the loader find libtorch " + compiled +
                        " (LD_LIBRARY_PATH; `ldd` shows what it finds)");
}
} // namespace detail
} // namespace accel

#endif
