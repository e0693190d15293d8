/* SPDX-License-Identifier: Apache-2.0
 * test-timeout: 240 */
/* Random programs: sequences of collectives with random dtypes, sizes, roots and uneven rows on 1
 * to 5 ranks, compared with a serial reference; and the same with one rank out of step, which every
 * rank must be told of. ACCEL_TEST_SEED repeats a run, ACCEL_TEST_PROGRAMS makes it longer. */
#include "test.h"

#include <inttypes.h>
#include <pthread.h>

#include "base/base.h"
#include "elements.h"
#include "random.h"

/* ---- a program ---- */

typedef enum kind {
    ALLREDUCE,
    IALLREDUCE,
    REDUCE_SCATTER,
    ALLGATHER,
    BROADCAST,
    BARRIER,
    GATHER,
    REDUCE,
    BROADCAST_TENSOR,
    PAD,
    GATHER_OBJECT,
    BROADCAST_OBJECT,
    NUM_KINDS
} kind_t;

enum { MAX_RANKS = 5, MAX_OPS = 24, MAX_COUNT = 6000 };

typedef struct op {
    kind_t kind;
    accel_dtype_t dtype;
    accel_reduction_t reduction;
    int64_t count;           /* elements, or columns of a row */
    int64_t rows[MAX_RANKS]; /* of each rank, or bytes of its object */
    int32_t root;
    uint64_t salt;
} op_t;

typedef enum fault { NONE, OTHER_KIND, OTHER_COUNT, OTHER_DTYPE, LEAVE, ABORT, NUM_FAULTS } fault_t;

typedef struct program {
    uint64_t seed;
    int32_t size, num_ops;
    op_t ops[MAX_OPS];
    fault_t fault; /* of rank `faulty`, at operation `at` */
    int32_t faulty, at;
} program_t;

static op_t random_op(uint64_t *state, int32_t size)
{
    static const accel_dtype_t dtypes[] = {ACCEL_F32, ACCEL_F64, ACCEL_F16, ACCEL_BF16,
                                           ACCEL_I32, ACCEL_I64, ACCEL_U8};
    static const int64_t counts[] = {0, 1, 2, 7, 64, 1000, MAX_COUNT};
    op_t op = {.kind = (kind_t)below(state, NUM_KINDS),
               .dtype = dtypes[below(state, 7)],
               .reduction = (accel_reduction_t)below(state, 4),
               .count = counts[below(state, 7)],
               .root = (int32_t)below(state, size),
               .salt = next_random(state)};

    if (op.kind >= GATHER && op.count > 64)
        op.count = 64;
    for (int32_t r = 0; r < MAX_RANKS; r++)
        op.rows[r] = below(state, 2) ? below(state, 20) : 3;
    return op;
}

static program_t random_program(uint64_t seed)
{
    uint64_t state = seed;
    program_t program = {.seed = seed, .size = 1 + (int32_t)below(&state, MAX_RANKS)};

    program.num_ops = 1 + (int32_t)below(&state, MAX_OPS);
    for (int32_t i = 0; i < program.num_ops; i++)
        program.ops[i] = random_op(&state, program.size);
    return program;
}

/* ---- elements: whole numbers that every dtype holds, and sums of five of them too ---- */

static double value_of(const op_t *op, int64_t rank, int64_t i)
{
    uint64_t state = op->salt + (uint64_t)rank * 1000003 + (uint64_t)i * 7919;

    return (double)(next_random(&state) % 40);
}

static void *make_elements(const op_t *op, int64_t rank, int64_t count)
{
    void *data = calloc((size_t)count + 1, 8);

    CHECK(data);
    for (int64_t i = 0; i < count; i++)
        set_at(data, op->dtype, i, value_of(op, rank, i));
    return data;
}

