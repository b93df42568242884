/*
 * A fault at the n-th state call of a process: LD_PRELOAD this into fetchd. See shim.py for how it is told what to do.
 *
 * A state call is one that changes what is under the root directory (creating open, write, flush, rename, link,
 * unlink, truncate, mkdir, chmod) or that sends on a socket. One counter counts them all, over all threads.
 * Everything that is counted is written to the report, by raw system calls, so that it is there after SIGKILL.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define REPORT_FD 907
#define REAL(name) ((__typeof__(&name))real(#name))

static char root[PATH_MAX];
static size_t root_length;
static long fault_at;   /* 0: none */
static char fault;      /* k kill, t torn, s SIGTERM, e errno; from there on errno, f: wherever space is taken,
                           d: and at flushes; c: as d, from that fdatasync on; . none */
static int fault_errno;
static int with_data;   /* whether the report holds what is written, in hex */
static long count;
static long flushes;    /* fdatasyncs among them */
static int from_here_on;
static int muted;       /* 1: flushes of staged files do nothing; 2: those of directories; syncfs where any is set */
static __thread long mine;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) {
        fprintf(stderr, "shim: no %s\n", name);
        abort();
    }
    return found;
}

static void report(const char *text, size_t length) { syscall(SYS_write, REPORT_FD, text, length); }

static void die(void) {
    for (;;)
        syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
}

/* Arms the shim; called by the constructor, or by a forked child through ctypes. Returns 0, or -1 where it cannot. */
int crash_arm(const char *where, long at, const char *kind, int error, int data, const char *report_path) {
    int fd = syscall(SYS_openat, AT_FDCWD, report_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || syscall(SYS_dup3, fd, REPORT_FD, O_CLOEXEC) < 0)
        return -1;
    syscall(SYS_close, fd);
    snprintf(root, sizeof root, "%s", where);
    fault_at = at;
    fault = kind[0];
    fault_errno = error;
    with_data = data;
    count = 0;
    flushes = 0;
    from_here_on = 0;
    root_length = strlen(root);
    return 0;
}

/* Takes flushes out: the mutants. */
void crash_mute(int which) { muted = which; }

__attribute__((constructor)) static void from_environment(void) {
    /* CRASH_SHIM=AT KIND ERRNO DATA ROOT REPORT, paths without blanks */
    const char *text = getenv("CRASH_SHIM");
    char kind[2], where[PATH_MAX], path[PATH_MAX];
    long at;
    int error, data;
    if (text && sscanf(text, "%ld %1s %d %d %4095s %4095s", &at, kind, &error, &data, where, path) == 6)
        if (crash_arm(where, at, kind, error, data, path))
            abort();
}

/* Writes the absolute path of a name, or of a descriptor where name is NULL; returns whether it is under the root. */
static int locate(char *out, int dirfd, const char *name) {
    char link[64];
    ssize_t length = 0;
    if (!root_length)
        return 0;
    if (name && name[0] == '/') {
        snprintf(out, PATH_MAX, "%s", name);
    } else {
        if (name && dirfd == AT_FDCWD)
            snprintf(link, sizeof link, "/proc/self/cwd");
        else
            snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
        length = syscall(SYS_readlinkat, AT_FDCWD, link, out, PATH_MAX - 1);
        if (length < 0)
            return 0;
        out[length] = 0;
        if (name)
            snprintf(out + length, PATH_MAX - length, "/%s", name);
    }
    return !strncmp(out, root, root_length) && (out[root_length] == '/' || !out[root_length]);
}

enum { GO_ON, FAIL, TEAR };

static int must_fail(int needs) { return needs == 1 || (needs == 2 && (fault == 'd' || fault == 'c')); }

static int is_due(int is_flush) { return fault == 'c' ? is_flush && flushes == fault_at : count == fault_at; }

/* Counts a call; returns what is to be done with it. needs: 1 space, 2 a disk that works, 0 neither. */
static int enter(const char *name, const char *what, int needs, int tearable) {
    char line[2 * PATH_MAX + 64];
    int verdict = GO_ON, length, is_flush = !strcmp(name, "fdatasync");
    pthread_mutex_lock(&lock);
    mine = ++count;
    flushes += is_flush;
    length = snprintf(line, sizeof line, "CALL %ld %c %s %s\n", count, tearable ? 't' : '-', name, what);
    report(line, length);
    if (from_here_on) {
        verdict = must_fail(needs) ? FAIL : GO_ON;
    } else if (is_due(is_flush) && fault != '.' && (fault != 't' || tearable)) {
        length = snprintf(line, sizeof line, "FIRED %ld %c %s\n", count, fault, name);
        report(line, length);
        if (fault == 'k')
            die();
        if (fault == 's')
            syscall(SYS_kill, syscall(SYS_getpid), SIGTERM);
        if (fault == 't')
            verdict = TEAR;
        if (fault == 'e')
            verdict = FAIL;
        if (fault == 'f' || fault == 'd' || fault == 'c') {
            from_here_on = 1;
            verdict = must_fail(needs) ? FAIL : GO_ON;
        }
    }
    pthread_mutex_unlock(&lock);
    if (verdict == FAIL)
        errno = fault_errno;
    return verdict;
}

