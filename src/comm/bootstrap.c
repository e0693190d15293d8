/* SPDX-License-Identifier: Apache-2.0 */
/* How the processes of a host meet: rank 0 listens on an abstract unix socket named by the
 * job, checks who comes, and hands everyone the memory and a descriptor of every process.
 * Nothing of it is left behind: the name goes with the listening socket, the memory with
 * its last user. A stranger can at most take the name first, and is then named. */
#include "comm/world.h"

#include <accel/version.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define HELLO_MAGIC UINT32_C(0x316c6361)
#define LINGER_NS 300000000 /* 0.3 s */
#define FDS_PER_MESSAGE 200 /* the kernel allows 253 */

typedef struct hello {
    uint32_t magic;
    int32_t rank, size;
    uint64_t key_hash;
    uint64_t device, inode; /* of the executable */
    char version[16];
} hello_t;

typedef struct answer {
    accel_status_t status;
    uint64_t segment_size;
    char text[ACCEL__ERROR_SIZE];
} answer_t;

static uint64_t hash_key(const char *key)
{
    return accel__hash(ACCEL__HASH_START, key, strlen(key));
}

static socklen_t address_of(const accel__world_t *world, struct sockaddr_un *address)
{
    int length;

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    length = snprintf(address->sun_path + 1, sizeof(address->sun_path) - 1, "accel-%u-%016llx",
                      (unsigned)getuid(), (unsigned long long)hash_key(world->key));
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

static hello_t own_hello(const accel__world_t *world)
{
    hello_t hello;
    struct stat executable;

    memset(&hello, 0, sizeof(hello)); /* padding too: it travels */
    hello.magic = HELLO_MAGIC;
    hello.rank = world->rank;
    hello.size = world->size;
    hello.key_hash = hash_key(world->key);
    snprintf(hello.version, sizeof(hello.version), "%s", ACCEL_VERSION);
    if (stat("/proc/self/exe", &executable) == 0) {
        hello.device = executable.st_dev;
        hello.inode = executable.st_ino;
    }
    return hello;
}

static int milliseconds_left(uint64_t deadline)
{
    uint64_t now = accel__clock_ns();

    return now >= deadline ? 0 : (int)((deadline - now) / 1000000) + 1;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void accel__meeting_close(accel__meeting_t *meeting)
{
    close_fd(&meeting->memory);
    for (int32_t r = 0; r < ACCEL__MAX_LOCAL_RANKS; r++) {
        close_fd(&meeting->pidfds[r]);
        close_fd(&meeting->sockets[r]);
    }
}

static void meeting_init(accel__meeting_t *meeting)
{
    meeting->memory = -1;
    meeting->segment_size = 0;
    for (int32_t r = 0; r < ACCEL__MAX_LOCAL_RANKS; r++)
        meeting->pidfds[r] = meeting->sockets[r] = -1;
}

/* ---- messages with descriptors ---- */

typedef union control {
    struct cmsghdr header;
    char space[CMSG_SPACE(FDS_PER_MESSAGE * sizeof(int))];
} control_t;

static bool send_message(int socket_fd, const void *data, size_t size, const int *fds, size_t count)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    control_t control;
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

    memset(&control, 0, sizeof(control));
    if (count > 0) {
        control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(count * sizeof(int)),
                                          .cmsg_level = SOL_SOCKET,
                                          .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    }
    return sendmsg(socket_fd, &message, MSG_NOSIGNAL) == (ssize_t)size;
}

/* How many bytes came (0: the peer is gone, -1: nothing before the deadline), and exactly
 * `count` descriptors or -1s. */
static ssize_t receive_message(int socket_fd, void *data, size_t size, int *fds, size_t count,
                               uint64_t deadline)
{
    struct pollfd readable = {.fd = socket_fd, .events = POLLIN};
    struct iovec part = {.iov_base = data, .iov_len = size};
    control_t control;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    size_t received = 0;
    ssize_t n;

    while ((n = poll(&readable, 1, milliseconds_left(deadline))) < 0 && errno == EINTR)
        continue;
    if (n <= 0)
        return -1;
    while ((n = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC)) < 0 && errno == EINTR)
        continue;
    if (n <= 0)
        return 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        received = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        if (received > count)
            received = count;
        if (received > 0)
            memcpy(fds, CMSG_DATA(c), received * sizeof(int));
    }
    for (size_t i = received; i < count; i++)
        fds[i] = -1;
    return n;
}

