/* each URL WORKERS: one commit per claim and one per finish, a connection for each of the workers, nothing batched:
 * what independent workers could do at best. One thread serves them all. */
#include "peer.h"

enum step { CLAIMING, RUNNING, FINISHING, IDLE };

struct worker {
    PGconn *connection;
    enum step step;
};

int main(int argc, char **argv) {
    if (argc != 3)
        die("usage: each URL WORKERS");
    int count = number(argv[2]), done = 0, failed = 0, next = 0;
    struct worker *workers = calloc(count, sizeof *workers);
    struct run *runs = calloc(count, sizeof *runs);
    struct pollfd *polled = calloc(count + 1, sizeof *polled);
    for (int at = 0; at < count; at++) {
        workers[at].connection = connect_to(argv[1]);
        workers[at].step = IDLE;
        prepare(workers[at].connection, "finish", FINISH);
        prepare(workers[at].connection, "claim", CLAIM);
    }
    PGresult *keys = needed_keys(workers[0].connection);
    int tenants = PQntuples(keys);
    polled[count] = (struct pollfd){child_signals(), POLLIN, 0};
    while (done < tenants) {
        for (struct run *run; (run = next_ended(runs, count, WNOHANG));) {
            const char *values[FINISH_PARAMETERS];
            struct worker *worker = &workers[run - runs];
            finish_values(&run, 1, values);
            if (!PQsendQueryPrepared(worker->connection, "finish", FINISH_PARAMETERS, values, NULL, NULL, 0))
                die("%s", PQerrorMessage(worker->connection));
            worker->step = FINISHING;
        }
        for (int at = 0; at < count; at++) {
            struct worker *worker = &workers[at];
            PGresult *result;
            int answered = 0;
            while (worker->step != IDLE && worker->step != RUNNING && !PQisBusy(worker->connection)) {
                if (!(result = PQgetResult(worker->connection))) {
                    answered = 1;
                    break;
                }
                if (worker->step == CLAIMING) {
                    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1)
                        die("a row was not claimed: %s", PQerrorMessage(worker->connection));
                    strcpy(runs[at].id, PQgetvalue(result, 0, 0));
                } else if (PQresultStatus(result) != PGRES_COMMAND_OK || strcmp(PQcmdTuples(result), "1")) {
                    die("an end was not recorded: %s", PQerrorMessage(worker->connection));
                }
                PQclear(result);
            }
            if (answered && worker->step == CLAIMING) {
                runs[at].pid = start_child();
                worker->step = RUNNING;
            } else if (answered) {
                failed += runs[at].code != 0;
                done++;
                runs[at].pid = 0;
                worker->step = IDLE;
            }
            if (worker->step == IDLE && next < tenants) {
                char offered[256];
                const char *values[] = {offered};
                snprintf(offered, sizeof offered, "{%s}", PQgetvalue(keys, next++, 0));
                if (!PQsendQueryPrepared(worker->connection, "claim", 1, values, NULL, NULL, 0))
                    die("%s", PQerrorMessage(worker->connection));
                worker->step = CLAIMING;
            }
            polled[at] = (struct pollfd){PQsocket(worker->connection), POLLIN, 0};
        }
        if (done == tenants)
            break;
        if (poll(polled, count + 1, 30000) <= 0)
            die("nothing happens");
        if (polled[count].revents)
            drain(polled[count].fd);
        for (int at = 0; at < count; at++)
            if (polled[at].revents && !PQconsumeInput(workers[at].connection))
                die("%s", PQerrorMessage(workers[at].connection));
    }
    for (int at = 0; at < count; at++)
        PQfinish(workers[at].connection);
    report(done, failed);
}
