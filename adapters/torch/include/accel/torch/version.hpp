/* SPDX-License-Identifier: Apache-2.0 */
/* Which libtorch this is compiled against, and what that decides. */
#ifndef ACCEL_TORCH_VERSION_HPP
#define ACCEL_TORCH_VERSION_HPP

#include <torch/version.h>

#if !defined(__GXX_RTTI)
#error "accel/torch.hpp: libtorch wants run-time type information: compile without -fno-rtti"
#endif
#if !defined(__cpp_exceptions)
#error "accel/torch.hpp: libtorch wants exceptions: compile without -fno-exceptions"
#endif

/* 213 for 2.13. The patch level is not looked at: Debian's 1.13.1 says that it is 1.13.0. */
#define ACCEL_TORCH_VERSION (TORCH_VERSION_MAJOR * 100 + TORCH_VERSION_MINOR)

#if ACCEL_TORCH_VERSION < 113
#error "accel/torch.hpp: libtorch is older than 1.13"
#endif

#define ACCEL_TORCH_HAS_POST_ACC_GRAD_HOOKS (ACCEL_TORCH_VERSION >= 201)
#define ACCEL_TORCH_HAS_GENERIC_AUTOCAST (ACCEL_TORCH_VERSION >= 204)

#endif