/* ---- rank 0 ---- */

static accel_status_t listen_for_ranks(const accel__world_t *world, int *listener)
{
    struct sockaddr_un address;
    socklen_t length = address_of(world, &address);
    struct ucred holder = {.pid = 0};
    socklen_t holder_size = sizeof(holder);
    int probe;

    *listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (*listener < 0)
        return accel__fail_errno(ACCEL_ERR_IO, "cannot make a unix socket");
    if (bind(*listener, (struct sockaddr *)&address, length) == 0 &&
        listen(*listener, ACCEL__MAX_LOCAL_RANKS) == 0)
        return ACCEL_OK;
    close_fd(listener);
    if (errno != EADDRINUSE)
        return accel__fail_errno(ACCEL_ERR_IO, "cannot listen on the unix socket @%s",
                                 address.sun_path + 1);
    probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe >= 0 && connect(probe, (struct sockaddr *)&address, length) == 0)
        getsockopt(probe, SOL_SOCKET, SO_PEERCRED, &holder, &holder_size);
    if (probe >= 0)
        close(probe);
    return accel__fail(ACCEL_ERR_STATE,
                       "process %d is rank 0 of this job already (unix socket @%s, started by %s): "
                       "two jobs with one id, or rank 0 twice",
                       (int)holder.pid, address.sun_path + 1, world->launcher);
}

/* Is this a rank of our job that we still miss? The text says why not. */
static accel_status_t check_hello(const accel__world_t *world, const accel__meeting_t *meeting,
                                  const hello_t *hello, const struct ucred *peer)
{
    hello_t own = own_hello(world);

    if (hello->magic != HELLO_MAGIC || hello->key_hash != own.key_hash)
        return accel__fail(ACCEL_ERR_MISMATCH, "process %d does not belong to this job",
                           (int)peer->pid);
    if (peer->uid != getuid())
        return accel__fail(ACCEL_ERR_MISMATCH, "process %d belongs to user %u, rank 0 to user %u",
                           (int)peer->pid, (unsigned)peer->uid, (unsigned)getuid());
    if (hello->size != own.size)
        return accel__fail(ACCEL_ERR_MISMATCH,
                           "rank %d (pid %d) was told of %d processes, rank 0 of %d: check "
                           "WORLD_SIZE (the ranks were started by %s)",
                           (int)hello->rank, (int)peer->pid, (int)hello->size, (int)own.size,
                           world->launcher);
    if (hello->rank < 1 || hello->rank >= own.size || meeting->sockets[hello->rank] >= 0)
        return accel__fail(ACCEL_ERR_MISMATCH,
                           "process %d says it is rank %d, which is taken: two processes have the "
                           "same rank",
                           (int)peer->pid, (int)hello->rank);
    if (strcmp(hello->version, own.version) != 0)
        return accel__fail(ACCEL_ERR_MISMATCH, "rank %d has libaccel %.15s, rank 0 has %s",
                           (int)hello->rank, hello->version, own.version);
    if (hello->device != own.device || hello->inode != own.inode)
        return accel__fail(ACCEL_ERR_MISMATCH,
                           "rank %d (pid %d) runs another executable than rank 0 (pid %d)",
                           (int)hello->rank, (int)peer->pid, (int)getpid());
    return ACCEL_OK;
}