/* `expected` in this dtype, byte for byte. */
static void check_element(const program_t *program, const op_t *op, const void *data, int64_t i,
                          double expected)
{
    size_t width = accel_dtype_size(op->dtype);
    unsigned char reference[8];

    set_at(reference, op->dtype, 0, expected);
    if (memcmp((const char *)data + (size_t)i * width, reference, width) != 0)
        test_fail(__FILE__, __LINE__, "seed %" PRIu64 ": element %" PRId64 " of kind %d is not %g",
                  program->seed, i, (int)op->kind, expected);
}

static double reduced(const program_t *program, const op_t *op, int64_t i)
{
    double result = value_of(op, 0, i);

    for (int32_t r = 1; r < program->size; r++) {
        double other = value_of(op, r, i);

        result = op->reduction == ACCEL_MAX   ? fmax(result, other)
                 : op->reduction == ACCEL_MIN ? fmin(result, other)
                                              : result + other;
    }
    if (op->reduction != ACCEL_MEAN)
        return result;
    /* the sum and the quotient are rounded to float once, as the library does */
    return op->dtype == ACCEL_F64 ? result / program->size
                                  : (double)((float)result / (float)program->size);
}

/* ---- one operation of one rank ---- */

typedef struct rank_state {
    const program_t *program;
    accel_t *accelerator;
    accel_comm_t *comm;
    int32_t rank;
} rank_state_t;

static accel_status_t do_allreduce(rank_state_t *state, const op_t *op)
{
    void *data = make_elements(op, state->rank, op->count);
    accel_request_t *request = NULL;
    accel_status_t status;

    if (op->kind == IALLREDUCE) {
        status = accel_comm_iallreduce(state->comm, data, data, (size_t)op->count, op->dtype,
                                       op->reduction, &request);
        if (status == ACCEL_OK)
            status = accel_request_wait(&request);
    } else {
        status = accel_comm_allreduce(state->comm, data, data, (size_t)op->count, op->dtype,
                                      op->reduction);
    }
    for (int64_t i = 0; status == ACCEL_OK && i < op->count; i++)
        check_element(state->program, op, data, i, reduced(state->program, op, i));
    free(data);
    return status;
}

static accel_status_t do_reduce_scatter(rank_state_t *state, const op_t *op)
{
    int32_t size = state->program->size;
    void *send = make_elements(op, state->rank, op->count * size);
    void *recv = calloc((size_t)op->count + 1, 8);
    accel_status_t status;

    CHECK(recv);
    status = accel_comm_reduce_scatter(state->comm, send, recv, (size_t)op->count, op->dtype,
                                       op->reduction);
    for (int64_t i = 0; status == ACCEL_OK && i < op->count; i++)
        check_element(state->program, op, recv, i,
                      reduced(state->program, op, state->rank * op->count + i));
    free(send);
    free(recv);
    return status;
}

static accel_status_t do_allgather(rank_state_t *state, const op_t *op)
{
    int32_t size = state->program->size;
    void *send = make_elements(op, state->rank, op->count);
    void *recv = calloc((size_t)(op->count * size) + 1, 8);
    accel_status_t status;

    CHECK(recv);
    status = accel_comm_allgather(state->comm, send, recv, (size_t)op->count, op->dtype);
    for (int64_t i = 0; status == ACCEL_OK && i < op->count * size; i++)
        check_element(state->program, op, recv, i, value_of(op, i / op->count, i % op->count));
    free(send);
    free(recv);
    return status;
}

static accel_status_t do_broadcast(rank_state_t *state, const op_t *op)
{
    void *data = make_elements(op, state->rank, op->count);
    accel_status_t status =
        op->kind == BROADCAST
            ? accel_comm_broadcast(state->comm, data, (size_t)op->count, op->dtype, op->root)
            : accel_broadcast(state->accelerator, ACCEL_TENSOR(data, op->dtype, op->count),
                              op->root);

    for (int64_t i = 0; status == ACCEL_OK && i < op->count; i++)
        check_element(state->program, op, data, i, value_of(op, op->root, i));
    free(data);
    return status;
}

