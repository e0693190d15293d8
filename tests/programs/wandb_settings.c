/* SPDX-License-Identifier: Apache-2.0 */
/* The settings that a run has, for the judge wandb_settings.py:
 *     program-wandb_settings JSON
 * JSON is an object of wandb.init's arguments. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include <accel/accel.h>
#include <accel/wandb.h>

static accel_item_t *items_of(json_t *object);

static accel_item_t item_of(const char *key, json_t *value)
{
    accel_list_t list = {.items = NULL};
    switch (json_typeof(value)) {
    case JSON_TRUE:
    case JSON_FALSE:
        return accel_item_bool(key, json_is_true(value));
    case JSON_INTEGER:
        return accel_item_int(key, json_integer_value(value));
    case JSON_REAL:
        return accel_item_float(key, json_real_value(value));
    case JSON_STRING:
        return accel_item_string(key, json_string_value(value));
    case JSON_OBJECT:
        return accel_item_dict(key, items_of(value));
    case JSON_ARRAY:
        list.items = items_of(value);
        return accel_item_list(key, &list);
    default:
        return accel_item_null(key, NULL);
    }
}

/* Not freed: the program ends soon. */
static accel_item_t *items_of(json_t *object)
{
    size_t size = json_is_array(object) ? json_array_size(object) : json_object_size(object);
    accel_item_t *items = calloc(size + 1, sizeof(*items));
    size_t count = 0, index;
    const char *key;
    json_t *value;
    if (!items)
        exit(1);
    json_array_foreach(object, index, value) items[count++] = item_of("", value);
    json_object_foreach(object, key, value) items[count++] = item_of(key, value);
    items[count] = accel_item_end();
    return items;
}

int main(int argc, char **argv)
{
    json_t *arguments = argc == 2 ? json_loads(argv[1], 0, NULL) : NULL;
    accel_wandb_run_t *run;
    if (!arguments)
        return 2;
    json_object_set_new(arguments, "mode", json_string("disabled"));
    ACCEL_CHECK(accel_wandb_init(items_of(arguments), &run));
    printf("%s\n", accel_wandb_run_settings(run));
    ACCEL_CHECK(accel_wandb_run_finish(run, 0));
    json_decref(arguments);
    return 0;
}
