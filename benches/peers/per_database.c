/* per_database URL_BEFORE URL_AFTER WORKERS CONNECTIONS [keep] <NAMES: each tenant in a database of its own (its name stands
 * between the two halves of the URL), claim and finish each a transaction there. At most CONNECTIONS are open; one that
 * is not used stays open until another database needs its place: then the longest unused makes way, and its place is
 * free only once the server has let go. Connects and exchanges of all places go on side by side, in one thread.
 * With `keep` a connection whose tenant runs is the last to make way, and not while another is about to become useless:
 * what a pool could do that knows who comes back. */
#include "peer.h"

enum stage { AWAY, CONNECTING, WORKING, UNUSED, CLOSING };
enum wish { NOTHING, CLAIM_IT, FINISH_IT };

struct tenant {
    char *name;
    enum wish wish;
    int place; /* -1: no connection */
};

struct place {
    enum stage stage;
    PGconn *connection;
    PostgresPollingStatusType polling;
    int tenant, fd;
    unsigned long unused_since;
};

static struct tenant *tenants;
static struct run *runs;
static struct place *places;
static int keep, tenant_count, place_count, claims_under_way, busy, done, failed, *finishes, finish_count, next_claim;
static unsigned long turn;
static const char *before, *after;

static void send_wish(struct place *place) {
    struct tenant *tenant = &tenants[place->tenant];
    struct run *run = &runs[place->tenant];
    const char *values[FINISH_PARAMETERS];
    char offered[256];
    int sent;
    if (tenant->wish == CLAIM_IT) {
        snprintf(offered, sizeof offered, "{%s}", tenant->name);
        values[0] = offered;
        sent = PQsendQueryParams(place->connection, CLAIM, 1, NULL, values, NULL, NULL, 0);
    } else {
        finish_values(&run, 1, values);
        sent = PQsendQueryParams(place->connection, FINISH, FINISH_PARAMETERS, NULL, values, NULL, NULL, 0);
    }
    if (!sent)
        die("%s", PQerrorMessage(place->connection));
    place->stage = WORKING;
}

static void open_place(struct place *place, int tenant) {
    char url[1024];
    snprintf(url, sizeof url, "%s%s%s", before, tenants[tenant].name, after);
    place->connection = PQconnectStart(url);
    if (!place->connection || PQstatus(place->connection) == CONNECTION_BAD)
        die("%s: %s", url, PQerrorMessage(place->connection));
    place->stage = CONNECTING;
    place->polling = PGRES_POLLING_WRITING;
    place->tenant = tenant;
    tenants[tenant].place = place - places;
}

/* Says goodbye, and keeps an eye on the socket until the server has closed its end. */
static void close_place(struct place *place) {
    place->fd = dup(PQsocket(place->connection));
    PQfinish(place->connection);
    tenants[place->tenant].place = -1;
    place->stage = CLOSING;
}

/* What a tenant wishes begins, or a place is being made for it; 0 if neither can be now. */
static int serve(int tenant, int *wanted) {
    if (tenants[tenant].place >= 0) {
        send_wish(&places[tenants[tenant].place]);
        return 1;
    }
    for (int at = 0; at < place_count; at++) {
        if (places[at].stage == AWAY) {
            open_place(&places[at], tenant);
            return 1;
        }
    }
    ++*wanted;
    return 0;
}

/* The tenant's end is still to be recorded. */
static int comes_back(const struct place *place) {
    return runs[place->tenant].pid != 0;
}

static struct place *longest_unused(int may_come_back) {
    struct place *oldest = NULL;
    for (int at = 0; at < place_count; at++) {
        struct place *place = &places[at];
        if (place->stage == UNUSED && (may_come_back || !comes_back(place)) &&
            (!oldest || place->unused_since < oldest->unused_since))
            oldest = place;
    }
    return oldest;
}

static void make_room(int wanted) {
    for (int at = 0; at < place_count; at++)
        wanted -= places[at].stage == CLOSING;
    for (struct place *place; keep && wanted > 0 && (place = longest_unused(0)); wanted--)
        close_place(place);
    for (int at = 0; keep && at < place_count; at++)
        wanted -= places[at].stage == WORKING && tenants[places[at].tenant].wish == FINISH_IT;
    for (struct place *place; wanted > 0 && (place = longest_unused(1)); wanted--)
        close_place(place);
}