static accel_status_t do_reduce(rank_state_t *state, const op_t *op)
{
    void *data = make_elements(op, state->rank, op->count);
    accel_status_t status =
        accel_reduce(state->accelerator, ACCEL_TENSOR(data, op->dtype, op->count), op->reduction);

    for (int64_t i = 0; status == ACCEL_OK && i < op->count; i++)
        check_element(state->program, op, data, i, reduced(state->program, op, i));
    free(data);
    return status;
}

/* Every rank brings rows of its own number. */
static accel_status_t do_gather(rank_state_t *state, const op_t *op)
{
    int64_t rows = op->rows[state->rank], columns = op->count, at = 0;
    void *data = make_elements(op, state->rank, rows * columns);
    accel_tensor_t *gathered = NULL;
    accel_status_t status =
        accel_gather(state->accelerator, ACCEL_TENSOR(data, op->dtype, rows, columns), &gathered);

    for (int32_t r = 0; status == ACCEL_OK && r < state->program->size; r++)
        for (int64_t i = 0; i < op->rows[r] * columns; i++, at++)
            check_element(state->program, op, gathered->data, at, value_of(op, r, i));
    if (status == ACCEL_OK)
        CHECK_INT(at, accel_tensor_numel(gathered));
    accel_tensor_destroy(gathered);
    free(data);
    return status;
}

static accel_status_t do_pad(rank_state_t *state, const op_t *op)
{
    int64_t rows = op->rows[state->rank], columns = op->count, most = 0;
    void *data = make_elements(op, state->rank, rows * columns);
    accel_tensor_t *padded = NULL;
    accel_status_t status = accel_pad_across_processes(
        state->accelerator, ACCEL_TENSOR(data, op->dtype, rows, columns), 0, 5, false, &padded);

    for (int32_t r = 0; r < state->program->size; r++)
        most = op->rows[r] > most ? op->rows[r] : most;
    if (status == ACCEL_OK)
        CHECK_INT(most * columns, accel_tensor_numel(padded));
    for (int64_t i = 0; status == ACCEL_OK && i < most * columns; i++)
        check_element(state->program, op, padded->data, i,
                      i < rows * columns ? value_of(op, state->rank, i) : 5);
    accel_tensor_destroy(padded);
    free(data);
    return status;
}

static accel_status_t do_objects(rank_state_t *state, const op_t *op)
{
    bool gathers = op->kind == GATHER_OBJECT;
    unsigned char bytes[32];
    accel_objects_t *objects = NULL;
    accel_status_t status;

    memset(bytes, 'a' + state->rank, sizeof(bytes));
    status = gathers ? accel_gather_object(state->accelerator, bytes, (size_t)op->rows[state->rank],
                                           &objects)
                     : accel_broadcast_object(state->accelerator, bytes,
                                              (size_t)op->rows[state->rank], op->root, &objects);
    for (int32_t k = 0; status == ACCEL_OK && k < (gathers ? state->program->size : 1); k++) {
        int32_t from = gathers ? k : op->root;
        size_t size = 0;
        const unsigned char *found = accel_objects_get(objects, k, &size);

        CHECK_INT(op->rows[from], size);
        for (size_t i = 0; i < size; i++)
            CHECK_INT('a' + from, found[i]);
    }
    accel_objects_destroy(objects);
    return status;
}

static accel_status_t do_op(rank_state_t *state, const op_t *op)
{
    switch (op->kind) {
    case ALLREDUCE:
    case IALLREDUCE:
        return do_allreduce(state, op);
    case REDUCE_SCATTER:
        return do_reduce_scatter(state, op);
    case ALLGATHER:
        return do_allgather(state, op);
    case BROADCAST:
    case BROADCAST_TENSOR:
        return do_broadcast(state, op);
    case GATHER:
        return do_gather(state, op);
    case REDUCE:
        return do_reduce(state, op);
    case PAD:
        return do_pad(state, op);
    case GATHER_OBJECT:
    case BROADCAST_OBJECT:
        return do_objects(state, op);
    case BARRIER:
    case NUM_KINDS:
        break;
    }
    return accel_comm_barrier(state->comm);
}

