/* SPDX-License-Identifier: Apache-2.0 */
/* netrc: machines and their passwords, among them the API keys. Other programs keep theirs in the
 * same file, so what is not ours is left as it stands, to the byte. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apikey.h"

#define WHITE " \t\r\n"
enum { LARGEST = 1 << 20 };

/* ---- reading ---- */

/* The next word: up to white space, or within quotes; a backslash keeps what follows it. Words
 * are unquoted in place. NULL at the end. */
static char *next_word(char **rest)
{
    char *at = *rest + strspn(*rest, WHITE), *word = at, *out = at;
    bool quoted = *at == '"';
    if (!*at)
        return NULL;
    if (quoted)
        at++;
    while (*at && (quoted ? *at != '"' : !strchr(WHITE, *at))) {
        if (*at == '\\' && at[1])
            at++;
        *out++ = *at++;
    }
    *rest = *at ? at + 1 : at;
    *out = '\0';
    return word;
}

/* Past a comment's line; past a macro, which a blank line ends. */
static void skip(char **rest, const char *end)
{
    char *found = strstr(*rest, end);
    *rest = found ? found + strlen(end) : *rest + strlen(*rest);
}

/* A file's text on its way: it is changed up to `rest`, and not beyond. */
typedef struct {
    char *rest;
    char *word, *begin; /* the keyword in hand, and where it begins; NULL at the end */
} netrc_t;

typedef struct {
    const char *name; /* of the machine; NULL: "default" */
    const char *password;
    char *begin, *end; /* the entry's place; `end` is behind its last word */
} entry_t;

static bool is_start(const char *word)
{
    return word && (!strcmp(word, "machine") || !strcmp(word, "default"));
}

static void advance(netrc_t *netrc)
{
    char **rest = &netrc->rest;
    for (*rest += strspn(*rest, WHITE); **rest == '#'; *rest += strspn(*rest, WHITE))
        skip(rest, "\n");
    netrc->begin = *rest;
    netrc->word = next_word(rest);
}

/* What belongs to the keyword in hand. */
static void take_keyword(netrc_t *netrc, entry_t *entry)
{
    const char *word = netrc->word;
    if (!strcmp(word, "macdef"))
        skip(&netrc->rest, "\n\n");
    else if (!strcmp(word, "password"))
        entry->password = next_word(&netrc->rest);
    else if (!strcmp(word, "login") || !strcmp(word, "user") || !strcmp(word, "account"))
        (void)next_word(&netrc->rest);
}

static netrc_t begin_entries(char *text)
{
    netrc_t netrc = {.rest = text};
    entry_t before;
    for (advance(&netrc); netrc.word && !is_start(netrc.word); advance(&netrc))
        take_keyword(&netrc, &before);
    return netrc;
}

static bool next_entry(netrc_t *netrc, entry_t *entry)
{
    if (!netrc->word)
        return false;
    *entry = (entry_t){.begin = netrc->begin};
    if (!strcmp(netrc->word, "machine"))
        entry->name = next_word(&netrc->rest);
    if (!entry->name && strcmp(netrc->word, "default") != 0)
        return false; /* the file ends with "machine" */
    for (;;) {
        entry->end = netrc->rest;
        advance(netrc);
        if (!netrc->word || is_start(netrc->word))
            return true;
        take_keyword(netrc, entry);
    }
}

/* Into `text`, which is changed. As with other readers of netrc, the last entry of a machine
 * counts, and "default" is for those that have none. */
static const char *find_password(char *text, const char *machine)
{
    const char *own = NULL, *fallback = NULL;
    netrc_t netrc = begin_entries(text);
    entry_t entry;
    while (next_entry(&netrc, &entry)) {
        if (!entry.name && entry.password)
            fallback = entry.password;
        else if (entry.name && !strcmp(entry.name, machine) && entry.password)
            own = entry.password;
    }
    return own ? own : fallback;
}

static void forget(char *secret, size_t size)
{
    if (secret)
        explicit_bzero(secret, size);
    free(secret);
}

char *accel__wandb_netrc_password(const char *path, const char *machine)
{
    char *data = accel__wandb_read_small(path, LARGEST);
    if (!data)
        return NULL;
    size_t size = strlen(data);
    const char *found = find_password(data, machine);
    char *password = found && *found ? strdup(found) : NULL;
    forget(data, size);
    return password;
}

char *accel__wandb_netrc_path(void)
{
    const char *given = accel__wandb_env("NETRC");
    if (given && !strncmp(given, "~/", 2))
        return accel__wandb_home_path(given + 2);
    if (given)
        return strdup(given);
    char *dotted = accel__wandb_home_path(".netrc"), *other = accel__wandb_home_path("_netrc");
    bool take_other = dotted && other && access(dotted, F_OK) < 0 && access(other, F_OK) == 0;
    free(take_other ? dotted : other);
    return take_other ? other : dotted;
}

/* ---- writing ---- */

static void put_entry(accel__wandb_text_t *text, const char *machine, const char *password)
{
    if (text->length && text->data[text->length - 1] != '\n')
        accel__wandb_text_puts(text, "\n");
    accel__wandb_text_printf(text, "machine %s\n  login user\n  password %s\n", machine, password);
}