/* One connection: a hello, and the rank takes its place in `meeting`. */
static accel_status_t admit(const accel__world_t *world, accel__meeting_t *meeting, int fd,
                            pid_t *pids, uint64_t deadline)
{
    hello_t hello;
    struct ucred peer = {.pid = 0};
    socklen_t peer_size = sizeof(peer);
    answer_t refusal = {.status = ACCEL_OK};

    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size);
    memset(&hello, 0, sizeof(hello));
    if (receive_message(fd, &hello, sizeof(hello), NULL, 0, deadline) != (ssize_t)sizeof(hello)) {
        close(fd); /* a probe, or a process that died at once: nobody we can name */
        return ACCEL_OK;
    }
    refusal.status = check_hello(world, meeting, &hello, &peer);
    if (refusal.status == ACCEL_OK) {
        meeting->sockets[hello.rank] = fd;
        pids[hello.rank] = peer.pid;
        return ACCEL_OK;
    }
    snprintf(refusal.text, sizeof(refusal.text), "%s", accel_last_error());
    send_message(fd, &refusal, sizeof(refusal), NULL, 0);
    close(fd);
    return refusal.status;
}

static accel_status_t fail_absent(const accel__world_t *world, const accel__meeting_t *meeting,
                                  uint32_t timeout_ms)
{
    char absent[128] = "";
    int count = 0;

    for (int32_t r = 1; r < world->size; r++) {
        size_t used = strlen(absent);

        if (meeting->sockets[r] >= 0)
            continue;
        if (used < sizeof(absent) - 24)
            snprintf(absent + used, sizeof(absent) - used, "%s%d", count ? ", " : "", (int)r);
        count++;
    }
    return accel__fail(
        ACCEL_ERR_TIMEOUT, "rank%s %s of %d did not join within %g s (started by %s)",
        count > 1 ? "s" : "", absent, (int)world->size, timeout_ms / 1000.0, world->launcher);
}

/* Until all are here; a rank that came and went again is an error at once. */
static accel_status_t gather_ranks(const accel__world_t *world, int listener, uint32_t timeout_ms,
                                   accel__meeting_t *meeting, pid_t *pids)
{
    uint64_t deadline = accel__clock_ns() + (uint64_t)timeout_ms * 1000000;
    int32_t joined = 1;

    while (joined < world->size) {
        struct pollfd fds[ACCEL__MAX_LOCAL_RANKS] = {{.fd = listener, .events = POLLIN}};
        accel_status_t status;
        int fd;

        for (int32_t r = 1; r < world->size; r++)
            fds[r] = (struct pollfd){.fd = meeting->sockets[r], .events = POLLIN};
        if (poll(fds, (nfds_t)world->size, milliseconds_left(deadline)) == 0)
            return fail_absent(world, meeting, timeout_ms);
        for (int32_t r = 1; r < world->size; r++)
            if (fds[r].fd >= 0 && fds[r].revents)
                return accel__fail(ACCEL_ERR_REMOTE, "rank %d (pid %d) died while the ranks met",
                                   (int)r, (int)pids[r]);
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        status = admit(world, meeting, fd, pids, deadline);
        if (status != ACCEL_OK)
            return status;
        joined = 1;
        for (int32_t r = 1; r < world->size; r++)
            joined += meeting->sockets[r] >= 0;
    }
    return ACCEL_OK;
}

/* The pages are taken now, so that a full machine is an error here and not a SIGBUS later;
 * and nobody can take them away. */
