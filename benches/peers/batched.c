/* batched URL WORKERS: claims and finishes committed, batched as many as are ready, nothing claimed ahead.
 * One connection, one exchange at a time: BEGIN, finish, claim, COMMIT in one flight, all prepared. Children that end
 * while an exchange is under way gather and go with the next one. */
#include "peer.h"

enum slot_state { FREE, CLAIMING, RUNNING, ENDED, FINISHING };

int main(int argc, char **argv) {
    if (argc != 3)
        die("usage: batched URL WORKERS");
    PGconn *connection = connect_to(argv[1]);
    int workers = number(argv[2]);
    prepare(connection, "begin", "BEGIN");
    prepare(connection, "finish", FINISH);
    prepare(connection, "claim", CLAIM);
    prepare(connection, "commit", "COMMIT");
    PGresult *keys = needed_keys(connection);
    int tenants = PQntuples(keys), next = 0, done = 0, failed = 0;

    /* An ended run may wait for its record beside the one that took its slot: twice as many places as workers. */
    int places = 2 * workers, busy = 0, ended_count = 0;
    struct run *runs = calloc(places, sizeof *runs);
    enum slot_state *states = calloc(places, sizeof *states);
    struct run **ended = calloc(places, sizeof *ended);
    char *offered = malloc(workers * (size_t)256 + 4); /* a key is at most 240 characters and needs no quotes */

    int signals = child_signals();
    if (PQsetnonblocking(connection, 1) || !PQenterPipelineMode(connection))
        die("%s", PQerrorMessage(connection));
    int in_flight = 0, fresh_count = 0;
    struct run **fresh = calloc(workers, sizeof *fresh); /* claimed, but not yet known to be committed */
    while (done < tenants) {
        int is_over = 0;
        while (in_flight && !is_over && !PQisBusy(connection)) {
            PGresult *result = PQgetResult(connection);
            switch (PQresultStatus(result)) {
            case PGRES_PIPELINE_SYNC:
                is_over = 1;
                break;
            case PGRES_TUPLES_OK:
                for (int row = 0, at = 0; row < PQntuples(result); row++) {
                    while (states[at] != CLAIMING)
                        at++;
                    strcpy(runs[at].id, PQgetvalue(result, row, 0));
                    states[at] = RUNNING;
                    fresh[fresh_count++] = &runs[at];
                }
                break;
            case PGRES_COMMAND_OK:
                break;
            default:
                if (result)
                    die("%s", PQerrorMessage(connection));
            }
            PQclear(result);
        }
        if (is_over) {
            in_flight = 0;
            for (int at = 0; at < places; at++) {
                if (states[at] == CLAIMING)
                    die("a row was not claimed");
                if (states[at] != FINISHING)
                    continue;
                failed += runs[at].code != 0;
                done++;
                runs[at].pid = 0;
                states[at] = FREE;
            }
            while (fresh_count)
                fresh[--fresh_count]->pid = start_child();
        }
        for (struct run *one; (one = next_ended(runs, places, WNOHANG));) {
            states[one - runs] = ENDED;
            ended[ended_count++] = one;
            busy--;
        }
        int wanted = tenants - next < workers - busy ? tenants - next : workers - busy;
        if (!in_flight && (ended_count || wanted)) {
            int both = ended_count && wanted;
            int sent = both ? PQsendQueryPrepared(connection, "begin", 0, NULL, NULL, NULL, 0) : 1;
            if (ended_count) {
                const char *values[FINISH_PARAMETERS];
                finish_values(ended, ended_count, values);
                sent &= PQsendQueryPrepared(connection, "finish", FINISH_PARAMETERS, values, NULL, NULL, 0);
                for (int at = 0; at < ended_count; at++)
                    states[ended[at] - runs] = FINISHING;
                ended_count = 0;
            }
            if (wanted) {
                size_t length = 0;
                for (int at = 0, count = 0; count < wanted; at++) {
                    if (states[at] != FREE)
                        continue;
                    states[at] = CLAIMING;
                    length += sprintf(offered + length, "%c%s", count++ ? ',' : '{', PQgetvalue(keys, next++, 0));
                }
                strcpy(offered + length, "}");
                busy += wanted;
                const char *values[] = {offered};
                sent &= PQsendQueryPrepared(connection, "claim", 1, values, NULL, NULL, 0);
            }
            if (both)
                sent &= PQsendQueryPrepared(connection, "commit", 0, NULL, NULL, NULL, 0);
            if (!sent || !PQpipelineSync(connection) || PQflush(connection))
                die("%s", PQerrorMessage(connection));
            in_flight = 1;
        }
        if (done == tenants)
            break;
        struct pollfd polled[] = {{signals, POLLIN, 0}, {PQsocket(connection), POLLIN, 0}};
        if (poll(polled, 2, 30000) <= 0)
            die("nothing happens");
        if (polled[0].revents)
            drain(signals);
        if (polled[1].revents && !PQconsumeInput(connection))
            die("%s", PQerrorMessage(connection));
    }
    PQfinish(connection);
    report(done, failed);
}