/* Reports octets that are about to be written at an offset, for those who replay them. */
static void note_data(int fd, const void *octets, size_t length, off_t offset) {
    static const char digits[] = "0123456789abcdef";
    if (!with_data)
        return;
    if (offset < 0) {
        int flags = syscall(SYS_fcntl, fd, F_GETFL);
        struct stat status;
        if (flags & O_APPEND && !fstat(fd, &status))
            offset = status.st_size;
        else
            offset = syscall(SYS_lseek, fd, 0, SEEK_CUR);
    }
    char *line = malloc(2 * length + 96);
    size_t at = sprintf(line, "DATA %ld %ld ", mine, (long)offset);
    for (size_t i = 0; i < length; i++) {
        line[at++] = digits[((const unsigned char *)octets)[i] >> 4];
        line[at++] = digits[((const unsigned char *)octets)[i] & 15];
    }
    line[at++] = '\n';
    report(line, at);
    free(line);
}

/* ── names ────────────────────────────────────────────────────────────────────────────────────────────────────── */

static int opening(const char *name, int dirfd, const char *path, int flags) {
    char what[PATH_MAX + 32], full[PATH_MAX];
    if (!(flags & (O_CREAT | O_TRUNC)) || !locate(full, dirfd, path))
        return GO_ON;
    snprintf(what, sizeof what, "%s%s%s", flags & O_TRUNC ? "truncate:" : "", flags & O_EXCL ? "new:" : "", full);
    return enter("open", what, 1, 0);
    (void)name;
}

