/* SPDX-License-Identifier: Apache-2.0 */
/* accel sync: W&B runs from their logs to the server. accel_wandb_sync() does the work; here are
 * the choice of logs, several at a time, and what a person sees. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sync_jobs.h"
#include "tool.h"

static const char help[] =
    "Usage: accel sync [OPTIONS] [PATH...]\n"
    "\n"
    "Send W&B runs from their logs to the server: runs that were written offline, and what online\n"
    "runs could not send. A PATH is a folder of runs, a run's folder or a log (run-ID.wandb), "
    "also\n"
    "of the Python client; default: the wandb folder here, or in WANDB_DIR. Server and API key "
    "are\n"
    "found as by a run: WANDB_BASE_URL, WANDB_API_KEY, netrc (accel login).\n"
    "\n"
    "What has been sent is marked (LOG.synced) and left out the next time. Interrupt it whenever\n"
    "you like: the next sync goes on, and nothing is sent twice to another place.\n"
    "\n"
    "Options:\n"
    "  -f, --follow            Also send while programs are still writing: from a login node that\n"
    "                          shares the folder with jobs without network. Waits for the first\n"
    "                          run, takes in those that begin meanwhile, and returns when all "
    "have\n"
    "                          ended\n"
    "      --forever           The same, and go on looking for runs until interrupted\n"
    "      --idle SECONDS      Take a followed log that has not grown for so long as ended: its\n"
    "                          program was killed. Default: never, or when the run has a newer "
    "log\n"
    "  -n, --dry-run           List what would be sent; needs neither key nor network\n"
    "  -j, --jobs N            Runs at a time, 1 to 64; default 4; with --follow 64\n"
    "      --include-online    Also the logs of online runs: what they have missed\n"
    "      --include-synced    Also what is marked as sent\n"
    "      --no-mark-synced    Do not mark\n"
    "  -p, --project NAME      Into this project instead of the run's own\n"
    "  -e, --entity NAME       Of this user or team\n"
    "      --id ID             As this run: for one log only\n"
    "  -q, --quiet             Say only what goes wrong\n"
    "  -h, --help              Show this\n"
    "\n"
    "Examples:\n"
    "  accel sync                                  all runs below ./wandb\n"
    "  accel sync wandb/latest-run                 one run\n"
    "  accel sync --follow --idle 900 /scratch/me/wandb\n"
    "                                              on the login node, beside a job\n"
    "  */10 * * * * accel sync -q /scratch/me/wandb\n"
    "                                              a line for crontab\n"
    "\n"
    "Exit status: 0 if nothing is left to send, 1 if something failed, 2 for wrong options, 128 +\n"
    "signal if interrupted.\n";

enum { TICK_MS = 200, SCAN_SECONDS = 5, RETRY_SECONDS = 60, TELL_SECONDS = 60 };
enum { HEADER_BYTES = 7, MOST_REASONS = 4 };

typedef struct {
    char *text;
    int64_t count;
} reason_t;

typedef struct {
    accel_wandb_sync_options_t options;
    bool dry_run, forever, quiet;
    double idle; /* seconds; 0: never */
    int64_t most;
    char **paths; /* count 0: the one that the library chooses */
    int num_paths;

    sync_jobs_t jobs;
    bool terminal, failed, waiting_told;
    double last_told;
    reason_t skipped[MOST_REASONS];
    bool out_of_memory;
    int interrupted; /* a signal */
} sync_tool_t;

/* ---- lines ---- */

/* The line that rewrites itself goes, before another is printed. */
static void clear_line(const sync_tool_t *tool)
{
    if (tool->terminal)
        fputs("\r\033[K", stderr);
}

static void note(const char *log, const char *text)
{
    tool_say("sync", "%.*s: %s", (int)sync_run_length(log), log, text);
}

static void say_amounts(FILE *file, int64_t rows, int64_t files)
{
    fprintf(file, "%" PRId64 " %s, %" PRId64 " %s", rows, rows == 1 ? "row" : "rows", files,
            files == 1 ? "file" : "files");
}

static void tell_end(sync_tool_t *tool, const sync_job_t *job)
{
    int length = (int)sync_run_length(job->log);

    clear_line(tool);
    if (job->state == JOB_FAILED) {
        tool_say("sync", "%.*s: %s", length, job->log, job->error);
        return;
    }
    if (job->num_files_missed)
        tool_say("sync", "%.*s: %" PRId64 " %s could not be sent; the next sync tries again",
                 length, job->log, job->num_files_missed,
                 job->num_files_missed == 1 ? "file" : "files");
    if (tool->quiet)
        return;
    printf("%.*s: ", length, job->log);
    say_amounts(stdout, job->num_rows, job->num_files);
    printf("%s%s\n", *job->url ? ": " : "", job->url);
    fflush(stdout);
}

