/* SPDX-License-Identifier: Apache-2.0 */
#include "data/slot.h"

#include <stdlib.h>

accel_status_t accel__slot_init(accel__slot_t *slot, const accel__plan_t *plan, int64_t capacity)
{
    accel_status_t status;

    *slot = (accel__slot_t){.holds = -1};
    status = accel__samples_init(&slot->samples, plan->dataset, capacity, plan->collate->fn);
    if (status == ACCEL_OK && plan->collate->fn)
        status = accel__collated_init(&slot->collated, plan->collate);
    if (status == ACCEL_OK) {
        slot->indices = calloc(capacity ? (size_t)capacity : 1, sizeof(*slot->indices));
        if (!slot->indices)
            status = accel__fail_memory("a batch", (size_t)capacity * sizeof(*slot->indices));
    }
    if (status != ACCEL_OK)
        accel__slot_fini(slot);
    return status;
}

void accel__slot_fini(accel__slot_t *slot)
{
    accel__samples_fini(&slot->samples);
    accel__collated_fini(&slot->collated);
    free(slot->indices);
    *slot = (accel__slot_t){0};
}

accel_status_t accel__slot_read(accel__slot_t *slot, const accel__plan_t *plan, int64_t number,
                                const atomic_bool *cancelled)
{
    accel__plan_step(plan, number, &slot->step, slot->indices);
    accel__samples_clear(&slot->samples);
    return accel__samples_read(&slot->samples, slot->indices, slot->step.rows, cancelled);
}

accel_status_t accel__slot_finish(accel__slot_t *slot, const accel__plan_t *plan)
{
    for (int32_t f = 0; f < plan->dataset->num_fields; f++)
        slot->samples.fields[f].shape[0] = slot->step.rows;
    if (!plan->collate->fn)
        return ACCEL_OK;
    if (slot->step.rows == 0)
        return accel__collate_nothing(plan->collate, &slot->collated);
    return accel__collate(plan->collate, &slot->samples, slot->indices, slot->step.rows,
                          &slot->collated);
}

const accel_tensor_t *accel__slot_fields(const accel__slot_t *slot, int32_t *num_fields)
{
    *num_fields =
        slot->collated.fields ? slot->collated.num_fields : slot->samples.dataset->num_fields;
    return slot->collated.fields ? slot->collated.fields : slot->samples.fields;
}
