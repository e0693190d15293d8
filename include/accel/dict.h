/* SPDX-License-Identifier: Apache-2.0 */
/* Dictionaries and lists: configurations, logged values, keyword arguments.
 *
 * A dictionary is a `const accel_item_t *`, an array ended by an item of type
 * ACCEL_TYPE_END; NULL is the empty dictionary. The macros build one in place:
 *
 *     ACCEL_DICT("lr", 1e-2, "layers", 4, "tags", ACCEL_LIST("a", "b"),
 *                "model", ACCEL_DICT("width", 64))
 *
 * At most 32 pairs (or list elements) a level; an odd count, or a value of a type that
 * is not in the table below, does not compile. A dictionary lives as long as the
 * enclosing block in C, and as the full expression in C++; whoever receives one copies
 * what it keeps. `true` is an int in C17: write ACCEL_TRUE for a boolean.
 *
 * Without the macros: fill an array with the accel_item_*() functions. */
#ifndef ACCEL_DICT_H
#define ACCEL_DICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum accel_type {
    ACCEL_TYPE_END = 0, /* ends a dictionary or list */
    ACCEL_TYPE_NULL = 1,
    ACCEL_TYPE_BOOL = 2,
    ACCEL_TYPE_INT = 3,
    ACCEL_TYPE_UINT = 4,
    ACCEL_TYPE_FLOAT = 5,
    ACCEL_TYPE_STRING = 6, /* UTF-8 */
    ACCEL_TYPE_DICT = 7,
    ACCEL_TYPE_LIST = 8,
    ACCEL_TYPE_MEDIA = 9 /* an image, a table, ...: in rows that are logged only */
} accel_type_t;

typedef struct accel_item accel_item_t;

/* An image, a histogram, a table, ...: <accel/media.h>. */
typedef struct accel_media accel_media_t;

/* A list: items whose keys are "" and which end as a dictionary does. */
typedef struct accel_list {
    const accel_item_t *items;
} accel_list_t;

/* One pair. A NULL key with a real type is an error, not an end. */
struct accel_item {
    const char *key;
    accel_type_t type;
    union {
        bool b;
        int64_t i;
        uint64_t u;
        double f;
        const char *s;
        const accel_item_t *dict; /* NULL: empty */
        const accel_item_t *list; /* NULL: empty */
        const accel_media_t *media;
    } value;
};

static inline accel_item_t accel_item_end(void)
{
    accel_item_t item;
    item.key = NULL;
    item.type = ACCEL_TYPE_END;
    item.value.u = 0;
    return item;
}

static inline accel_item_t accel_item_null(const char *key, const void *ignored)
{
    accel_item_t item = accel_item_end();
    (void)ignored;
    item.key = key;
    item.type = ACCEL_TYPE_NULL;
    return item;
}

static inline accel_item_t accel_item_bool(const char *key, bool value)
{
    accel_item_t item = accel_item_end();
    item.key = key;
    item.type = ACCEL_TYPE_BOOL;
    item.value.b = value;
    return item;
}

static inline accel_item_t accel_item_int(const char *key, int64_t value)
{
    accel_item_t item = accel_item_end();
    item.key = key;
    item.type = ACCEL_TYPE_INT;
    item.value.i = value;
    return item;
}

static inline accel_item_t accel_item_uint(const char *key, uint64_t value)
{
    accel_item_t item = accel_item_end();
    item.key = key;
    item.type = ACCEL_TYPE_UINT;
    item.value.u = value;
    return item;
}

static inline accel_item_t accel_item_float(const char *key, double value)
{
    accel_item_t item = accel_item_end();
    item.key = key;
    item.type = ACCEL_TYPE_FLOAT;
    item.value.f = value;
    return item;
}

/* NULL is the null value. */
static inline accel_item_t accel_item_string(const char *key, const char *value)
{
    accel_item_t item = accel_item_end();
    item.key = key;
    item.type = value ? ACCEL_TYPE_STRING : ACCEL_TYPE_NULL;
    item.value.s = value;
    return item;
}

static inline accel_item_t accel_item_dict(const char *key, const accel_item_t *value)
{
    accel_item_t item = accel_item_end();
    item.key = key;
    item.type = ACCEL_TYPE_DICT;
    item.value.dict = value;
    return item;
}

static inline accel_item_t accel_item_list(const char *key, const accel_list_t *value)
{
    accel_item_t item = accel_item_end();
    item.key = key;
    item.type = ACCEL_TYPE_LIST;
    item.value.list = value ? value->items : NULL;
    return item;
}

/* NULL is the null value. */
static inline accel_item_t accel_item_media(const char *key, const accel_media_t *value)
{
    accel_item_t item = accel_item_end();
    item.key = key;
    item.type = value ? ACCEL_TYPE_MEDIA : ACCEL_TYPE_NULL;
    item.value.media = value;
    return item;
}

