/* SPDX-License-Identifier: Apache-2.0 */
#include "train/layout.h"

accel__slice_t accel__layout_slice(const accel__run_t *run, int32_t rank, int32_t num_ranks)
{
    size_t units = run->count / run->unit, ranks = (size_t)num_ranks, index = (size_t)rank;

    return (accel__slice_t){.begin = units * index / ranks * run->unit,
                            .end = units * (index + 1) / ranks * run->unit};
}

int accel__layout_run(accel__layout_t *layout, accel_dtype_t dtype, accel_dtype_t gradient_dtype,
                      accel__copies_t copies)
{
    size_t smallest = copies == ACCEL__COPY_NONE ? accel_dtype_size(gradient_dtype) : 2;

    for (int i = layout->num_runs - 1; i >= 0; i--) {
        const accel__run_t *run = &layout->runs[i];
        size_t limit = i == 0 ? layout->first_bucket_size : layout->bucket_size;

        if (run->dtype != dtype || run->gradient_dtype != gradient_dtype ||
            run->copies_kind != copies)
            continue;
        if (run->count * accel_dtype_size(gradient_dtype) < limit)
            return i;
        break;
    }
    layout->runs[layout->num_runs] = (accel__run_t){.dtype = dtype,
                                                    .gradient_dtype = gradient_dtype,
                                                    .copies_kind = copies,
                                                    .copy_dtype = ACCEL_F32,
                                                    .unit = ACCEL__PAGE / smallest};
    return layout->num_runs++;
}

size_t accel__layout_append(accel__run_t *run, size_t count)
{
    size_t first = run->count;

    run->count += accel__round_up(count, ACCEL__PARAMETER_ALIGN * run->unit / ACCEL__PAGE);
    return first;
}

void accel__layout_place(accel__layout_t *layout)
{
    for (int i = 0; i < layout->num_runs; i++) {
        accel__run_t *run = &layout->runs[i];

        run->count = accel__round_up(run->count, run->unit);
        run->values = layout->frozen_end;
        run->gradients = layout->gradients_size;
        if (!layout->values_elsewhere)
            layout->frozen_end += run->count * accel_dtype_size(run->dtype);
        layout->gradients_size += run->count * accel_dtype_size(run->gradient_dtype);
    }
}

static accel_dtype_t copy_dtype(accel__copies_t copies, accel_dtype_t autocast)
{
    switch (copies) {
    case ACCEL__COPY_BF16:
        return ACCEL_BF16;
    case ACCEL__COPY_F16:
        return ACCEL_F16;
    case ACCEL__COPY_AUTOCAST:
        return autocast;
    case ACCEL__COPY_NONE:
        break;
    }
    return ACCEL_F32;
}

void accel__layout_place_copies(accel__layout_t *layout, accel_dtype_t autocast)
{
    layout->size = layout->frozen_end;
    for (int i = 0; i < layout->num_runs; i++) {
        accel__run_t *run = &layout->runs[i];

        run->copy_dtype = copy_dtype(run->copies_kind, autocast);
        run->copies = layout->size;
        if (run->copy_dtype != ACCEL_F32)
            layout->size += run->count * accel_dtype_size(run->copy_dtype);
    }
}
