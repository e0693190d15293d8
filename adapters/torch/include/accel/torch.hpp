/* SPDX-License-Identifier: Apache-2.0 */
/* PyTorch models of C++ programs in any distributed configuration: the four lines on a torch::nn
 * loop. Header only, C++17; compiled against the program's own libtorch, 1.13 or newer, and linked
 * with libaccel.
 *
 *     accel::Accelerator accelerator(ACCEL_OPTIONS(.log_with = "wandb"));       // 1
 *     accelerator.prepare(model, optimizer, *loader);                          // 2
 *     for (auto &batch : *loader) {
 *         auto loss = torch::nll_loss(model->forward(batch.data), batch.target);
 *         accelerator.backward(loss);                                          // 3
 *         optimizer.step();
 *         optimizer.zero_grad();
 *     }
 *     accelerator.end_training();                                              // 4
 *
 * Rules while a module is prepared:
 *   - Cast, move, freeze and tie before prepare(). A parameter that was moved is an error at the
 *     next backward.
 *   - Tie two layers by using one's weight in forward (functional::linear(x, e->weight)): assigning
 *     the member (l->weight = e->weight) leaves the old one registered.
 *   - Batches are borrowed by autograd until backward() has returned: do not write them before.
 *   - Gradients lie in memory of the library's. One that is put elsewhere is copied back, which
 *     costs time; its history (create_graph) does not come with it. */
#ifndef ACCEL_TORCH_HPP
#define ACCEL_TORCH_HPP

#include <accel/accel.h>
#include <accel/torch/accelerator.hpp>
#include <accel/torch/amp.hpp>
#include <accel/torch/data.hpp>
#include <accel/torch/error.hpp>
#include <accel/torch/model.hpp>
#include <accel/torch/optimizer.hpp>
#include <accel/torch/weights.hpp>

#endif