static int columns(void)
{
    struct winsize size;

    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

/* How far all of them are, on a terminal many times a second, else once a minute. */
static void tell_progress(sync_tool_t *tool)
{
    sync_jobs_t *jobs = &tool->jobs;
    int64_t bytes = 0, sent = 0, rows = 0, ended = 0;
    char line[512], trouble[256] = "";

    if (tool->quiet || (!tool->terminal && sync_now() < tool->last_told + (double)TELL_SECONDS))
        return;
    tool->last_told = sync_now();
    pthread_mutex_lock(&jobs->lock);
    for (size_t i = 0; i < jobs->count; i++) {
        const sync_job_t *job = jobs->jobs[i];
        bytes += job->log_bytes;
        sent += job->sent_bytes;
        rows += job->num_rows;
        ended += job->state != JOB_WAITS && job->state != JOB_RUNS;
        if (job->state == JOB_RUNS && *job->trouble)
            memcpy(trouble, job->trouble, sizeof(trouble));
    }
    pthread_mutex_unlock(&jobs->lock);
    if (!jobs->count)
        return;
    snprintf(line, sizeof(line),
             "%" PRId64 " of %zu runs sent; %.1f of %.1f MB, %" PRId64 " rows%s%s", ended,
             jobs->count, (double)sent / 1e6, (double)bytes / 1e6, rows, *trouble ? "; " : "",
             trouble);
    if (tool->terminal)
        fprintf(stderr, "\r\033[K%.*s", columns() - 1, line);
    else
        tool_say("sync", "%s", line);
}

static void tell_summary(const sync_tool_t *tool, size_t synced, size_t failed)
{
    printf("%zu %s sent", synced, synced == 1 ? "run" : "runs");
    if (failed)
        printf(", %zu failed", failed);
    for (size_t i = 0; i < MOST_REASONS && tool->skipped[i].count; i++)
        printf(", %" PRId64 " left out: %s%s", tool->skipped[i].count, tool->skipped[i].text,
               strstr(tool->skipped[i].text, "online") ? " (--include-online)" : "");
    putchar('\n');
}

/* ---- which logs ---- */

static void count_skipped(sync_tool_t *tool, const char *text)
{
    for (size_t i = 0; i < MOST_REASONS; i++) {
        reason_t *reason = &tool->skipped[i];
        if (!reason->count)
            reason->text = strdup(text);
        if (reason->text && !strcmp(reason->text, text)) {
            reason->count++;
            return;
        }
    }
}

static void forget_skipped(sync_tool_t *tool)
{
    for (size_t i = 0; i < MOST_REASONS; i++) {
        free(tool->skipped[i].text);
        tool->skipped[i] = (reason_t){0};
    }
}

static bool take_found(void *context, const accel_wandb_sync_progress_t *found)
{
    sync_tool_t *tool = context;

    if (found->event == ACCEL_WANDB_SYNC_SKIPPED) {
        count_skipped(tool, found->text);
        if (tool->dry_run && !tool->quiet)
            printf("left out  %s: %s\n", found->log, found->text);
        return true;
    }
    /* A program that has just begun is about to write the log's first bytes. */
    if (found->event != ACCEL_WANDB_SYNC_BEGUN ||
        (tool->options.follow && found->log_bytes < HEADER_BYTES))
        return true;
    if (tool->dry_run)
        printf("to send   %s: %" PRId64 " bytes\n", found->log, found->log_bytes);
    if (!sync_jobs_add(&tool->jobs, found->log))
        tool->out_of_memory = true;
    return true;
}

static void scan_path(sync_tool_t *tool, const char *path)
{
    accel_wandb_sync_options_t options = tool->options;
    accel_status_t status;

    options.dry_run = true;
    options.progress = take_found;
    options.context = tool;
    status = accel_wandb_sync(path, &options, NULL);
    if (status == ACCEL_OK)
        return;
    if (status == ACCEL_ERR_NOT_FOUND && tool->options.follow) { /* not yet */
        if (!tool->waiting_told && !tool->quiet)
            tool_say("sync", "waiting for a run: %s", accel_last_error());
        tool->waiting_told = true;
        return;
    }
    clear_line(tool);
    tool_say("sync", "%s", accel_last_error());
    tool->failed = true;
}

static void scan(sync_tool_t *tool)
{
    forget_skipped(tool);
    if (!tool->num_paths)
        scan_path(tool, NULL);
    for (int i = 0; i < tool->num_paths; i++)
        scan_path(tool, tool->paths[i]);
}

/* ---- following ---- */

static bool is_idle(const sync_tool_t *tool, const char *log)
{
    struct timespec now;
    struct stat about;

    clock_gettime(CLOCK_REALTIME, &now);
    return stat(log, &about) == 0 && (double)now.tv_sec - (double)about.st_mtim.tv_sec > tool->idle;
}

static void look_again(sync_tool_t *tool)
{
    sync_jobs_t *jobs = &tool->jobs;

    scan(tool);
    for (size_t i = 0; i < jobs->count; i++) {
        sync_job_t *job = jobs->jobs[i];
        if (tool->idle > 0 && !job->over && is_idle(tool, job->log))
            job->over = true;
        pthread_mutex_lock(&jobs->lock);
        if (tool->forever && job->state == JOB_FAILED && job->told &&
            sync_now() > job->ended + RETRY_SECONDS)
            job->state = JOB_WAITS;
        pthread_mutex_unlock(&jobs->lock);
    }
}

/* ---- signals ---- */

/* Those that end the tool, but not what somebody has it ignore: nohup. */
static sigset_t block_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action;
    sigset_t signals;

    sigemptyset(&signals);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(&signals, numbers[i]);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    return signals;
}