#ifdef __cplusplus
} /* extern "C" */
#endif

#define ACCEL_TRUE ((bool)1)
#define ACCEL_FALSE ((bool)0)

#ifdef __cplusplus
namespace accel
{
namespace detail
{
inline accel_item_t item(const char *key, bool value) { return accel_item_bool(key, value); }
inline accel_item_t item(const char *key, int value) { return accel_item_int(key, value); }
inline accel_item_t item(const char *key, long value) { return accel_item_int(key, value); }
inline accel_item_t item(const char *key, long long value) { return accel_item_int(key, value); }
inline accel_item_t item(const char *key, unsigned char value)
{
    return accel_item_uint(key, value);
}
inline accel_item_t item(const char *key, unsigned short value)
{
    return accel_item_uint(key, value);
}
inline accel_item_t item(const char *key, unsigned value) { return accel_item_uint(key, value); }
inline accel_item_t item(const char *key, unsigned long value)
{
    return accel_item_uint(key, value);
}
inline accel_item_t item(const char *key, unsigned long long value)
{
    return accel_item_uint(key, value);
}
inline accel_item_t item(const char *key, double value) { return accel_item_float(key, value); }
inline accel_item_t item(const char *key, const char *value)
{
    return accel_item_string(key, value);
}
inline accel_item_t item(const char *key, const accel_item_t *value)
{
    return accel_item_dict(key, value);
}
inline accel_item_t item(const char *key, const accel_list_t *value)
{
    return accel_item_list(key, value);
}
inline accel_item_t item(const char *key, const accel_media_t *value)
{
    return accel_item_media(key, value);
}
inline accel_item_t item(const char *key, decltype(nullptr))
{
    return accel_item_null(key, nullptr);
}
inline accel_item_t item(const char *key, void *) { return accel_item_null(key, nullptr); }
inline accel_item_t item(const char *key, char *value) { return accel_item_string(key, value); }
inline accel_item_t item(const char *key, accel_item_t *value)
{
    return accel_item_dict(key, value);
}
inline accel_item_t item(const char *key, accel_list_t *value)
{
    return accel_item_list(key, value);
}
inline accel_item_t item(const char *key, accel_media_t *value)
{
    return accel_item_media(key, value);
}
/* Any other pointer would become a bool. */
template <typename Other> accel_item_t item(const char *key, Other *value) = delete;

template <size_t Pairs> struct dict {
    accel_item_t items[Pairs + 1];

    operator const accel_item_t *() const { return items; }
};

template <size_t Count> struct list {
    accel_item_t items[Count + 1];
    accel_list_t view;

    operator const accel_list_t *() const { return &view; }
};

template <size_t Pairs> accel_item_t item(const char *key, const dict<Pairs> &value)
{
    return accel_item_dict(key, value.items);
}
template <size_t Count> accel_item_t item(const char *key, const list<Count> &value)
{
    return accel_item_list(key, &value.view);
}

inline void fill(accel_item_t *at) { *at = accel_item_end(); }
template <typename Value, typename... Rest>
void fill(accel_item_t *at, const char *key, const Value &value, const Rest &...rest)
{
    *at = item(key, value);
    fill(at + 1, rest...);
}
inline void fill_list(accel_item_t *at) { *at = accel_item_end(); }
template <typename Value, typename... Rest>
void fill_list(accel_item_t *at, const Value &value, const Rest &...rest)
{
    *at = item("", value);
    fill_list(at + 1, rest...);
}

template <typename... Values> struct dict_of : dict<sizeof...(Values) / 2> {
    static_assert(sizeof...(Values) % 2 == 0, "ACCEL_DICT takes pairs: key, value, ...");
    explicit dict_of(const Values &...values) { fill(this->items, values...); }
};
template <typename... Values> struct list_of : list<sizeof...(Values)> {
    explicit list_of(const Values &...values)
    {
        fill_list(this->items, values...);
        this->view.items = this->items;
    }
    list_of(const list_of &) = delete; /* `view` points into this very object */
    list_of &operator=(const list_of &) = delete;
};

/* Functions, because `list_of(x)` of another list x would be that list and not a list of it. */
template <typename... Values> dict_of<Values...> make_dict(const Values &...values)
{
    return dict_of<Values...>(values...);
}
template <typename... Values> list_of<Values...> make_list(const Values &...values)
{
    return list_of<Values...>(values...);
}
} // namespace detail
} // namespace accel

#define ACCEL_DICT(...) (accel::detail::make_dict(__VA_ARGS__))
#define ACCEL_LIST(...) (accel::detail::make_list(__VA_ARGS__))
#else
#define ACCEL_DICT(...) \
    ((const accel_item_t[]){ACCEL__JOIN(ACCEL__D, ACCEL__COUNT(__VA_ARGS__))(__VA_ARGS__), \
                            accel_item_end()})
