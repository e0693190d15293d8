/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/base.h"

static void errors_quote_themselves_on_one_line(void)
{
    CHECK_STATUS(ACCEL_ERR_IO, accel__fail(ACCEL_ERR_IO, "inner %d", 7));
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel__fail(ACCEL_ERR_INVALID, "outer\nline: %s", accel_last_error()));
    CHECK_STR("outer line: inner 7", accel_last_error());
}

static void numbers_are_parsed_whole_or_refused(void)
{
    static const char *const bad[] = {"",   " 1", "1 ", "1x",  "x",
                                      "+1", "11", "-1", "1e3", "99999999999999999999"};
    int64_t value = 5;

    CHECK_OK(accel__parse_int("10", "N", 0, 10, &value));
    CHECK_INT(10, value);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        CHECK_STATUS(ACCEL_ERR_INVALID, accel__parse_int(bad[i], "WORLD_SIZE", 0, 10, &value));
        CHECK_ERROR("WORLD_SIZE is '");
    }
    CHECK_INT(10, value);
}

static void options_of_other_versions(void)
{
    struct {
        accel_comm_options_t options;
        uint64_t newer;
    } wide = {.options = accel_comm_options_init()};
    accel_comm_options_t read = {0};

    wide.options.struct_size = sizeof(wide);
    wide.options.timeout_ms = 9;
    CHECK_OK(accel__options_read(&read, sizeof(read), &wide, "options"));
    CHECK_INT(9, read.timeout_ms);
    wide.newer = 1;
    CHECK_STATUS(ACCEL_ERR_UNSUPPORTED, accel__options_read(&read, sizeof(read), &wide, "options"));
    wide.options.struct_size = 3;
    CHECK_STATUS(ACCEL_ERR_INVALID, accel__options_read(&read, sizeof(read), &wide, "options"));
}

static void dictionaries_are_copied_deep(void)
{
    char text[] = "value";
    const accel_item_t *dict = ACCEL_DICT("a", 1, "text", text, "flag", ACCEL_TRUE, "inner",
                                          ACCEL_DICT("list", ACCEL_LIST("x", 2.5, ACCEL_LIST(1))));
    void *block = malloc(accel__dict_packed_size(dict));
    accel_item_t *copy;
    const accel_item_t *inner;

    CHECK(block);
    copy = accel__dict_pack(dict, block);
    text[0] = '?';
    CHECK_STR("value", accel__dict_find(copy, "text")->value.s);
    CHECK_INT(ACCEL_TYPE_BOOL, accel__dict_find(copy, "flag")->type);
    inner = accel__dict_find(copy, "inner")->value.dict;
    CHECK_INT(ACCEL_TYPE_LIST, inner[0].type);
    CHECK_STR("x", inner[0].value.list[0].value.s);
    CHECK_NEAR(2.5, inner[0].value.list[1].value.f, 0);
    CHECK_INT(1, inner[0].value.list[2].value.list[0].value.i);
    free(copy);
}

static void bad_dictionaries_are_named(void)
{
    const accel_item_t null_key[] = {accel_item_int(NULL, 1), accel_item_end()};

    CHECK_STATUS(ACCEL_ERR_INVALID, accel__dict_check(null_key, "config"));
    CHECK_ERROR("config: the key of item 0 is NULL");
    CHECK_STATUS(ACCEL_ERR_INVALID,
                 accel__dict_check(ACCEL_DICT("a", ACCEL_DICT("b", "\xff\xfe")), "config"));
    CHECK_ERROR("the text of 'b' is not UTF-8");
    CHECK_OK(accel__dict_check(ACCEL_DICT("ключ", "値"), "config"));
    CHECK_OK(accel__dict_check(NULL, "config"));
}

static void nearest_name(void)
{
    static const char *const names[] = {"entity", "project", "name", "id"};

    CHECK_STR("entity", accel__nearest("entty", names, 4));
    CHECK_STR("project", accel__nearest("porject", names, 4));
    CHECK(accel__nearest("zebra", names, 4) == NULL);
}

static int messages;

static void sink_that_logs(void *context, accel_log_level_t level, const char *message)
{
    (void)context, (void)level, (void)message;
    messages++;
    accel__log(ACCEL_LOG_ERROR, "from within the sink");
}

static void a_sink_may_cause_a_message(void)
{
    accel_set_log_callback(sink_that_logs, NULL);
    accel__log(ACCEL_LOG_ERROR, "first");
    accel__log(ACCEL_LOG_DEBUG, "dropped");
    accel_set_log_callback(NULL, NULL);
    CHECK_INT(1, messages);
}