static void answered(struct place *place) {
    struct tenant *tenant = &tenants[place->tenant];
    struct run *run = &runs[place->tenant];
    if (tenant->wish == CLAIM_IT) {
        claims_under_way--;
        busy++;
        run->pid = start_child();
    } else {
        failed += run->code != 0;
        done++;
        run->pid = 0;
    }
    tenant->wish = NOTHING;
    place->stage = UNUSED;
    place->unused_since = ++turn;
}

static void step(struct place *place) {
    if (place->stage == CONNECTING) {
        place->polling = PQconnectPoll(place->connection);
        if (place->polling == PGRES_POLLING_FAILED)
            die("%s", PQerrorMessage(place->connection));
        if (place->polling == PGRES_POLLING_OK)
            send_wish(place);
        return;
    }
    if (place->stage == CLOSING) {
        char byte;
        if (read(place->fd, &byte, 1) <= 0) {
            close(place->fd);
            place->stage = AWAY;
        }
        return;
    }
    if (!PQconsumeInput(place->connection))
        die("%s", PQerrorMessage(place->connection));
    while (place->stage == WORKING && !PQisBusy(place->connection)) {
        PGresult *result = PQgetResult(place->connection);
        int is_claim = tenants[place->tenant].wish == CLAIM_IT;
        if (!result) {
            answered(place);
        } else if (PQresultStatus(result) != (is_claim ? PGRES_TUPLES_OK : PGRES_COMMAND_OK) ||
                   strcmp(PQcmdTuples(result), "1")) {
            die("%s: not claimed, or not recorded: %s", tenants[place->tenant].name, PQerrorMessage(place->connection));
        } else if (is_claim) {
            strcpy(runs[place->tenant].id, PQgetvalue(result, 0, 0));
        }
        PQclear(result);
    }
}

int main(int argc, char **argv) {
    if (argc != 5 && !(argc == 6 && !strcmp(argv[5], "keep")))
        die("usage: per_database URL_BEFORE URL_AFTER WORKERS CONNECTIONS [keep]");
    keep = argc == 6;
    before = argv[1];
    after = argv[2];
    int workers = number(argv[3]);
    place_count = number(argv[4]);
    places = calloc(place_count, sizeof *places);
    char line[256];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        tenants = realloc(tenants, (tenant_count + 1) * sizeof *tenants);
        tenants[tenant_count++] = (struct tenant){strdup(line), NOTHING, -1};
    }
    runs = calloc(tenant_count, sizeof *runs);
    finishes = calloc(tenant_count, sizeof *finishes);
    struct pollfd *polled = calloc(place_count + 1, sizeof *polled);
    polled[place_count] = (struct pollfd){child_signals(), POLLIN, 0};
    while (done < tenant_count) {
        for (struct run *run; (run = next_ended(runs, tenant_count, WNOHANG));) {
            tenants[run - runs].wish = FINISH_IT;
            finishes[finish_count++] = run - runs;
            busy--;
        }
        /* Ends first, in their order, then claims for the slots that are free. */
        int wanted = 0, left = 0;
        for (int at = 0; at < finish_count; at++)
            if (!serve(finishes[at], &wanted))
                finishes[left++] = finishes[at];
        finish_count = left;
        int room = workers - busy - claims_under_way;
        for (int at = next_claim; at < tenant_count && room > 0; at++, room--) {
            tenants[at].wish = CLAIM_IT;
            if (serve(at, &wanted)) { /* once one has to wait, all that follow do */
                claims_under_way++;
                next_claim++;
            }
        }
        make_room(wanted);
        for (int at = 0; at < place_count; at++) {
            struct place *place = &places[at];
            int fd = place->stage == AWAY ? -1 : place->stage == CLOSING ? place->fd : PQsocket(place->connection);
            int writes = place->stage == CONNECTING && place->polling == PGRES_POLLING_WRITING;
            polled[at] = (struct pollfd){fd, writes ? POLLOUT : POLLIN, 0};
        }
        if (poll(polled, place_count + 1, 30000) <= 0)
            die("nothing happens");
        if (polled[place_count].revents)
            drain(polled[place_count].fd);
        for (int at = 0; at < place_count; at++)
            if (polled[at].revents)
                step(&places[at]);
    }
    report(done, failed);
}
