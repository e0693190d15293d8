/* SPDX-License-Identifier: Apache-2.0 */
/* libgpt.so: the GPT of gpt.cpp for programs in C. */
#include <accel/torch/register.hpp>

#include "gpt.hpp"

ACCEL_TORCH_MODULE("gpt", GptImpl)
