/* SPDX-License-Identifier: Apache-2.0 */
#include "state/state.h"

accel_status_t accel__state_init(accel__state_t *state, const accel_comm_options_t *options)
{
    accel_status_t status;

    *state = (accel__state_t){.device = {ACCEL_CPU, 0}};
    status = accel_comm_create(options, &state->comm);
    if (status != ACCEL_OK)
        return status;
    state->process_index = accel_comm_rank(state->comm);
    state->num_processes = accel_comm_size(state->comm);
    state->local_process_index = accel_comm_local_rank(state->comm);
    state->local_num_processes = accel_comm_local_size(state->comm);
    return ACCEL_OK;
}

void accel__state_fini(accel__state_t *state)
{
    accel_comm_destroy(state->comm);
    state->comm = NULL;
}

accel_status_t accel__state_first_begin(accel__state_t *state, bool first)
{
    return first ? ACCEL_OK : accel__comm_meet(state->comm, "main_process_first", 0, NULL, 0, NULL);
}

accel_status_t accel__state_first_end(accel__state_t *state, bool first)
{
    return first ? accel__comm_meet(state->comm, "main_process_first", 0, NULL, 0, NULL) : ACCEL_OK;
}
