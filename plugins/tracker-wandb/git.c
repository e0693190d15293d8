/* SPDX-License-Identifier: Apache-2.0 */
/* The commit and the remote of a git work tree, read from its files. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run.h"

enum { SMALL = 1 << 20, PACKED = 64 << 20 };

typedef struct {
    char *work;   /* HEAD lies here */
    char *common; /* configuration and refs lie here; the same, but for linked work trees */
} git_t;

static char *read_trimmed(const char *directory, const char *name)
{
    char *path = accel__wandb_join(directory, name);
    char *data = path ? accel__wandb_read_small(path, SMALL) : NULL;
    if (data)
        data[strcspn(data, "\r\n")] = '\0';
    free(path);
    return data;
}

/* `path` as seen from `base`. */
static char *resolve(const char *base, const char *path)
{
    return path[0] == '/' ? strdup(path) : accel__wandb_join(base, path);
}

/* ".git" in this directory or one above: a directory, or a file that names one. */
static char *find_git_dir(const char *start)
{
    char *directory = realpath(start, NULL), *found = NULL;
    while (directory && !found) {
        struct stat info;
        char *git = accel__wandb_join(directory, ".git");
        if (git && stat(git, &info) == 0) {
            char *text = S_ISDIR(info.st_mode) ? NULL : read_trimmed(directory, ".git");
            if (S_ISDIR(info.st_mode))
                found = strdup(git);
            else if (text && !strncmp(text, "gitdir: ", 8))
                found = resolve(directory, text + 8);
            free(text);
        }
        free(git);
        char *slash = strrchr(directory, '/');
        if (!slash || !directory[1])
            break;
        slash[slash == directory] = '\0'; /* "/a" has "/" above it */
    }
    free(directory);
    return found;
}

static bool git_open(git_t *git, const char *directory)
{
    git->work = find_git_dir(directory);
    git->common = NULL;
    if (!git->work)
        return false;
    char *common = read_trimmed(git->work, "commondir");
    git->common = common ? resolve(git->work, common) : strdup(git->work);
    free(common);
    return git->common != NULL;
}

static bool is_commit(const char *text)
{
    size_t length = strspn(text, "0123456789abcdef");
    return (length == 40 || length == 64) && !text[length];
}

static char *find_packed(const git_t *git, const char *ref)
{
    char *path = accel__wandb_join(git->common, "packed-refs"), *commit = NULL, *line;
    char *data = path ? accel__wandb_read_small(path, PACKED) : NULL, *rest = data;
    while (!commit && (line = strsep(&rest, "\n"))) {
        char *name = strchr(line, ' ');
        if (name && !strcmp(name + 1, ref))
            commit = strndup(line, (size_t)(name - line));
    }
    free(data);
    free(path);
    return commit;
}

static char *find_commit(const git_t *git)
{
    char *head = read_trimmed(git->work, "HEAD");
    for (int hops = 0; head && !strncmp(head, "ref: ", 5) && hops < 5; hops++) {
        const char *ref = head + 5;
        char *next = strstr(ref, "..") ? NULL : read_trimmed(git->common, ref);
        if (!next)
            next = find_packed(git, ref);
        free(head);
        head = next;
    }
    if (head && !is_commit(head)) {
        free(head);
        head = NULL;
    }
    return head;
}

/* A user or password in a URL is nobody else's business. */
static char *without_user(const char *url)
{
    const char *host = strstr(url, "://");
    if (!host)
        return strdup(url);
    host += 3;
    const char *end = host + strcspn(host, "/?#"), *at = memrchr(host, '@', (size_t)(end - host));
    char *clean = malloc(strlen(url) + 1);
    if (!clean)
        return NULL;
    const char *rest = at ? at + 1 : host;
    memcpy(clean, url, (size_t)(host - url));
    memcpy(clean + (host - url), rest, strlen(rest) + 1);
    return clean;
}

static char *skip_blanks(char *text)
{
    return text + strspn(text, " \t");
}

static char *find_remote(const git_t *git, const char *remote)
{
    char *path = accel__wandb_join(git->common, "config"), *url = NULL, *line;
    char *data = path ? accel__wandb_read_small(path, SMALL) : NULL, *rest = data;
    accel__wandb_text_t section = {0};
    accel__wandb_text_printf(&section, "[remote \"%s\"]", remote);
    bool ours = false;
    while (!section.failed && (line = strsep(&rest, "\n"))) {
        line = skip_blanks(line);
        line[strcspn(line, "\r")] = '\0';
        if (*line == '[')
            ours = !strncmp(line, section.data, section.length);
        if (!ours || strncmp(line, "url", 3) != 0)
            continue;
        char *value = skip_blanks(line + 3);
        if (*value != '=')
            continue;
        free(url);
        url = without_user(skip_blanks(value + 1));
    }
    accel__wandb_text_free(&section);
    free(data);
    free(path);
    return url;
}

void accel__wandb_git_find(const char *directory, const char *remote, char **url, char **commit)
{
    git_t git = {0};
    *url = *commit = NULL;
    if (git_open(&git, directory)) {
        *url = find_remote(&git, remote);
        *commit = find_commit(&git);
    }
    free(git.work);
    free(git.common);
}

Wandb__GitRepoRecord *accel__wandb_git_record(accel__wandb_run_t *run)
{
    const accel__wandb_settings_t *settings = &run->settings;
    char *url = NULL, *commit = NULL;
    if (!settings->disable_git)
        accel__wandb_git_find(settings->git_root ? settings->git_root : settings->root_dir,
                              settings->git_remote ? settings->git_remote : "origin", &url,
                              &commit);
    if (settings->git_remote_url) { /* those that CI systems give have a token in them */
        free(url);
        url = without_user(settings->git_remote_url);
    }
    const char *shown_commit = settings->git_commit ? settings->git_commit : commit;
    Wandb__GitRepoRecord *record = NULL;
    if ((url || shown_commit) && !settings->disable_git) {
        record = accel__wandb_new(run, &wandb__git_repo_record__descriptor);
        if (url)
            accel__wandb_put(run, &record->remote_url,
                             accel__wandb_arena_copy(&run->arena, url, strlen(url)));
        if (shown_commit)
            accel__wandb_put(
                run, &record->commit,
                accel__wandb_arena_copy(&run->arena, shown_commit, strlen(shown_commit)));
    }
    free(url);
    free(commit);
    return record;
}