#define ACCEL_LIST(...) \
    ((const accel_list_t[]){{(const accel_item_t[]){ \
        ACCEL__JOIN(ACCEL__L, ACCEL__COUNT(__VA_ARGS__))(__VA_ARGS__), accel_item_end()}}})

/* The value's type selects a constructor, which is then called: `v` is evaluated once.
 * The outer parentheses of ACCEL_DICT hide its commas from an enclosing ACCEL_DICT. */
#define accel__item(k, v)                                                        \
    _Generic((v), bool: accel_item_bool, char: accel_item_int,                   \
             signed char: accel_item_int, short: accel_item_int,                 \
             int: accel_item_int, long: accel_item_int,                          \
             long long: accel_item_int, unsigned char: accel_item_uint,          \
             unsigned short: accel_item_uint, unsigned: accel_item_uint,         \
             unsigned long: accel_item_uint, unsigned long long: accel_item_uint, \
             float: accel_item_float, double: accel_item_float,                  \
             char *: accel_item_string, const char *: accel_item_string,         \
             const accel_item_t *: accel_item_dict, accel_item_t *: accel_item_dict, \
             const accel_list_t *: accel_item_list, accel_list_t *: accel_item_list, \
             const accel_media_t *: accel_item_media, accel_media_t *: accel_item_media, \
             void *: accel_item_null)(k, v)

#define ACCEL__JOIN(a, b) ACCEL__JOIN_EXPANDED(a, b)
#define ACCEL__JOIN_EXPANDED(a, b) a##b
/* clang-format off */
#define ACCEL__COUNT(...) ACCEL__PICK(__VA_ARGS__, \
    64, 63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, \
    48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36, 35, 34, 33, \
    32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, \
    16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define ACCEL__PICK( \
    a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, \
    a17, a18, a19, a20, a21, a22, a23, a24, a25, a26, a27, a28, a29, a30, a31, a32, \
    a33, a34, a35, a36, a37, a38, a39, a40, a41, a42, a43, a44, a45, a46, a47, a48, \
    a49, a50, a51, a52, a53, a54, a55, a56, a57, a58, a59, a60, a61, a62, a63, a64, \
    n, ...) n