/* ---- one rank ---- */

typedef struct outcome {
    accel_status_t status; /* the first error, or ACCEL_OK */
    int32_t at;            /* the operation that gave it */
    char text[512];
} outcome_t;

typedef struct player {
    const program_t *program;
    accel_thread_ranks_t *ranks;
    int32_t rank;
    outcome_t outcome;
    pthread_t thread;
} player_t;

static bool uses_comm(kind_t kind)
{
    return kind <= BARRIER;
}

/* What the faulty rank does instead. It stays with the same communicator: on the other one nobody
 * would ever be met, which is a time-out and not a mismatch. */
static accel_status_t do_fault(rank_state_t *state, const op_t *op)
{
    op_t other = *op;

    switch (state->program->fault) {
    case OTHER_KIND:
        other.kind = uses_comm(op->kind) ? (op->kind == BARRIER ? BROADCAST : BARRIER)
                                         : (op->kind == GATHER ? REDUCE : GATHER);
        break;
    case OTHER_COUNT:
        other.count += 1;
        break;
    case OTHER_DTYPE:
        other.dtype = op->dtype == ACCEL_F32 ? ACCEL_I32 : ACCEL_F32;
        break;
    case ABORT:
        return accel_comm_abort(state->comm, ACCEL_ERR_IO, "lost my data");
    default:
        return ACCEL_OK;
    }
    return do_op(state, &other);
}

static void play(rank_state_t *state, outcome_t *outcome)
{
    const program_t *program = state->program;

    for (int32_t i = 0; i < program->num_ops && outcome->status == ACCEL_OK; i++) {
        bool faulty = program->fault != NONE && state->rank == program->faulty && i == program->at;

        if (faulty && program->fault == LEAVE)
            return;
        outcome->at = i;
        outcome->status =
            faulty ? do_fault(state, &program->ops[i]) : do_op(state, &program->ops[i]);
    }
    if (outcome->status != ACCEL_OK)
        snprintf(outcome->text, sizeof(outcome->text), "%s", accel_last_error());
}

static void *run_player(void *argument)
{
    player_t *player = argument;
    accel_options_t options = accel_options_init();
    accel_comm_options_t comm_options = accel_comm_options_init();
    rank_state_t state = {.program = player->program, .rank = player->rank};

    options.threads = comm_options.threads = player->ranks;
    options.process_index = comm_options.process_index = player->rank;
    options.timeout_ms = comm_options.timeout_ms = 20000;
    CHECK_OK(accel_create(&options, &state.accelerator));
    CHECK_OK(accel_comm_create(&comm_options, &state.comm));
    play(&state, &player->outcome);
    accel_comm_destroy(state.comm);
    accel_destroy(state.accelerator);
    return NULL;
}

static void run_program(const program_t *program, player_t players[MAX_RANKS])
{
    accel_thread_ranks_t *ranks;

    CHECK_OK(accel_thread_ranks_create(program->size, &ranks));
    for (int32_t r = 0; r < program->size; r++) {
        players[r] = (player_t){.program = program, .ranks = ranks, .rank = r};
        CHECK(pthread_create(&players[r].thread, NULL, run_player, &players[r]) == 0);
    }
    for (int32_t r = 0; r < program->size; r++)
        pthread_join(players[r].thread, NULL);
    accel_thread_ranks_destroy(ranks);
}

/* ---- the tests ---- */

