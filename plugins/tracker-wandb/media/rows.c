/* SPDX-License-Identifier: Apache-2.0 */
/* From a row with media to one that holds what stock puts in their place. */
#include <stdlib.h>
#include <string.h>

#include "media.h"

enum { MAX_IMAGES = 108 }; /* of a list, as stock */

typedef struct {
    accel__wandb_run_t *run;
    accel__wandb_arena_t *arena;
    accel_status_t failure; /* the first */
} resolver_t;

static bool has_media(const accel_item_t *items)
{
    for (; items && items->type != ACCEL_TYPE_END; items++) {
        if (items->type == ACCEL_TYPE_MEDIA ||
            (items->type == ACCEL_TYPE_DICT && has_media(items->value.dict)) ||
            (items->type == ACCEL_TYPE_LIST && has_media(items->value.list)))
            return true;
    }
    return false;
}

static size_t count_items(const accel_item_t *items)
{
    size_t count = 0;
    while (items && items[count].type != ACCEL_TYPE_END)
        count++;
    return count;
}

static const accel_media_view_t *view_of(const accel_item_t *item)
{
    return accel__wandb_host()->media_view(item->value.media);
}

/* ---- building ---- */

/* A dictionary or list of at most `capacity` items. */
typedef struct {
    accel_item_t *items;
    size_t count, capacity;
} builder_t;

static builder_t build(resolver_t *resolver, size_t capacity)
{
    builder_t builder = {
        .items = accel__wandb_arena_take(resolver->arena, (capacity + 1) * sizeof(accel_item_t))};
    if (builder.items) {
        builder.items[0] = accel_item_end();
        builder.capacity = capacity;
    }
    return builder;
}

static void add(builder_t *builder, accel_item_t item)
{
    if (builder->count == builder->capacity)
        return;
    builder->items[builder->count++] = item;
    builder->items[builder->count] = accel_item_end();
}

static accel_item_t list_item(const char *key, const builder_t *builder)
{
    const accel_list_t list = {builder->items};
    return accel_item_list(key, &list);
}

/* ---- single objects ---- */

static const accel_item_t *file_dict(resolver_t *resolver, const char *key,
                                     const accel_media_view_t *media)
{
    accel__wandb_text_t bytes = {0};
    accel__wandb_file_t file;
    builder_t dict = build(resolver, 8);
    accel_status_t status = accel__wandb_media_encode(media, &bytes, &file);
    if (!status)
        status = accel__wandb_media_write(resolver->run, resolver->arena, key, &file);
    accel__wandb_text_free(&bytes);
    if (status) {
        resolver->failure = resolver->failure ? resolver->failure : status;
        return NULL;
    }
    if (media->caption)
        add(&dict, accel_item_string("caption", media->caption));
    add(&dict, accel_item_string("_type", accel__wandb_media_type(media->kind)));
    add(&dict, accel_item_string("sha256", accel__wandb_arena_copy(resolver->arena, file.sha256,
                                                                   strlen(file.sha256))));
    add(&dict, accel_item_int("size", (int64_t)file.size));
    add(&dict, accel_item_string("path", file.path));
    if (media->kind == ACCEL_MEDIA_IMAGE) {
        add(&dict, accel_item_string("format", "png"));
        add(&dict, accel_item_int("width", media->of.image.width));
        add(&dict, accel_item_int("height", media->of.image.height));
    }
    return dict.items;
}

static accel_item_t numbers(resolver_t *resolver, const char *key, const double *values,
                            int32_t count)
{
    builder_t list = build(resolver, (size_t)count);
    for (int32_t i = 0; i < count; i++)
        add(&list, accel_item_float("", values[i]));
    return list_item(key, &list);
}

static const accel_item_t *histogram_dict(resolver_t *resolver,
                                          const accel_histogram_view_t *histogram)
{
    builder_t dict = build(resolver, 3);
    add(&dict, accel_item_string("_type", "histogram"));
    add(&dict, numbers(resolver, "values", histogram->counts, histogram->num_bins));
    add(&dict, numbers(resolver, "bins", histogram->edges, histogram->num_bins + 1));
    return dict.items;
}

static const accel_item_t *object_dict(resolver_t *resolver, const char *key,
                                       const accel_media_view_t *media)
{
    const accel_item_t *dict = NULL;
    if (media->kind == ACCEL_MEDIA_HISTOGRAM)
        return histogram_dict(resolver, &media->of.histogram);
    if (media->kind != ACCEL_MEDIA_TABLE)
        return file_dict(resolver, key, media);
    accel_status_t status =
        accel__wandb_table_write(resolver->run, resolver->arena, key, &media->of.table, &dict);
    if (status && !resolver->failure)
        resolver->failure = status;
    return status ? NULL : dict;
}

/* ---- lists of one kind ---- */

/* Which kind all of them are, if it is one that stock batches; 0 otherwise. */
static int batch_kind(const accel_item_t *items)
{
    int kind = 0;
    for (; items && items->type != ACCEL_TYPE_END; items++) {
        if (items->type != ACCEL_TYPE_MEDIA)
            return 0;
        const accel_media_view_t *media = view_of(items);
        if (media->kind == ACCEL_MEDIA_HISTOGRAM || media->kind == ACCEL_MEDIA_TABLE ||
            (kind && kind != (int)media->kind))
            return 0;
        kind = (int)media->kind;
    }
    return kind;
}

static const char *member(const accel_item_t *dict, const char *key)
{
    for (; dict->type != ACCEL_TYPE_END; dict++) {
        if (!strcmp(dict->key, key))
            return dict->value.s;
    }
    return NULL;
}