static void half_floats_round_trip(void)
{
    for (uint32_t half = 0; half < 0x10000; half++) {
        bool f16_nan = (half & 0x7c00) == 0x7c00 && (half & 0x3ff);
        bool bf16_nan = (half & 0x7f80) == 0x7f80 && (half & 0x7f);

        if (!f16_nan)
            CHECK_INT(half, accel__f32_to_f16(accel__f16_to_f32((uint16_t)half)));
        if (!bf16_nan)
            CHECK_INT(half, accel__f32_to_bf16(accel__bf16_to_f32((uint16_t)half)));
    }
    CHECK_INT(0x7c00, accel__f32_to_f16(65520.0f));
    CHECK_INT(0x7bff, accel__f32_to_f16(65519.0f));
    CHECK_INT(0x0001, accel__f32_to_f16(0x1p-24f));
    CHECK_INT(0x0000, accel__f32_to_f16(0x1p-25f)); /* a tie, to even */
    CHECK_INT(0x3c00, accel__f32_to_f16(1.0f + 0x1p-11f));
    CHECK_INT(0x3f80, accel__f32_to_bf16(1.0f + 0x1p-8f));
    CHECK(isnan(accel__f16_to_f32(accel__f32_to_f16(NAN))));
    CHECK(isnan(accel__bf16_to_f32(accel__f32_to_bf16(NAN))));
}

enum { HALVES = 0x10000 + 3 }; /* every half, and a rest that is no vector */

typedef struct halves {
    float wide[2][HALVES], sums[2][HALVES];
    uint16_t narrow[2][HALVES];
} halves_t;

/* The mean with a number beside, of as many; those that are none need not be the same none. */
static void add_all(const accel__half_kernels_t *kernels, const uint16_t *half, uint32_t beside,
                    float sums[2][HALVES])
{
    for (int which = 0; which < 2; which++) {
        for (uint32_t i = 0; i < HALVES; i++)
            sums[which][i] = (float)beside;
        (which == 0 ? kernels->add_bf16 : kernels->add_f16)(sums[which], half, HALVES);
        kernels->divide(sums[which], (int32_t)beside + 2, HALVES);
        for (uint32_t i = 0; i < HALVES; i++)
            if (isnan(sums[which][i]))
                sums[which][i] = NAN;
    }
}

/* Numbers around each half: itself, the ties above and below, and what lies beside a tie; among
 * them all kinds of zeros, subnormals, infinities and NaNs. */
static void convert_all(const accel__half_kernels_t *kernels, uint32_t beside, halves_t *found)
{
    static uint16_t half[HALVES];
    static float wide[2][HALVES];

    for (uint32_t i = 0; i < HALVES; i++)
        half[i] = (uint16_t)i;
    kernels->bf16_to_f32(found->wide[0], half, HALVES);
    kernels->f16_to_f32(found->wide[1], half, HALVES);
    for (uint32_t i = 0; i < HALVES; i++)
        for (int which = 0; which < 2; which++) {
            uint32_t bits;

            memcpy(&bits, &found->wide[which][i], sizeof(bits));
            bits += beside;
            memcpy(&wide[which][i], &bits, sizeof(bits));
        }
    kernels->f32_to_bf16(found->narrow[0], wide[0], HALVES);
    kernels->f32_to_f16(found->narrow[1], wide[1], HALVES);
    add_all(kernels, half, beside, found->sums);
}

static void conversions_agree_to_the_bit(void)
{
    static const uint32_t besides[] = {0, 1, 0xfff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001};
    static halves_t plain, other;

    for (size_t b = 0; b < sizeof(besides) / sizeof(*besides); b++) {
        convert_all(accel__half_kernels(ACCEL__ISA_PLAIN), besides[b], &plain);
        for (uint32_t i = 0; b == 0 && i < 0x10000; i++) {
            float one = accel__f16_to_f32((uint16_t)i), all = plain.wide[1][i];

            CHECK(memcmp(&one, &all, sizeof(one)) == 0);
            if (!isnan(one))
                CHECK(one / 2 == plain.sums[1][i]);
        }
        for (accel__isa_t isa = ACCEL__ISA_AVX2; isa <= accel__isa_best(); isa++) {
            memset(&other, 0xee, sizeof(other));
            convert_all(accel__half_kernels(isa), besides[b], &other);
            CHECK(memcmp(&plain, &other, sizeof(plain)) == 0);
        }
    }
}

TEST_MAIN(TEST(errors_quote_themselves_on_one_line), TEST(numbers_are_parsed_whole_or_refused),
          TEST(options_of_other_versions), TEST(dictionaries_are_copied_deep),
          TEST(bad_dictionaries_are_named), TEST(nearest_name), TEST(half_floats_round_trip),
          TEST(conversions_agree_to_the_bit), TEST(a_sink_may_cause_a_message))