static void programs_do_what_a_serial_one_would(void)
{
    uint64_t seed = number_from_environment("ACCEL_TEST_SEED", (uint64_t)accel__clock_ns());
    uint64_t count = number_from_environment("ACCEL_TEST_PROGRAMS", 1500);

    printf("ACCEL_TEST_SEED=%" PRIu64 "\n", seed);
    for (uint64_t i = 0; i < count; i++) {
        program_t program = random_program(seed + i);
        player_t players[MAX_RANKS];

        run_program(&program, players);
        for (int32_t r = 0; r < program.size; r++)
            if (players[r].outcome.status != ACCEL_OK)
                test_fail(__FILE__, __LINE__, "seed %" PRIu64 ", rank %d of %d, operation %d: %s",
                          program.seed, (int)r, (int)program.size, (int)players[r].outcome.at,
                          players[r].outcome.text);
    }
}

/* Does the fault show? Where it would not, the program is played with another. */
static bool is_visible(const program_t *program)
{
    const op_t *op = &program->ops[program->at];
    bool tensors = !uses_comm(op->kind), objects = op->kind >= GATHER_OBJECT;

    switch (program->fault) {
    case OTHER_KIND:
        return true;
    case OTHER_COUNT: /* what is padded along one dimension may differ along another */
        return op->kind != BARRIER && op->kind != PAD && !objects;
    case OTHER_DTYPE:
        return op->kind != BARRIER && !objects;
    case LEAVE:
        return true;
    case ABORT: /* it breaks the bare communicator, where the others have to be */
        return !tensors;
    default:
        return false;
    }
}

static program_t random_faulty_program(uint64_t seed)
{
    program_t program = random_program(seed);
    uint64_t state = ~seed;

    while (program.size < 2)
        program = random_program(next_random(&state));
    do {
        program.fault = (fault_t)(1 + below(&state, NUM_FAULTS - 1));
        program.faulty = (int32_t)below(&state, program.size);
        program.at = (int32_t)below(&state, program.num_ops);
    } while (!is_visible(&program));
    program.num_ops = program.at + 1; /* what comes later is nobody's business */
    return program;
}

static void check_told(const program_t *program, const player_t *player)
{
    const outcome_t *outcome = &player->outcome;
    bool is_faulty = player->rank == program->faulty;

    if (is_faulty && program->fault == LEAVE)
        return;
    if (outcome->status == ACCEL_OK || outcome->at != program->at)
        test_fail(__FILE__, __LINE__,
                  "seed %" PRIu64
                  ": rank %d of %d got %s at operation %d; fault %d of rank %d at %d",
                  program->seed, (int)player->rank, (int)program->size,
                  accel_status_name(outcome->status), (int)outcome->at, (int)program->fault,
                  (int)program->faulty, (int)program->at);
    if (is_faulty && program->fault == ABORT)
        CHECK_INT(ACCEL_ERR_IO, outcome->status);
    else if (program->fault == ABORT || program->fault == LEAVE)
        CHECK_INT(ACCEL_ERR_REMOTE, outcome->status);
    else
        CHECK_INT(ACCEL_ERR_MISMATCH, outcome->status);
    if (!is_faulty || program->fault != ABORT)
        if (!strstr(outcome->text, "rank"))
            test_fail(__FILE__, __LINE__, "seed %" PRIu64 ": no rank is named: %s", program->seed,
                      outcome->text);
}

static void one_out_of_step_is_always_told(void)
{
    uint64_t seed = number_from_environment("ACCEL_TEST_SEED", (uint64_t)accel__clock_ns());
    uint64_t count = number_from_environment("ACCEL_TEST_PROGRAMS", 600);

    printf("ACCEL_TEST_SEED=%" PRIu64 "\n", seed);
    for (uint64_t i = 0; i < count; i++) {
        program_t program = random_faulty_program(seed + i);
        player_t players[MAX_RANKS];

        run_program(&program, players);
        for (int32_t r = 0; r < program.size; r++)
            check_told(&program, &players[r]);
    }
}

TEST_MAIN(TEST(programs_do_what_a_serial_one_would), TEST(one_out_of_step_is_always_told))