/* Behind the entry, and its line's end if nothing else is on that line. */
static size_t end_of(const char *original, size_t end)
{
    if (end && original[end - 1] == '\n')
        return end;
    size_t blank = end + strspn(original + end, " \t\r");
    return original[blank] == '\n' ? blank + 1 : end;
}

/* The file's text with the machine's entry: where the old one stood, else before "default", behind
 * which some readers do not look, else at the end. */
static void replace_entry(accel__wandb_text_t *text, const char *original, char *scratch,
                          const char *machine, const char *password)
{
    netrc_t netrc = begin_entries(scratch);
    size_t copied = 0;
    bool put = text->length != 0;
    entry_t entry;
    while (next_entry(&netrc, &entry)) {
        size_t begin = (size_t)(entry.begin - scratch);
        bool ours = entry.name && !strcmp(entry.name, machine);
        if (!ours && entry.name)
            continue;
        accel__wandb_text_append(text, original + copied, begin - copied);
        if (!put)
            put_entry(text, machine, password);
        put = true;
        copied = ours ? end_of(original, (size_t)(entry.end - scratch)) : begin;
    }
    accel__wandb_text_puts(text, original + copied);
    if (!put)
        put_entry(text, machine, password);
}

static accel_status_t compose(accel__wandb_text_t *text, const char *original, const char *machine,
                              const char *password, bool *good)
{
    char *scratch = strdup(original);
    if (scratch)
        replace_entry(text, original, scratch, machine, password);
    forget(scratch, strlen(original));
    char *copy = scratch && !text->failed ? strdup(text->data) : NULL;
    const char *found = copy ? find_password(copy, machine) : NULL;
    *good = found && !strcmp(found, password);
    forget(copy, text->length);
    return copy ? ACCEL_OK : accel__wandb_fail_memory();
}

/* A file that breaks off within an entry, a quotation or a macro would take what comes behind it
 * for a part of that: then the entry comes first. */
static accel_status_t compose_readable(accel__wandb_text_t *text, const char *path,
                                       const char *original, const char *machine,
                                       const char *password)
{
    bool good = false;
    accel_status_t status = compose(text, original, machine, password, &good);
    if (!status && !good) {
        text->length = 0;
        put_entry(text, machine, password);
        status = compose(text, original, machine, password, &good);
    }
    if (status || good)
        return status;
    return accel__wandb_fail(ACCEL_ERR_FORMAT,
                             "wandb: %s is no netrc that can be added to: mend it, or move it away",
                             path);
}

accel_status_t accel__wandb_read_whole(const char *path, char **data)
{
    struct stat about;
    *data = NULL;
    if (stat(path, &about) < 0 && errno == ENOENT) {
        *data = strdup("");
        return *data ? ACCEL_OK : accel__wandb_fail_memory();
    }
    *data = accel__wandb_read_small(path, LARGEST);
    if (*data && strlen(*data) == (size_t)about.st_size)
        return ACCEL_OK;
    free(*data);
    *data = NULL;
    return accel__wandb_fail(ACCEL_ERR_IO,
                             "wandb: %s cannot be read as a text of at most 1 MiB: nothing was "
                             "written to it",
                             path);
}

static accel_status_t write_beside(const char *path, const char *data, size_t size, char *beside)
{
    struct stat about;
    int fd = mkstemp(beside); /* mode 0600 */
    if (fd < 0)
        return accel__wandb_fail_errno(ACCEL_ERR_IO, errno, "cannot write", beside);
    int error = accel__wandb_write_all(fd, data, size);
    if (!error && stat(path, &about) == 0 && about.st_uid != geteuid())
        (void)!fchown(fd, about.st_uid, about.st_gid); /* root's, for somebody else */
    if (!error && fsync(fd) < 0)
        error = errno;
    close(fd);
    if (!error && rename(beside, path) < 0)
        error = errno;
    if (!error)
        return ACCEL_OK;
    unlink(beside);
    return accel__wandb_fail_errno(ACCEL_ERR_IO, error, "cannot write", path);
}

accel_status_t accel__wandb_replace_file(const char *path, const char *data, size_t size)
{
    accel__wandb_text_t beside = {0};
    char *target = realpath(path, NULL); /* a symbolic link stays one */
    accel__wandb_text_printf(&beside, "%s.XXXXXX", target ? target : path);
    accel_status_t status = beside.failed
                                ? accel__wandb_fail_memory()
                                : write_beside(target ? target : path, data, size, beside.data);
    accel__wandb_text_free(&beside);
    free(target);
    return status;
}

accel_status_t accel__wandb_netrc_save(const char *path, const char *machine, const char *password)
{
    accel__wandb_text_t text = {0};
    char *original;
    accel_status_t status = accel__wandb_read_whole(path, &original);
    if (status || !original)
        return status;
    status = compose_readable(&text, path, original, machine, password);
    if (!status)
        status = accel__wandb_replace_file(path, text.data, text.length);
    forget(original, strlen(original));
    if (text.data)
        explicit_bzero(text.data, text.length);
    accel__wandb_text_free(&text);
    return status;
}