/* Of images, if the first has one; of sounds, if any has one, and "" for those without. */
static void add_captions(resolver_t *resolver, builder_t *dict, const accel_item_t *items,
                         size_t count)
{
    bool images = view_of(items)->kind == ACCEL_MEDIA_IMAGE, wanted = false;
    builder_t captions = build(resolver, count);
    for (size_t i = 0; i < count; i++) {
        const char *caption = view_of(&items[i])->caption;
        wanted = wanted || (caption && (i == 0 || !images));
        add(&captions, accel_item_string("", caption || images ? caption : ""));
    }
    if (wanted)
        add(dict, list_item("captions", &captions));
}

static void add_images(resolver_t *resolver, builder_t *dict, const accel_item_t *items,
                       const builder_t *objects)
{
    const accel_image_view_t *first = &view_of(items)->of.image;
    builder_t filenames = build(resolver, objects->count);
    for (size_t i = 0; i < objects->count; i++)
        add(&filenames, accel_item_string("", member(objects->items[i].value.dict, "path")));
    add(dict, accel_item_string("_type", "images/separated"));
    add(dict, accel_item_int("width", first->width));
    add(dict, accel_item_int("height", first->height));
    add(dict, accel_item_string("format", "png"));
    add(dict, accel_item_int("count", (int64_t)objects->count));
    add(dict, list_item("filenames", &filenames));
}

static void add_sounds(resolver_t *resolver, builder_t *dict, const accel_item_t *items,
                       const builder_t *objects)
{
    builder_t rates = build(resolver, objects->count), durations = build(resolver, objects->count);
    for (size_t i = 0; i < objects->count; i++) {
        const accel_audio_view_t *audio = &view_of(&items[i])->of.audio;
        add(&rates, accel_item_int("", audio->sample_rate));
        add(&durations, accel_item_float("", (double)audio->frames / audio->sample_rate));
    }
    add(dict, accel_item_string("_type", "audio"));
    add(dict, accel_item_int("count", (int64_t)objects->count));
    add(dict, list_item("audio", objects));
    add(dict, list_item("sampleRates", &rates));
    add(dict, list_item("durations", &durations));
}

static const accel_item_t *batch_dict(resolver_t *resolver, const char *key,
                                      const accel_item_t *items, int kind)
{
    size_t count = count_items(items);
    if (kind == ACCEL_MEDIA_IMAGE && count > MAX_IMAGES) {
        accel__wandb_warn(&resolver->run->console, "Only %d Image will be uploaded.", MAX_IMAGES);
        count = MAX_IMAGES;
    }
    builder_t objects = build(resolver, count), dict = build(resolver, 8);
    for (size_t i = 0; i < count; i++) {
        const accel_item_t *object = file_dict(resolver, key, view_of(&items[i]));
        if (!object)
            return NULL;
        add(&objects, accel_item_dict("", object));
    }
    if (kind == ACCEL_MEDIA_IMAGE) {
        add_images(resolver, &dict, items, &objects);
    } else if (kind == ACCEL_MEDIA_AUDIO) {
        add_sounds(resolver, &dict, items, &objects);
    } else {
        add(&dict, accel_item_string("_type", "html"));
        add(&dict, accel_item_int("count", (int64_t)objects.count));
        add(&dict, list_item("html", &objects));
    }
    add_captions(resolver, &dict, items, count);
    return dict.items;
}

/* ---- rows ---- */

static const accel_item_t *resolve_items(resolver_t *resolver, const accel_item_t *items,
                                         const char *list_key);

/* The item that stands for this one; of type END if there is none. */
static accel_item_t resolve_item(resolver_t *resolver, const accel_item_t *item, const char *key)
{
    const accel_item_t *dict = NULL;
    int kind;
    if (item->type == ACCEL_TYPE_MEDIA) {
        dict = object_dict(resolver, key, view_of(item));
        return dict ? accel_item_dict(item->key, dict) : accel_item_end();
    }
    if (item->type == ACCEL_TYPE_DICT && has_media(item->value.dict))
        return accel_item_dict(item->key, resolve_items(resolver, item->value.dict, NULL));
    if (item->type != ACCEL_TYPE_LIST || !has_media(item->value.list))
        return *item;
    kind = batch_kind(item->value.list);
    if (kind) {
        dict = batch_dict(resolver, key, item->value.list, kind);
        return dict ? accel_item_dict(item->key, dict) : accel_item_end();
    }
    const accel_list_t list = {resolve_items(resolver, item->value.list, key)};
    return accel_item_list(item->key, &list);
}

/* Files have the name of the innermost key, and those of a list's items that of the list. */
static const accel_item_t *resolve_items(resolver_t *resolver, const accel_item_t *items,
                                         const char *list_key)
{
    builder_t made = build(resolver, count_items(items));
    for (; items->type != ACCEL_TYPE_END; items++) {
        accel_item_t item = resolve_item(resolver, items, list_key ? list_key : items->key);
        if (item.type != ACCEL_TYPE_END)
            add(&made, item);
    }
    return made.items;
}

accel_status_t accel__wandb_media_resolve(accel__wandb_run_t *run, accel__wandb_arena_t *arena,
                                          const accel_item_t **values)
{
    resolver_t resolver = {.run = run, .arena = arena};
    if (!has_media(*values))
        return ACCEL_OK;
    const accel_item_t *resolved = resolve_items(&resolver, *values, NULL);
    accel_status_t status = accel__wandb_commit(run);
    if (arena->failed)
        return accel__wandb_fail_memory();
    *values = resolved;
    return resolver.failure ? resolver.failure : status;
}