#define OPEN_AT(function)                                                                                              \
    int function(int dirfd, const char *path, int flags, ...) {                                                        \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                        \
        va_end(rest);                                                                                                  \
        return opening(#function, dirfd, path, flags) == FAIL ? -1 : REAL(function)(dirfd, path, flags, mode);         \
    }
#define OPEN(function)                                                                                                 \
    int function(const char *path, int flags, ...) {                                                                   \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                        \
        va_end(rest);                                                                                                  \
        return opening(#function, AT_FDCWD, path, flags) == FAIL ? -1 : REAL(function)(path, flags, mode);             \
    }
OPEN_AT(openat)
OPEN_AT(openat64)
OPEN(open)
OPEN(open64)

static int one_name(const char *call, int dirfd, const char *path, int needs) {
    char full[PATH_MAX];
    return locate(full, dirfd, path) ? enter(call, full, needs, 0) : GO_ON;
}

static int two_names(const char *call, int from, const char *source, int to, const char *target) {
    char both[2 * PATH_MAX + 8] = "", full[PATH_MAX] = "";
    int ours = locate(both, from, source), also = locate(full, to, target);
    if (!ours && !also)
        return GO_ON;
    strcat(both, " -> ");
    strcat(both, full);
    return enter(call, both, 1, 0);
}

int mkdir(const char *path, mode_t mode) {
    return one_name("mkdir", AT_FDCWD, path, 1) == FAIL ? -1 : REAL(mkdir)(path, mode);
}
int mkdirat(int dirfd, const char *path, mode_t mode) {
    return one_name("mkdir", dirfd, path, 1) == FAIL ? -1 : REAL(mkdirat)(dirfd, path, mode);
}
int rmdir(const char *path) { return one_name("rmdir", AT_FDCWD, path, 0) == FAIL ? -1 : REAL(rmdir)(path); }
int unlink(const char *path) { return one_name("unlink", AT_FDCWD, path, 0) == FAIL ? -1 : REAL(unlink)(path); }
int unlinkat(int dirfd, const char *path, int flags) {
    const char *call = flags & AT_REMOVEDIR ? "rmdir" : "unlink";
    return one_name(call, dirfd, path, 0) == FAIL ? -1 : REAL(unlinkat)(dirfd, path, flags);
}
int rename(const char *source, const char *target) {
    return two_names("rename", AT_FDCWD, source, AT_FDCWD, target) == FAIL ? -1 : REAL(rename)(source, target);
}
int renameat(int from, const char *source, int to, const char *target) {
    return two_names("rename", from, source, to, target) == FAIL ? -1 : REAL(renameat)(from, source, to, target);
}
int renameat2(int from, const char *source, int to, const char *target, unsigned flags) {
    if (two_names("rename", from, source, to, target) == FAIL)
        return -1;
    return REAL(renameat2)(from, source, to, target, flags);
}
int link(const char *source, const char *target) {
    return two_names("link", AT_FDCWD, source, AT_FDCWD, target) == FAIL ? -1 : REAL(link)(source, target);
}
int linkat(int from, const char *source, int to, const char *target, int flags) {
    return two_names("link", from, source, to, target) == FAIL ? -1 : REAL(linkat)(from, source, to, target, flags);
}

/* ── contents ─────────────────────────────────────────────────────────────────────────────────────────────────── */

static int of_file(const char *call, int fd, int needs, int tearable) {
    char full[PATH_MAX];
    return locate(full, fd, NULL) ? enter(call, full, needs, tearable) : GO_ON;
}

ssize_t write(int fd, const void *octets, size_t length) {
    switch (of_file("write", fd, 1, length > 1)) {
    case FAIL:
        return -1;
    case TEAR:
        REAL(write)(fd, octets, length / 2);
        die();
    }
    char full[PATH_MAX];
    if (with_data && locate(full, fd, NULL))
        note_data(fd, octets, length, -1);
    return REAL(write)(fd, octets, length);
}

#define PWRITE(function, offset_type)                                                                                  \
    ssize_t function(int fd, const void *octets, size_t length, offset_type offset) {                                  \
        char full[PATH_MAX];                                                                                           \
        switch (of_file("pwrite", fd, 1, length > 1)) {                                                                \
        case FAIL:                                                                                                     \
            return -1;                                                                                                 \
        case TEAR:                                                                                                     \
            REAL(function)(fd, octets, length / 2, offset);                                                            \
            die();                                                                                                     \
        }                                                                                                              \
        if (with_data && locate(full, fd, NULL))                                                                       \
            note_data(fd, octets, length, offset);                                                                     \
        return REAL(function)(fd, octets, length, offset);                                                             \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int number) {
    switch (of_file("writev", fd, 1, number > 1)) {
    case FAIL:
        return -1;
    case TEAR:
        REAL(writev)(fd, parts, number / 2);
        die();
    }
    return REAL(writev)(fd, parts, number);
}

static int is_muted(int fd, int whole_file_system) {
    char full[PATH_MAX];
    struct stat status;
    if (!muted || !locate(full, fd, NULL) || fstat(fd, &status))
        return 0;
    if (whole_file_system)
        return 1;
    if (strstr(full, "/tmp/.fetchd-") && strstr(full, ".lock")) /* commits the journal, and so carries names and files */
        return 1;
    if (S_ISDIR(status.st_mode)) /* the store's own directory stays: without it everything would be gone at once */
        return muted & 2 && strcmp(full + strlen(full) - strlen("/state"), "/state");
    return muted & 1 && (strstr(full, "/.fetchd-stage/") || strstr(full, "/mbox-staging/"));
}

#define FLUSH(function)                                                                                                \
    int function(int fd) {                                                                                             \
        if (is_muted(fd, !strcmp(#function, "syncfs")))                                                                \
            return 0;                                                                                                  \
        return of_file(#function, fd, 2, 0) == FAIL ? -1 : REAL(function)(fd);                                         \
    }
FLUSH(fsync)
FLUSH(fdatasync)
FLUSH(syncfs)

#define TRUNCATE(function, length_type)                                                                                \
    int function(int fd, length_type length) {                                                                         \
        char what[PATH_MAX + 32], full[PATH_MAX];                                                                      \
        if (locate(full, fd, NULL)) {                                                                                  \
            snprintf(what, sizeof what, "%ld:%s", (long)length, full);                                                 \
            if (enter("ftruncate", what, 1, 0) == FAIL)                                                                \
                return -1;                                                                                             \
        }                                                                                                              \
        return REAL(function)(fd, length);                                                                             \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

int fchmod(int fd, mode_t mode) { return of_file("fchmod", fd, 0, 0) == FAIL ? -1 : REAL(fchmod)(fd, mode); }

/* ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────── */

ssize_t send(int fd, const void *octets, size_t length, int flags) {
    if (root_length) {
        switch (enter("send", "-", 0, length > 1)) {
        case FAIL:
            return -1;
        case TEAR:
            REAL(send)(fd, octets, length / 2, flags);
            die();
        }
    }
    return REAL(send)(fd, octets, length, flags);
}
