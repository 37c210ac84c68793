/* The least that can be done between NOTIFY and the child's first instruction with every run on record: one
 * session that listens, claims the key that it is told of in one committed statement, spawns the child with
 * its log as output, waits for it, and closes the run. No order, no slots, no locks, no second tenant at once.
 * usage: listener CONNINFO CHILD LOGFOLDER; says "ready" once it listens, ends when its input is closed. */
#include <fcntl.h>
#include <libpq-fe.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

static const char *const CLAIM =
	"WITH held AS MATERIALIZED ("
	"  SELECT key FROM tenantcron_status WHERE key = $1::text AND value = 'needed' FOR UPDATE SKIP LOCKED"
	"), opened AS ("
	"  INSERT INTO tenantcron_run (key, instance, node, host, started_at, alive_at)"
	"  SELECT key, 'peer', 'peer', 'peer', now(), now() FROM held RETURNING id, key"
	") UPDATE tenantcron_status s SET value = 'running', updated_at = now() FROM opened o WHERE s.key = o.key RETURNING o.id";

static const char *const FINISH =
	"WITH closed AS ("
	"  UPDATE tenantcron_run SET finished_at = now(), outcome = 'ok', exit_code = 0"
	"  WHERE id = $1::int8 AND finished_at IS NULL RETURNING key"
	") UPDATE tenantcron_status s SET value = 'done', updated_at = now() FROM closed c WHERE s.key = c.key RETURNING s.key";

extern char **environ;
static PGconn *session;

static void fail(const char *what)
{
	fprintf(stderr, "listener: %s: %s\n", what, PQerrorMessage(session));
	exit(1);
}

static void must(PGresult *result, ExecStatusType wanted, const char *what)
{
	if (PQresultStatus(result) != wanted)
		fail(what);
	PQclear(result);
}

static void spawn_and_wait(char *child, const char *folder, const char *key)
{
	char log[4096];
	snprintf(log, sizeof log, "%s/%s.log", folder, key);
	posix_spawn_file_actions_t files;
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0640);
	posix_spawn_file_actions_adddup2(&files, 1, 2);
	char *arguments[] = {child, NULL};
	pid_t pid;
	int status;
	if (posix_spawn(&pid, child, &files, NULL, arguments, environ) != 0)
		fail("posix_spawn");
	posix_spawn_file_actions_destroy(&files);
	if (waitpid(pid, &status, 0) != pid || status != 0)
		fail("the child failed");
}

static void run(const char *key, char *child, const char *folder)
{
	PGresult *claimed = PQexecPrepared(session, "claim", 1, &key, NULL, NULL, 0);
	if (PQresultStatus(claimed) != PGRES_TUPLES_OK)
		fail("claim");
	if (PQntuples(claimed) == 1) {
		const char *id = PQgetvalue(claimed, 0, 0);
		spawn_and_wait(child, folder, key);
		must(PQexecPrepared(session, "finish", 1, &id, NULL, NULL, 0), PGRES_TUPLES_OK, "finish");
	}
	PQclear(claimed);
}

int main(int count, char **arguments)
{
	if (count != 4)
		return 2;
	session = PQconnectdb(arguments[1]);
	if (PQstatus(session) != CONNECTION_OK)
		fail("connect");
	must(PQprepare(session, "claim", CLAIM, 0, NULL), PGRES_COMMAND_OK, "claim");
	must(PQprepare(session, "finish", FINISH, 0, NULL), PGRES_COMMAND_OK, "finish");
	must(PQexec(session, "LISTEN tenantcron"), PGRES_COMMAND_OK, "LISTEN");
	puts("ready");
	fflush(stdout);
	for (;;) {
		PGnotify *word;
		while ((word = PQnotifies(session))) {
			run(word->extra, arguments[2], arguments[3]);
			PQfreemem(word);
		}
		struct pollfd watched[] = {{PQsocket(session), POLLIN, 0}, {0, POLLIN, 0}};
		if (poll(watched, 2, -1) < 0)
			fail("poll");
		if (watched[1].revents)
			return 0;
		if (!PQconsumeInput(session))
			fail("the session");
	}
}
