/* SPDX-License-Identifier: Apache-2.0 */
/* Operations on the tensors of all ranks; the façade adds who is asking. All collective.
 *
 * Each is one meeting of the ranks, which tells everyone what the others bring, and one
 * collective. A tensor that does not fit the others' is ACCEL_ERR_MISMATCH on every rank; a
 * rank whose own arguments are wrong gets that error, the others ACCEL_ERR_REMOTE. The
 * communicator stays usable after both. Only a rank that runs out of memory after the
 * meeting breaks it. */
#ifndef ACCEL_OPS_OPS_H
#define ACCEL_OPS_OPS_H

#include <accel/objects.h>

#include "comm/comm.h"

/* keep_rows >= 0: of the result only the first keep_rows rows (all, if it has fewer); the
 * same on every rank. */
accel_status_t accel__ops_gather(accel_comm_t *comm, const accel_tensor_t *tensor,
                                 int64_t keep_rows, accel_tensor_t **gathered);
accel_status_t accel__ops_reduce(accel_comm_t *comm, accel_tensor_t *tensor,
                                 accel_reduction_t reduction);
accel_status_t accel__ops_broadcast(accel_comm_t *comm, accel_tensor_t *tensor,
                                    int32_t from_process);
accel_status_t accel__ops_pad_across_processes(accel_comm_t *comm, const accel_tensor_t *tensor,
                                               int32_t dim, double pad_index, bool pad_first,
                                               accel_tensor_t **padded);

accel_status_t accel__ops_gather_object(accel_comm_t *comm, const void *bytes, size_t size,
                                        accel_objects_t **objects);
accel_status_t accel__ops_broadcast_object(accel_comm_t *comm, const void *bytes, size_t size,
                                           int32_t from_process, accel_objects_t **object);

#endif