static accel_status_t make_memory(const accel__world_t *world, accel__meeting_t *meeting)
{
    size_t chunk_size;
    int error;

    meeting->segment_size = accel__segment_size(world->size, &chunk_size);
    meeting->memory = memfd_create("accel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (meeting->memory < 0)
        return accel__fail_errno(ACCEL_ERR_IO, "memfd_create");
    error = posix_fallocate(meeting->memory, 0, (off_t)meeting->segment_size);
    if (error) {
        errno = error;
        return accel__fail_errno(ACCEL_ERR_NO_MEMORY, "%zu bytes of shared memory",
                                 meeting->segment_size);
    }
    if (fcntl(meeting->memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL) != 0)
        return accel__fail_errno(ACCEL_ERR_IO, "cannot seal the shared memory");
    return ACCEL_OK;
}

/* pidfds of all, where the kernel has them (5.3); the sockets do for the rest. */
static void open_pidfds(const accel__world_t *world, accel__meeting_t *meeting, const pid_t *pids)
{
    for (int32_t r = 0; r < world->size; r++)
        meeting->pidfds[r] = (int)syscall(SYS_pidfd_open, r == 0 ? getpid() : pids[r], 0);
}

static bool have_all_pidfds(const accel__world_t *world, const accel__meeting_t *meeting)
{
    for (int32_t r = 0; r < world->size; r++)
        if (meeting->pidfds[r] < 0)
            return false;
    return true;
}

static void send_answer(const accel__world_t *world, const accel__meeting_t *meeting, int32_t rank,
                        const answer_t *answer)
{
    size_t count = have_all_pidfds(world, meeting) ? (size_t)world->size : 0;
    uint32_t more;

    if (answer->status != ACCEL_OK) {
        send_message(meeting->sockets[rank], answer, sizeof(*answer), NULL, 0);
        return;
    }
    send_message(meeting->sockets[rank], answer, sizeof(*answer), &meeting->memory, 1);
    for (size_t done = 0; done < count; done += more) {
        more = (uint32_t)(count - done < FDS_PER_MESSAGE ? count - done : FDS_PER_MESSAGE);
        send_message(meeting->sockets[rank], &more, sizeof(more), meeting->pidfds + done, more);
    }
    more = 0;
    send_message(meeting->sockets[rank], &more, sizeof(more), NULL, 0);
}

/* After a failure: ranks that are about to knock learn the reason too, instead of waiting for
 * somebody who is not there any more. */
static void turn_away(int listener, const answer_t *answer)
{
    struct pollfd knock = {.fd = listener, .events = POLLIN};
    uint64_t deadline = accel__clock_ns() + LINGER_NS;

    while (poll(&knock, 1, milliseconds_left(deadline)) > 0) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        hello_t hello;

        if (fd < 0)
            break;
        /* Read first: closing a socket with unread data discards what was sent. */
        receive_message(fd, &hello, sizeof(hello), NULL, 0, deadline);
        send_message(fd, answer, sizeof(*answer), NULL, 0);
        close(fd);
    }
}

static accel_status_t meet_as_root(const accel__world_t *world, uint32_t timeout_ms,
                                   accel__meeting_t *meeting)
{
    pid_t pids[ACCEL__MAX_LOCAL_RANKS] = {0};
    answer_t answer;
    int listener;
    accel_status_t status = listen_for_ranks(world, &listener);

    if (status != ACCEL_OK)
        return status;
    memset(&answer, 0, sizeof(answer));
    status = gather_ranks(world, listener, timeout_ms, meeting, pids);
    if (status == ACCEL_OK)
        status = make_memory(world, meeting);
    if (status == ACCEL_OK)
        open_pidfds(world, meeting, pids);
    else
        snprintf(answer.text, sizeof(answer.text), "%s", accel_last_error());
    answer.status = status;
    answer.segment_size = meeting->segment_size;
    for (int32_t r = 1; r < world->size; r++)
        if (meeting->sockets[r] >= 0)
            send_answer(world, meeting, r, &answer);
    if (status != ACCEL_OK)
        turn_away(listener, &answer);
    close(listener);
    return status == ACCEL_OK ? ACCEL_OK : accel__fail(status, "%s", answer.text);
}

/* ---- the other ranks ---- */

