/* SPDX-License-Identifier: Apache-2.0 */
/* Training a GPT of PyTorch's, from C, by <accel/torch.h>:
 *     torch_gpt FOLDER STEPS during|after [MARK]
 * peers/_gpt.py writes what is in FOLDER. A turn is one step of warm-up and STEPS that count; its
 * last number is the loss. Gradients are reduced during the backward, or all of them after it.
 * With MARK there is one step, and rank 0 writes to that file when it was done. */
#include <accel/accel.h>
#include <accel/safetensors.h>
#include <accel/torch.h>

#include <stdio.h>
#include <string.h>

#include "round.h"

typedef struct program {
    accel_t *accelerator;
    accel_torch_module_t *module;
    accel_model_t *model;
    accel_optimizer_t *optimizer;
    accel_safetensors_t *file;
    const accel_tensor_t *tokens; /* [batches, ranks, 2, rows, context] */
    bool after;
    int64_t next;
} program_t;

static void begin(program_t *program, const char *folder)
{
    char path[4096];

    ACCEL_CHECK(accel_create(NULL, &program->accelerator));
    snprintf(path, sizeof(path), "%s/batches.safetensors", folder);
    ACCEL_CHECK(accel_safetensors_open(path, &program->file));
    ACCEL_CHECK(accel_safetensors_tensor(program->file, "tokens", &program->tokens));
    snprintf(path, sizeof(path), "%s/gpt.pt", folder);
    ACCEL_CHECK(accel_torch_load(path, ACCEL_TORCH_OPTIONS(.accelerator = program->accelerator),
                                 &program->module));
    ACCEL_CHECK(accel_torch_model(program->module, &program->model));
    ACCEL_CHECK(accel_adamw_create(program->model, NULL, &program->optimizer));
    ACCEL_CHECK(
        accel_prepare(program->accelerator, program->model, program->optimizer, NULL, NULL));
}

static void end(program_t *program)
{
    accel_optimizer_destroy(program->optimizer);
    accel_torch_destroy(program->module);
    accel_safetensors_close(program->file);
    accel_destroy(program->accelerator);
}

/* Of this rank: the inputs, and the targets. */
static void next_batch(program_t *program, accel_tensor_t batch[2])
{
    const accel_tensor_t *all = program->tokens;
    int64_t count = all->shape[3] * all->shape[4];
    int64_t at = program->next * all->shape[1] + accel_process_index(program->accelerator);

    for (int i = 0; i < 2; i++)
        accel_tensor_view(&batch[i], (int64_t *)all->data + (2 * at + i) * count, ACCEL_I64, 2,
                          &all->shape[3]);
    program->next = (program->next + 1) % all->shape[0];
}

static void backward(program_t *program)
{
    if (program->after)
        ACCEL_CHECK(accel_no_sync_begin(program->accelerator, program->model));
    ACCEL_CHECK(accel_backward(program->accelerator, program->model));
    if (program->after)
        ACCEL_CHECK(accel_no_sync_end(program->accelerator, program->model));
}

static double step(program_t *program)
{
    accel_tensor_t batch[2];
    double loss;

    next_batch(program, batch);
    ACCEL_CHECK(accel_torch_forward(program->module, batch, 2));
    ACCEL_CHECK(accel_torch_loss(program->module, 0, &loss));
    backward(program);
    ACCEL_CHECK(accel_optimizer_step(program->optimizer));
    ACCEL_CHECK(accel_optimizer_zero_grad(program->optimizer));
    return loss;
}

static void take_turns(program_t *program, int64_t steps)
{
    round_open(accel_process_index(program->accelerator));
    while (round_next()) {
        double loss = step(program);

        ACCEL_CHECK(accel_wait_for_everyone(program->accelerator));
        for (int64_t i = 0; i < steps; i++) {
            double start = round_now();
            loss = step(program);
            round_sample(round_now() - start);
        }
        round_sample(loss);
    }
    round_close();
}

int main(int argc, char **argv)
{
    program_t program = {.after = argc > 3 && strcmp(argv[3], "after") == 0};
    int64_t steps = round_argument(argc, argv, 2, "steps");

    begin(&program, argv[1]);
    if (argc > 4) {
        step(&program);
        if (accel_is_main_process(program.accelerator))
            round_mark(argv[4], accel_num_processes(program.accelerator));
    } else {
        take_turns(&program, steps);
    }
    end(&program);
    return 0;
}
