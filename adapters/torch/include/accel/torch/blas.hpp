/* SPDX-License-Identifier: Apache-2.0 */
/* Which BLAS libtorch multiplies with: Debian's takes what libblas.so.3 is, and the reference
 * implementation is many times slower than OpenBLAS. */
#ifndef ACCEL_TORCH_BLAS_HPP
#define ACCEL_TORCH_BLAS_HPP

#include <climits>
#include <cstdlib>
#include <string>

#include <dlfcn.h>

#include <ATen/Context.h>
#include <c10/util/Exception.h>

namespace accel
{
/* The file of the reference BLAS if this process multiplies with that, else "". */
inline std::string reference_blas()
{
    static const char *const fast[] = {"openblas_get_config", "bli_info_get_version_str",
                                       "MKL_Get_Version", "ATL_buildinfo", "armplversion"};
    Dl_info where;
    void *sgemm = dlsym(RTLD_DEFAULT, "sgemm_"), *library;

    if (at::hasMKL() || !sgemm || !dladdr(sgemm, &where) || !where.dli_fname)
        return "";
    library = dlopen(where.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    for (const char *symbol : fast)
        if (!library || dlsym(library, symbol))
            return "";
    char path[PATH_MAX];
    return realpath(where.dli_fname, path) ? path : where.dli_fname;
}

inline void warn_of_slow_blas()
{
    std::string blas = reference_blas();

    if (!blas.empty())
        TORCH_WARN("accel: libtorch multiplies by the reference BLAS, ", blas,
                   ", which is about ten times slower than OpenBLAS; on Debian: "
                   "apt install libopenblas0-pthread");
}
} // namespace accel

#endif
