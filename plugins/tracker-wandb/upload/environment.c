/* SPDX-License-Identifier: Apache-2.0 */
/* The environment's message as JSON, by the rules of protobuf: names in camel case, 64-bit numbers
 * as strings, times as RFC 3339; with the names that W&B gives some members. */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "bucket.h"

static void put_name(accel__wandb_text_t *json, const char *name)
{
    static const char *const kept[] = {"cpu_count", "cpu_count_logical", "gpu_count", "gpu_nvidia",
                                       "gpu_amd"};
    static const struct {
        const char *from, *to;
    } renamed[] = {{"gpu_type", "gpu"}, {"remote_url", "remote"}};
    for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++) {
        if (!strcmp(name, kept[i])) {
            accel__wandb_json_string(json, name);
            return;
        }
    }
    for (size_t i = 0; i < sizeof(renamed) / sizeof(*renamed); i++) {
        if (!strcmp(name, renamed[i].from))
            name = renamed[i].to;
    }
    accel__wandb_text_puts(json, "\"");
    for (bool upper = false; *name; name++) {
        char letter = (char)(upper && *name >= 'a' && *name <= 'z' ? *name - 'a' + 'A' : *name);
        upper = *name == '_';
        if (!upper)
            accel__wandb_text_append(json, &letter, 1);
    }
    accel__wandb_text_puts(json, "\"");
}

/* As many digits of the second as it takes, in threes. */
static void put_time(accel__wandb_text_t *json, const Wandb__Timestamp *time)
{
    time_t seconds = (time_t)time->seconds;
    struct tm utc;
    char text[40] = "", fraction[16] = "";
    if (gmtime_r(&seconds, &utc))
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    if (time->nanos % 1000)
        snprintf(fraction, sizeof(fraction), ".%09d", time->nanos);
    else if (time->nanos % 1000000)
        snprintf(fraction, sizeof(fraction), ".%06d", time->nanos / 1000);
    else if (time->nanos)
        snprintf(fraction, sizeof(fraction), ".%03d", time->nanos / 1000000);
    accel__wandb_text_printf(json, "\"%s%sZ\"", text, fraction);
}

static void put_message(accel__wandb_text_t *json, const ProtobufCMessage *message);

/* One value; `value` points to it. False: it is unset, and nothing was written. */
static bool put_value(accel__wandb_text_t *json, const ProtobufCFieldDescriptor *field,
                      const void *value, bool even_unset)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(const char *const *)value;
        if (!even_unset && (!text || !*text))
            return false;
        accel__wandb_json_string(json, text ? text : "");
        return true;
    }
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *inner = *(const ProtobufCMessage *const *)value;
        if (!inner)
            return false;
        if (inner->descriptor == &wandb__timestamp__descriptor)
            put_time(json, (const Wandb__Timestamp *)inner);
        else
            put_message(json, inner);
        return true;
    }
    case PROTOBUF_C_TYPE_UINT32:
        if (!even_unset && !*(const uint32_t *)value)
            return false;
        accel__wandb_text_printf(json, "%" PRIu32, *(const uint32_t *)value);
        return true;
    case PROTOBUF_C_TYPE_UINT64:
        if (!even_unset && !*(const uint64_t *)value)
            return false;
        accel__wandb_text_printf(json, "\"%" PRIu64 "\"", *(const uint64_t *)value);
        return true;
    case PROTOBUF_C_TYPE_BOOL:
        if (!even_unset && !*(const protobuf_c_boolean *)value)
            return false;
        accel__wandb_text_puts(json, *(const protobuf_c_boolean *)value ? "true" : "false");
        return true;
    default:
        return false;
    }
}

/* The entries of a map are messages of a key and a value. */
static bool is_map(const ProtobufCFieldDescriptor *field)
{
    const ProtobufCMessageDescriptor *inner = field->descriptor;
    return field->type == PROTOBUF_C_TYPE_MESSAGE && inner->n_fields == 2 &&
           !strcmp(inner->fields[0].name, "key") && !strcmp(inner->fields[1].name, "value");
}

static void put_map(accel__wandb_text_t *json, ProtobufCMessage *const *entries, size_t count)
{
    accel__wandb_text_puts(json, "{");
    for (size_t i = 0; i < count; i++) {
        const ProtobufCFieldDescriptor *fields = entries[i]->descriptor->fields;
        const char *base = (const char *)entries[i];
        accel__wandb_text_puts(json, i ? "," : "");
        (void)put_value(json, &fields[0], base + fields[0].offset, true);
        accel__wandb_text_puts(json, ":");
        if (!put_value(json, &fields[1], base + fields[1].offset, true))
            accel__wandb_text_puts(json, "{}");
    }
    accel__wandb_text_puts(json, "}");
}

static void put_list(accel__wandb_text_t *json, const ProtobufCFieldDescriptor *field,
                     const void *const *values, size_t count)
{
    accel__wandb_text_puts(json, "[");
    for (size_t i = 0; i < count; i++) {
        accel__wandb_text_puts(json, i ? "," : "");
        (void)put_value(json, field, &values[i], true);
    }
    accel__wandb_text_puts(json, "]");
}

static void put_field(accel__wandb_text_t *json, const ProtobufCFieldDescriptor *field,
                      const char *message, bool *any)
{
    size_t before = json->length;
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    size_t count = repeated ? *(const size_t *)(message + field->quantifier_offset) : 0;
    const void *values = message + field->offset;
    if (repeated && !count)
        return;
    accel__wandb_text_puts(json, *any ? "," : "");
    put_name(json, field->name);
    accel__wandb_text_puts(json, ":");
    bool written = true;
    if (repeated && is_map(field))
        put_map(json, *(ProtobufCMessage *const *const *)values, count);
    else if (repeated)
        put_list(json, field, *(const void *const *const *)values, count);
    else
        written = put_value(json, field, values, false);
    if (!written && !json->failed)
        json->data[json->length = before] = '\0';
    *any = *any || written;
}

static void put_message(accel__wandb_text_t *json, const ProtobufCMessage *message)
{
    bool any = false;
    accel__wandb_text_puts(json, "{");
    for (unsigned i = 0; i < message->descriptor->n_fields; i++)
        put_field(json, &message->descriptor->fields[i], (const char *)message, &any);
    accel__wandb_text_puts(json, "}");
}

bool accel__wandb_environment_json(const accel__wandb_text_t *message, accel__wandb_text_t *json)
{
    ProtobufCMessage *unpacked =
        protobuf_c_message_unpack(&wandb__environment_record__descriptor, NULL, message->length,
                                  (const uint8_t *)message->data);
    if (!unpacked)
        return false;
    put_message(json, unpacked);
    protobuf_c_message_free_unpacked(unpacked, NULL);
    return !json->failed;
}
