"""replaced.py WORKERS URL <NAMES: the algorithm that tenantcron replaces, as w.c.s. has it (`wcs-manage cron`).

Modelled: WORKERS processes that know nothing of each other. Each goes through all tenants in the list's order, connects
to the tenant's database (`{tenant}` in URL; without it one database is shared, and each worker keeps one connection),
reads the tenant's row, and where that is not done locks it; if it is needed still, makes it running, commits, runs the
command, makes it done, commits. Whatever another worker has or had is passed over, but only after having asked.

Left out, all in its favour: the walk over all tenants before, to count who runs; picking the one that waits longest, which
would take asking all databases for every run; Django and the work itself (the command is /bin/true). There is no row
per run: the original keeps none.
"""

import os
import signal
import subprocess
import sys

import psycopg2

LOOK = "SELECT value, updated_at FROM tenantcron_status WHERE key = %s"
CLAIM = """SELECT key FROM tenantcron_status WHERE key = %s AND value = 'needed'
           ORDER BY updated_at LIMIT 1 FOR UPDATE SKIP LOCKED"""
MARK = "UPDATE tenantcron_status SET value = %s, updated_at = now() WHERE key = %s"


def claim(connection, name):
    with connection.cursor() as cursor:
        cursor.execute(LOOK, (name,))
        value, _ = cursor.fetchone()
        connection.commit()
        if value == "done":
            return False
        cursor.execute(CLAIM, (name,))
        needed = cursor.fetchone() is not None
        if needed:
            cursor.execute(MARK, ("running", name))
    connection.commit()
    return needed


def mark_done(connection, name):
    with connection.cursor() as cursor:
        cursor.execute(MARK, ("done", name))
    connection.commit()


def work(names, url):
    """One worker's walk: how many it ran, how many of them failed."""
    runs = failed = 0
    is_shared = "{tenant}" not in url
    connection = psycopg2.connect(url) if is_shared else None
    for name in names:
        if not is_shared:
            connection = psycopg2.connect(url.replace("{tenant}", name))
        if claim(connection, name):
            runs += 1
            failed += subprocess.run(["/bin/true"], check=False).returncode != 0
            mark_done(connection, name)
        if not is_shared:
            connection.close()
    return runs, failed


def peak_kb():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def main():
    workers, url = int(sys.argv[1]), sys.argv[2]
    names = sys.stdin.read().split()
    reading, writing = os.pipe()
    for _ in range(workers):
        if os.fork() == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            runs, failed = work(names, url)
            os.write(writing, f"{runs} {failed} {peak_kb()}\n".encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = [[int(word) for word in line.split()] for line in pipe]
    ends = [os.wait()[1] for _ in range(workers)]
    if len(told) != workers or any(ends):
        sys.exit(f"a worker failed: {ends}")
    runs, failed, peak = (sum(column) for column in zip(*told))
    print(f"runs={runs} failed={failed} peak_kb={peak}")


if __name__ == "__main__":
    main()
