/* SPDX-License-Identifier: Apache-2.0 */
/* What a GPT of PyTorch's takes for the next token, from C, by <accel/torch.h>:
 *     torch_infer FOLDER BATCH [MARK]
 * peers/torch_infer.py writes what is in FOLDER. A turn is all inputs, split among the ranks, until
 * rank 0 has the answers in order; it writes them to the file `answers`. With MARK there is one
 * input a rank, and rank 0 writes to that file when they were answered. */
#include <accel/accel.h>
#include <accel/safetensors.h>
#include <accel/torch.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "round.h"

typedef struct program {
    accel_t *accelerator;
    accel_torch_module_t *module;
    accel_safetensors_t *file;
    const accel_tensor_t *tokens; /* [inputs, context] */
    int64_t inputs, batch;
    int32_t *answers;
} program_t;

static void begin(program_t *program, const char *folder)
{
    char path[4096];

    ACCEL_CHECK(accel_create(NULL, &program->accelerator));
    snprintf(path, sizeof(path), "%s/inputs.safetensors", folder);
    ACCEL_CHECK(accel_safetensors_open(path, &program->file));
    ACCEL_CHECK(accel_safetensors_tensor(program->file, "tokens", &program->tokens));
    snprintf(path, sizeof(path), "%s/scores.pt", folder);
    ACCEL_CHECK(accel_torch_load(
        path, ACCEL_TORCH_OPTIONS(.accelerator = program->accelerator, .mmap = true),
        &program->module));
    accel_torch_set_grad_enabled(program->module, false);
    program->inputs = program->tokens->shape[0];
    program->answers = (int32_t *)calloc((size_t)program->inputs, sizeof(int32_t));
    if (!program->answers)
        exit(1);
}

static void end(program_t *program)
{
    free(program->answers);
    accel_torch_destroy(program->module);
    accel_safetensors_close(program->file);
    accel_destroy(program->accelerator);
}

static int32_t largest(const float *scores, int64_t count)
{
    int32_t best = 0;

    for (int32_t k = 1; k < count; k++)
        if (scores[k] > scores[best])
            best = k;
    return best;
}

static void answer(program_t *program, int64_t first, int64_t count, int32_t *answers)
{
    int64_t context = program->tokens->shape[1];
    const accel_tensor_t *scores;
    accel_tensor_t input;

    accel_tensor_view(&input, (int64_t *)program->tokens->data + first * context, ACCEL_I64, 2,
                      (int64_t[]){count, context});
    ACCEL_CHECK(accel_torch_forward(program->module, &input, 1));
    ACCEL_CHECK(accel_torch_output(program->module, 0, &scores));
    for (int64_t i = 0; i < count; i++)
        answers[i] = largest((const float *)scores->data + i * scores->shape[1], scores->shape[1]);
}

/* All ranks' answers, in order. */
static accel_objects_t *infer(program_t *program)
{
    accel_objects_t *gathered;
    accel_split_t part;

    ACCEL_CHECK(accel_split_between_processes(program->accelerator, program->inputs, false, &part));
    for (int64_t at = 0; at < part.count; at += program->batch) {
        int64_t left = part.count - at;

        answer(program, part.begin + at, left < program->batch ? left : program->batch,
               program->answers + at);
    }
    ACCEL_CHECK(accel_gather_object(program->accelerator, program->answers,
                                    (size_t)part.count * sizeof(int32_t), &gathered));
    return gathered;
}

static void write_answers(const accel_objects_t *gathered)
{
    FILE *file = fopen("answers", "w");

    for (int32_t rank = 0; file && rank < accel_objects_count(gathered); rank++) {
        size_t size;
        const char *bytes = (const char *)accel_objects_get(gathered, rank, &size);

        for (size_t at = 0; at < size; at += sizeof(int32_t)) {
            int32_t one;

            memcpy(&one, bytes + at, sizeof(one));
            fprintf(file, "%d\n", (int)one);
        }
    }
    if (!file || fclose(file) != 0) {
        perror("answers");
        exit(1);
    }
}

static void take_turns(program_t *program)
{
    round_open(accel_process_index(program->accelerator));
    while (round_next()) {
        ACCEL_CHECK(accel_wait_for_everyone(program->accelerator));
        double start = round_now();
        accel_objects_t *gathered = infer(program);

        round_sample(round_now() - start);
        ACCEL_ON_MAIN_PROCESS(program->accelerator)
            write_answers(gathered);
        accel_objects_destroy(gathered);
    }
    round_close();
}

int main(int argc, char **argv)
{
    program_t program = {.batch = round_argument(argc, argv, 2, "inputs a batch")};
    int32_t ranks;

    begin(&program, argv[1]);
    ranks = accel_num_processes(program.accelerator);
    if (argc > 3) {
        program.inputs = program.inputs < ranks ? program.inputs : ranks;
        accel_objects_destroy(infer(&program));
        ACCEL_ON_MAIN_PROCESS(program.accelerator)
            round_mark(argv[3], ranks);
    } else {
        take_turns(&program);
    }
    end(&program);
    return 0;
}
