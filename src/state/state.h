/* SPDX-License-Identifier: Apache-2.0 */
/* Who this process is among the others: Accelerate's PartialState. */
#ifndef ACCEL_STATE_STATE_H
#define ACCEL_STATE_STATE_H

#include "comm/comm.h"

typedef struct accel__state {
    accel_comm_t *comm; /* owned */
    int32_t process_index, num_processes;
    int32_t local_process_index, local_num_processes;
    accel_device_t device;
} accel__state_t;

accel_status_t accel__state_init(accel__state_t *state, const accel_comm_options_t *options);
void accel__state_fini(accel__state_t *state);

/* The part between goes first on the process for which `first` is true. Collective. */
accel_status_t accel__state_first_begin(accel__state_t *state, bool first);
accel_status_t accel__state_first_end(accel__state_t *state, bool first);

#endif
