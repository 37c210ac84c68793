/* ceiling TENANTS WORKERS: spawns and waits, keeps no record. Nothing that starts a process per tenant is faster. */
#include "peer.h"

int main(int argc, char **argv) {
    if (argc != 3)
        die("usage: ceiling TENANTS WORKERS");
    int tenants = number(argv[1]), workers = number(argv[2]), started = 0, running = 0, failed = 0, done = 0;
    struct run *runs = calloc(workers, sizeof *runs);
    while (done < tenants) {
        for (int at = 0; at < workers && started < tenants && running < workers; at++) {
            if (runs[at].pid)
                continue;
            runs[at].pid = start_child();
            started++;
            running++;
        }
        struct run *ended = next_ended(runs, workers, 0);
        if (!ended)
            die("wait4: %s", strerror(errno));
        failed += ended->code != 0;
        ended->pid = 0;
        running--;
        done++;
    }
    report(done, failed);
}
