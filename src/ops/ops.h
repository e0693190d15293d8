/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on the tensors of all ranks; the façade adds who is asking. All collective
 * but split. */
#ifndef ACCEL_OPS_OPS_H
#define ACCEL_OPS_OPS_H

#include "comm/comm.h"

/* keep_rows >= 0: of the result only the first keep_rows rows (all, if it has fewer). */
accel_status_t accel__ops_gather(accel_comm_t *comm, const accel_tensor_t *tensor,
                                 int64_t keep_rows, accel_tensor_t **gathered);
accel_status_t accel__ops_reduce(accel_comm_t *comm, accel_tensor_t *tensor,
                                 accel_reduction_t reduction);
accel_status_t accel__ops_broadcast(accel_comm_t *comm, accel_tensor_t *tensor,
                                    int32_t from_process);
accel_status_t accel__ops_pad_across_processes(accel_comm_t *comm, const accel_tensor_t *tensor,
                                               int32_t dim, double pad_index, bool pad_first,
                                               accel_tensor_t **padded);

#endif