/* A second one ends it at once, which loses nothing either. */
static void rest(sync_tool_t *tool, const sigset_t *signals)
{
    static const struct timespec tick = {.tv_nsec = TICK_MS * 1000000L};
    int signal = sigtimedwait(signals, NULL, &tick);

    if (signal < 0)
        return;
    if (tool->interrupted) {
        pthread_sigmask(SIG_UNBLOCK, signals, NULL);
        raise(signal);
    }
    tool->interrupted = signal;
    tool->jobs.stop = true;
    clear_line(tool);
    tool_say("sync", "stopping; the next sync goes on from here");
}

/* ---- the command ---- */

static void tell_ended(sync_tool_t *tool)
{
    for (size_t i = 0; i < tool->jobs.count; i++) {
        sync_job_t *job = tool->jobs.jobs[i];
        pthread_mutex_lock(&tool->jobs.lock);
        bool ended = job->state == JOB_SYNCED || job->state == JOB_FAILED;
        pthread_mutex_unlock(&tool->jobs.lock);
        if (!ended || job->told)
            continue;
        tell_end(tool, job);
        job->told = true;
    }
}

static bool is_finished(sync_tool_t *tool)
{
    if (sync_jobs_in(&tool->jobs, JOB_RUNS))
        return false;
    if (tool->interrupted)
        return true;
    if (sync_jobs_in(&tool->jobs, JOB_WAITS) || tool->forever)
        return false;
    return !tool->options.follow || tool->jobs.count || tool->failed;
}

static void send_all(sync_tool_t *tool, const sigset_t *signals)
{
    double next_scan = sync_now() + SCAN_SECONDS;

    tool->last_told = sync_now();
    while (!tool->out_of_memory) {
        if (!tool->interrupted && !sync_jobs_start(&tool->jobs)) {
            tool_say("sync", "cannot start a thread");
            tool->failed = true;
            return;
        }
        tell_ended(tool);
        if (is_finished(tool)) {
            size_t before = tool->jobs.count;
            if (tool->options.follow && !tool->interrupted)
                look_again(tool); /* one that began as the last one ended */
            if (tool->jobs.count == before)
                return;
            continue;
        }
        tell_progress(tool);
        rest(tool, signals);
        if (tool->options.follow && !tool->interrupted && sync_now() >= next_scan) {
            look_again(tool);
            next_scan = sync_now() + SCAN_SECONDS;
        }
    }
}

/* Before each run says the same. */
static bool check_key(void)
{
    accel_status_t status = accel_wandb_login(ACCEL_WANDB_LOGIN_OPTIONS(.verify = ACCEL_OFF), NULL);

    if (status != ACCEL_OK)
        tool_say("sync", "%s", accel_last_error());
    return status == ACCEL_OK;
}

static int sync_found(sync_tool_t *tool)
{
    sigset_t signals = block_signals();
    size_t failed, missed = 0;

    if (tool->options.run_id && tool->jobs.count > 1) {
        tool_say("sync", "--id is for one log, and here are %zu", tool->jobs.count);
        return TOOL_USAGE;
    }
    if ((tool->jobs.count || tool->options.follow) && !check_key())
        return TOOL_FAILED;
    tool->jobs.options = tool->options;
    send_all(tool, &signals);
    clear_line(tool);
    failed = sync_jobs_in(&tool->jobs, JOB_FAILED);
    for (size_t i = 0; i < tool->jobs.count; i++)
        missed += tool->jobs.jobs[i]->num_files_missed != 0;
    if (!tool->quiet)
        tell_summary(tool, sync_jobs_in(&tool->jobs, JOB_SYNCED), failed);
    if (tool->interrupted)
        return 128 + tool->interrupted;
    return tool->failed || failed || missed ? TOOL_FAILED : TOOL_OK;
}

