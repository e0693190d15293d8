/* SPDX-License-Identifier: Apache-2.0 */
/* TorchScript archives whose tensors stay in the file. */
#ifndef ACCEL_TORCH_SRC_MAPPED_ARCHIVE_HPP
#define ACCEL_TORCH_SRC_MAPPED_ARCHIVE_HPP

#include <string>

#include <torch/csrc/jit/api/module.h>

namespace engine
{
/* torch::jit::load, but large tensors are pages of the file, private to this process once they are
 * written and the system's one copy until then. */
torch::jit::Module load_mapped(const std::string &path);
} // namespace engine

#endif
