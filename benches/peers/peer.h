/* What the peers in C share: children by posix_spawn, their ends by signalfd, the rows by two statements.
 * They are limits, not supervisors: no log, no lock file, no configuration, no recovery, nothing read twice. They
 * write what the product writes (the row needed → running → done, a run opened and closed) into tables that the
 * product made, and obey its one rule for others: lock the row, skipping those that are locked. */
#include <errno.h>
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* $1 keys: those that are needed and not locked become running, their runs are opened. */
#define CLAIM                                                                                                          \
    "WITH held AS MATERIALIZED (SELECT key FROM tenantcron_status"                                                     \
    " WHERE key = ANY ($1::text[]) AND value = 'needed' FOR UPDATE SKIP LOCKED),"                                      \
    " opened AS (INSERT INTO tenantcron_run (key, instance, node, host, started_at, alive_at)"                         \
    " SELECT key, 'peer', 'node1', 'host', now(), now() FROM held RETURNING id, key)"                                  \
    " UPDATE tenantcron_status s SET value = 'running', updated_at = now()"                                            \
    " FROM opened o WHERE s.key = o.key RETURNING o.id, o.key"

/* $1 ids, $2 exit codes, $3 pids, $4 CPU seconds, $5 peak memory: their runs are closed, their rows done. The coalesce
 * keeps the planner from the index of open runs, which it believes to be empty and reads whole. */
#define FINISH                                                                                                         \
    "WITH closed AS (UPDATE tenantcron_run r SET finished_at = now(), exit_code = e.code, pid = e.pid,"                \
    " outcome = CASE e.code WHEN 0 THEN 'ok' ELSE 'failed' END, cpu_seconds = e.cpu, max_rss_kb = e.rss"               \
    " FROM unnest($1::int8[], $2::int4[], $3::int4[], $4::float8[], $5::int8[]) AS e (id, code, pid, cpu, rss)"        \
    " WHERE r.id = e.id AND coalesce(r.finished_at, 'infinity') = 'infinity' RETURNING r.key)"                         \
    " UPDATE tenantcron_status s SET value = 'done', updated_at = now()"                                               \
    " FROM closed c WHERE s.key = c.key AND s.value = 'running'"
#define FINISH_PARAMETERS 5

/* A run that is under way, or has ended and is not recorded. */
struct run {
    char id[24];
    pid_t pid;
    int code;
    double cpu;
    long rss;
};

static inline void __attribute__((noreturn, format(printf, 1, 2))) die(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    exit(1);
}

static inline int number(const char *text) {
    int value = atoi(text);
    if (value <= 0)
        die("not a number: %s", text);
    return value;
}

/* SIGCHLD arrives on a descriptor; blocked here, not in the children. */
static inline int child_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        die("signalfd: %s", strerror(errno));
    return fd;
}

static inline pid_t start_child(void) {
    static posix_spawnattr_t attributes;
    static int ready = 0;
    if (!ready) {
        sigset_t none;
        sigemptyset(&none);
        posix_spawnattr_init(&attributes);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setpgroup(&attributes, 0);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
        ready = 1;
    }
    static char *const arguments[] = {"/bin/true", NULL};
    static char *const environment[] = {"LC_ALL=C", NULL};
    pid_t pid;
    int error = posix_spawn(&pid, arguments[0], NULL, &attributes, arguments, environment);
    if (error)
        die("posix_spawn: %s", strerror(error));
    return pid;
}

/* The next child that has ended, among those of `runs` (pid 0: none there); NULL if all live. */
static inline struct run *next_ended(struct run *runs, int count, int options) {
    int status;
    struct rusage usage;
    pid_t pid = wait4(-1, &status, options, &usage);
    if (pid <= 0)
        return NULL;
    for (int at = 0; at < count; at++) {
        if (runs[at].pid != pid)
            continue;
        runs[at].code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        runs[at].cpu = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
                       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
        runs[at].rss = usage.ru_maxrss;
        return &runs[at];
    }
    die("a child that nobody started: %d", pid);
}

static inline void drain(int signals) {
    struct signalfd_siginfo info;
    while (read(signals, &info, sizeof info) > 0)
        ;
}

/* The parameters of FINISH for these runs, as arrays in text. */
static inline void finish_values(struct run **ended, int count, const char *values[FINISH_PARAMETERS]) {
    static char *texts[FINISH_PARAMETERS];
    static size_t room = 0;
    if (room < 40 * (size_t)count + 8) {
        room = 80 * (size_t)count + 8;
        for (int at = 0; at < FINISH_PARAMETERS; at++)
            if (!(texts[at] = realloc(texts[at], room)))
                die("no memory");
    }
    size_t length[FINISH_PARAMETERS];
    for (int at = 0; at < FINISH_PARAMETERS; at++) {
        length[at] = 0;
        values[at] = texts[at];
    }
    for (int at = 0; at < count; at++) {
        char mark = at ? ',' : '{';
        struct run *run = ended[at];
        length[0] += sprintf(texts[0] + length[0], "%c%s", mark, run->id);
        length[1] += sprintf(texts[1] + length[1], "%c%d", mark, run->code);
        length[2] += sprintf(texts[2] + length[2], "%c%d", mark, run->pid);
        length[3] += sprintf(texts[3] + length[3], "%c%.6f", mark, run->cpu);
        length[4] += sprintf(texts[4] + length[4], "%c%ld", mark, run->rss);
    }
    for (int at = 0; at < FINISH_PARAMETERS; at++)
        strcpy(texts[at] + length[at], "}");
}

static inline PGconn *connect_to(const char *url) {
    PGconn *connection = PQconnectdb(url);
    if (PQstatus(connection) != CONNECTION_OK)
        die("%s", PQerrorMessage(connection));
    return connection;
}

static inline void prepare(PGconn *connection, const char *name, const char *text) {
    PGresult *result = PQprepare(connection, name, text, 0, NULL);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        die("%s: %s", name, PQerrorMessage(connection));
    PQclear(result);
}

/* The keys of all rows that are needed, who finished longest ago first. */
static inline PGresult *needed_keys(PGconn *connection) {
    PGresult *keys =
        PQexec(connection, "SELECT key FROM tenantcron_status WHERE value = 'needed' ORDER BY updated_at, key");
    if (PQresultStatus(keys) != PGRES_TUPLES_OK)
        die("%s", PQerrorMessage(connection));
    return keys;
}

/* The last line of every peer. */
static inline void report(int runs, int failed) {
    long peak = 0;
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        sscanf(line, "VmHWM: %ld", &peak);
    printf("runs=%d failed=%d peak_kb=%ld\n", runs, failed, peak);
}