#define ACCEL__D2(k, v) accel__item(k, v)
#define ACCEL__D4(k, v, ...) accel__item(k, v), ACCEL__D2(__VA_ARGS__)
#define ACCEL__D6(k, v, ...) accel__item(k, v), ACCEL__D4(__VA_ARGS__)
#define ACCEL__D8(k, v, ...) accel__item(k, v), ACCEL__D6(__VA_ARGS__)
#define ACCEL__D10(k, v, ...) accel__item(k, v), ACCEL__D8(__VA_ARGS__)
#define ACCEL__D12(k, v, ...) accel__item(k, v), ACCEL__D10(__VA_ARGS__)
#define ACCEL__D14(k, v, ...) accel__item(k, v), ACCEL__D12(__VA_ARGS__)
#define ACCEL__D16(k, v, ...) accel__item(k, v), ACCEL__D14(__VA_ARGS__)
#define ACCEL__D18(k, v, ...) accel__item(k, v), ACCEL__D16(__VA_ARGS__)
#define ACCEL__D20(k, v, ...) accel__item(k, v), ACCEL__D18(__VA_ARGS__)
#define ACCEL__D22(k, v, ...) accel__item(k, v), ACCEL__D20(__VA_ARGS__)
#define ACCEL__D24(k, v, ...) accel__item(k, v), ACCEL__D22(__VA_ARGS__)
#define ACCEL__D26(k, v, ...) accel__item(k, v), ACCEL__D24(__VA_ARGS__)
#define ACCEL__D28(k, v, ...) accel__item(k, v), ACCEL__D26(__VA_ARGS__)
#define ACCEL__D30(k, v, ...) accel__item(k, v), ACCEL__D28(__VA_ARGS__)
#define ACCEL__D32(k, v, ...) accel__item(k, v), ACCEL__D30(__VA_ARGS__)
#define ACCEL__D34(k, v, ...) accel__item(k, v), ACCEL__D32(__VA_ARGS__)
#define ACCEL__D36(k, v, ...) accel__item(k, v), ACCEL__D34(__VA_ARGS__)
#define ACCEL__D38(k, v, ...) accel__item(k, v), ACCEL__D36(__VA_ARGS__)
#define ACCEL__D40(k, v, ...) accel__item(k, v), ACCEL__D38(__VA_ARGS__)
#define ACCEL__D42(k, v, ...) accel__item(k, v), ACCEL__D40(__VA_ARGS__)
#define ACCEL__D44(k, v, ...) accel__item(k, v), ACCEL__D42(__VA_ARGS__)
#define ACCEL__D46(k, v, ...) accel__item(k, v), ACCEL__D44(__VA_ARGS__)
#define ACCEL__D48(k, v, ...) accel__item(k, v), ACCEL__D46(__VA_ARGS__)
#define ACCEL__D50(k, v, ...) accel__item(k, v), ACCEL__D48(__VA_ARGS__)
#define ACCEL__D52(k, v, ...) accel__item(k, v), ACCEL__D50(__VA_ARGS__)
#define ACCEL__D54(k, v, ...) accel__item(k, v), ACCEL__D52(__VA_ARGS__)
#define ACCEL__D56(k, v, ...) accel__item(k, v), ACCEL__D54(__VA_ARGS__)
#define ACCEL__D58(k, v, ...) accel__item(k, v), ACCEL__D56(__VA_ARGS__)
#define ACCEL__D60(k, v, ...) accel__item(k, v), ACCEL__D58(__VA_ARGS__)
#define ACCEL__D62(k, v, ...) accel__item(k, v), ACCEL__D60(__VA_ARGS__)
#define ACCEL__D64(k, v, ...) accel__item(k, v), ACCEL__D62(__VA_ARGS__)
#define ACCEL__L1(v) accel__item("", v)
#define ACCEL__L2(v, ...) accel__item("", v), ACCEL__L1(__VA_ARGS__)
#define ACCEL__L3(v, ...) accel__item("", v), ACCEL__L2(__VA_ARGS__)
#define ACCEL__L4(v, ...) accel__item("", v), ACCEL__L3(__VA_ARGS__)
#define ACCEL__L5(v, ...) accel__item("", v), ACCEL__L4(__VA_ARGS__)
#define ACCEL__L6(v, ...) accel__item("", v), ACCEL__L5(__VA_ARGS__)
#define ACCEL__L7(v, ...) accel__item("", v), ACCEL__L6(__VA_ARGS__)
#define ACCEL__L8(v, ...) accel__item("", v), ACCEL__L7(__VA_ARGS__)
#define ACCEL__L9(v, ...) accel__item("", v), ACCEL__L8(__VA_ARGS__)
#define ACCEL__L10(v, ...) accel__item("", v), ACCEL__L9(__VA_ARGS__)
#define ACCEL__L11(v, ...) accel__item("", v), ACCEL__L10(__VA_ARGS__)
#define ACCEL__L12(v, ...) accel__item("", v), ACCEL__L11(__VA_ARGS__)
#define ACCEL__L13(v, ...) accel__item("", v), ACCEL__L12(__VA_ARGS__)
#define ACCEL__L14(v, ...) accel__item("", v), ACCEL__L13(__VA_ARGS__)
#define ACCEL__L15(v, ...) accel__item("", v), ACCEL__L14(__VA_ARGS__)
#define ACCEL__L16(v, ...) accel__item("", v), ACCEL__L15(__VA_ARGS__)
#define ACCEL__L17(v, ...) accel__item("", v), ACCEL__L16(__VA_ARGS__)
#define ACCEL__L18(v, ...) accel__item("", v), ACCEL__L17(__VA_ARGS__)
#define ACCEL__L19(v, ...) accel__item("", v), ACCEL__L18(__VA_ARGS__)
#define ACCEL__L20(v, ...) accel__item("", v), ACCEL__L19(__VA_ARGS__)
#define ACCEL__L21(v, ...) accel__item("", v), ACCEL__L20(__VA_ARGS__)
#define ACCEL__L22(v, ...) accel__item("", v), ACCEL__L21(__VA_ARGS__)
#define ACCEL__L23(v, ...) accel__item("", v), ACCEL__L22(__VA_ARGS__)
#define ACCEL__L24(v, ...) accel__item("", v), ACCEL__L23(__VA_ARGS__)
#define ACCEL__L25(v, ...) accel__item("", v), ACCEL__L24(__VA_ARGS__)
#define ACCEL__L26(v, ...) accel__item("", v), ACCEL__L25(__VA_ARGS__)
#define ACCEL__L27(v, ...) accel__item("", v), ACCEL__L26(__VA_ARGS__)
#define ACCEL__L28(v, ...) accel__item("", v), ACCEL__L27(__VA_ARGS__)
#define ACCEL__L29(v, ...) accel__item("", v), ACCEL__L28(__VA_ARGS__)
#define ACCEL__L30(v, ...) accel__item("", v), ACCEL__L29(__VA_ARGS__)
#define ACCEL__L31(v, ...) accel__item("", v), ACCEL__L30(__VA_ARGS__)
#define ACCEL__L32(v, ...) accel__item("", v), ACCEL__L31(__VA_ARGS__)
/* clang-format on */
#endif

#endif