/* Rank 0 may not be there yet. */
static accel_status_t connect_to_root(const accel__world_t *world, uint32_t timeout_ms,
                                      uint64_t deadline, int *fd)
{
    struct sockaddr_un address;
    socklen_t length = address_of(world, &address);
    long pause_ns = 200000;

    *fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return accel__fail_errno(ACCEL_ERR_IO, "cannot make a unix socket");
    while (connect(*fd, (struct sockaddr *)&address, length) != 0) {
        if (errno != ECONNREFUSED && errno != EINTR && errno != EAGAIN)
            return accel__fail_errno(ACCEL_ERR_IO, "cannot connect to rank 0 at @%s",
                                     address.sun_path + 1);
        if (milliseconds_left(deadline) == 0)
            return accel__fail(
                ACCEL_ERR_TIMEOUT,
                "rank %d of %d waited %g s for rank 0, which did not appear (started "
                "by %s)",
                (int)world->rank, (int)world->size, timeout_ms / 1000.0, world->launcher);
        nanosleep(&(struct timespec){.tv_nsec = pause_ns}, NULL);
        if (pause_ns < 10000000)
            pause_ns *= 2;
    }
    return ACCEL_OK;
}

static accel_status_t check_root(int fd)
{
    struct ucred peer = {.pid = 0};
    socklen_t size = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.uid != getuid())
        return accel__fail(ACCEL_ERR_MISMATCH,
                           "process %d, of user %u, holds this job's socket; expected user %u",
                           (int)peer.pid, (unsigned)peer.uid, (unsigned)getuid());
    return ACCEL_OK;
}

static accel_status_t receive_pidfds(const accel__world_t *world, accel__meeting_t *meeting, int fd,
                                     uint64_t deadline)
{
    int32_t done = 0;

    for (;;) {
        int fds[FDS_PER_MESSAGE];
        uint32_t count = 0;

        if (receive_message(fd, &count, sizeof(count), fds, FDS_PER_MESSAGE, deadline) !=
            (ssize_t)sizeof(count))
            return accel__fail(ACCEL_ERR_REMOTE, "rank 0 died while the ranks met");
        if (count == 0)
            return ACCEL_OK;
        if (count > (uint32_t)(world->size - done))
            return accel__fail(ACCEL_ERR_FORMAT, "rank 0 sent too many descriptors");
        memcpy(meeting->pidfds + done, fds, count * sizeof(*fds));
        done += (int32_t)count;
    }
}

static accel_status_t meet_as_other(const accel__world_t *world, uint32_t timeout_ms,
                                    accel__meeting_t *meeting)
{
    /* Rank 0's own time-out comes first, so that its text, which names all, arrives. */
    uint64_t deadline = accel__clock_ns() + ((uint64_t)timeout_ms + 2000) * 1000000;
    int *fd = &meeting->sockets[0];
    hello_t hello = own_hello(world);
    answer_t answer;
    ssize_t n;
    accel_status_t status = connect_to_root(world, timeout_ms, deadline - 2000000000u, fd);

    if (status == ACCEL_OK)
        status = check_root(*fd);
    if (status != ACCEL_OK)
        return status;
    if (!send_message(*fd, &hello, sizeof(hello), NULL, 0))
        return accel__fail_errno(ACCEL_ERR_REMOTE, "cannot greet rank 0");
    memset(&answer, 0, sizeof(answer));
    n = receive_message(*fd, &answer, sizeof(answer), &meeting->memory, 1, deadline);
    if (n < 0)
        return accel__fail(ACCEL_ERR_TIMEOUT, "rank 0 did not answer within %g s",
                           timeout_ms / 1000.0);
    if (n != (ssize_t)sizeof(answer))
        return accel__fail(ACCEL_ERR_REMOTE, "rank 0 ended while the ranks met");
    answer.text[sizeof(answer.text) - 1] = '\0';
    if (answer.status != ACCEL_OK)
        return accel__fail(answer.status, "%s", answer.text);
    meeting->segment_size = (size_t)answer.segment_size;
    return receive_pidfds(world, meeting, *fd, deadline);
}

accel_status_t accel__bootstrap(const accel__world_t *world, uint32_t timeout_ms,
                                accel__meeting_t *meeting)
{
    accel_status_t status;

    meeting_init(meeting);
    if (world->size == 1)
        return ACCEL_OK;
    status = world->rank == 0 ? meet_as_root(world, timeout_ms, meeting)
                              : meet_as_other(world, timeout_ms, meeting);
    if (status != ACCEL_OK)
        accel__meeting_close(meeting);
    return status;
}