static int sync_all(sync_tool_t *tool)
{
    int code = TOOL_FAILED;

    tool->jobs.note = note;
    tool->jobs.most = tool->most ? tool->most : tool->options.follow ? 64 : 4;
    tool->terminal = !tool->quiet && isatty(STDERR_FILENO);
    pthread_mutex_init(&tool->jobs.lock, NULL);
    scan(tool);
    if (tool->dry_run)
        code = tool->failed ? TOOL_FAILED : TOOL_OK;
    else if (!tool->failed || tool->jobs.count)
        code = sync_found(tool);
    if (tool->out_of_memory) {
        tool_say("sync", "out of memory");
        code = TOOL_FAILED;
    }
    forget_skipped(tool);
    sync_jobs_free(&tool->jobs);
    return code == TOOL_OK ? tool_finish("sync") : code;
}

enum { FOREVER = 256, IDLE, ONLINE, SYNCED, NO_MARK, ID };

static const struct option long_options[] = {{"follow", no_argument, NULL, 'f'},
                                             {"forever", no_argument, NULL, FOREVER},
                                             {"idle", required_argument, NULL, IDLE},
                                             {"dry-run", no_argument, NULL, 'n'},
                                             {"jobs", required_argument, NULL, 'j'},
                                             {"include-online", no_argument, NULL, ONLINE},
                                             {"include-synced", no_argument, NULL, SYNCED},
                                             {"no-mark-synced", no_argument, NULL, NO_MARK},
                                             {"project", required_argument, NULL, 'p'},
                                             {"entity", required_argument, NULL, 'e'},
                                             {"id", required_argument, NULL, ID},
                                             {"quiet", no_argument, NULL, 'q'},
                                             {"help", no_argument, NULL, 'h'},
                                             {NULL, 0, NULL, 0}};

static bool take_text(const char **place, const char *name)
{
    if (!*optarg)
        tool_say("sync", "--%s is empty", name);
    *place = optarg;
    return *optarg;
}

/* False: it has been said what is wrong. */
static bool take_option(sync_tool_t *tool, int option)
{
    accel_wandb_sync_options_t *options = &tool->options;
    bool good = true;

    switch (option) {
    case FOREVER:
        tool->forever = true;
        options->follow = true;
        return true;
    case 'f':
        options->follow = true;
        return true;
    case IDLE:
        good = tool_parse_seconds(optarg, 1e8, &tool->idle) && tool->idle >= 1;
        if (!good)
            tool_say("sync", "--idle is '%s'; expected seconds, 1 or more", optarg);
        return good;
    case 'n':
        tool->dry_run = true;
        return true;
    case 'j':
        good = tool_parse_int(optarg, 1, 64, &tool->most);
        if (!good)
            tool_say("sync", "--jobs is '%s'; expected 1 to 64", optarg);
        return good;
    case ONLINE:
        options->include_online = true;
        return true;
    case SYNCED:
        options->include_synced = true;
        return true;
    case NO_MARK:
        options->mark_synced = ACCEL_OFF;
        return true;
    case 'p':
        return take_text(&options->project, "project");
    case 'e':
        return take_text(&options->entity, "entity");
    case ID:
        return take_text(&options->run_id, "id");
    default:
        tool->quiet = true;
        return true;
    }
}

static int run(int argc, char **argv)
{
    sync_tool_t tool = {.options = accel_wandb_sync_options_init()};
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, ":fnj:p:e:qh", long_options, NULL)) != -1) {
        if (option == 'h')
            return tool_help(&tool_sync);
        if (option == ':') {
            tool_say("sync", "%s needs a value", argv[optind - 1]);
            return TOOL_USAGE;
        }
        if (option == '?') {
            tool_say("sync", "unknown option %s; `accel sync --help` lists them", argv[optind - 1]);
            return TOOL_USAGE;
        }
        if (!take_option(&tool, option))
            return TOOL_USAGE;
    }
    if (tool.idle > 0 && !tool.options.follow) {
        tool_say("sync", "--idle is for --follow");
        return TOOL_USAGE;
    }
    tool.paths = argv + optind;
    tool.num_paths = argc - optind;
    return sync_all(&tool);
}

const tool_command_t tool_sync = {
    .name = "sync",
    .summary = "Send W&B runs from their logs to the server",
    .help = help,
    .run = run,
};
