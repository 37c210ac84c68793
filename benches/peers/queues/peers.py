"""The rows of the table: how each peer is started with its documented fast settings, and how its ends are counted.

`done` answers with two counts, of what ended well and of what failed; `reset` empties what it counts;
`twice` shows what was recorded too often.
"""

import dataclasses
import os
import pathlib
import subprocess
import typing

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or HERE.parents[2] / "target").resolve()
TENANTCRON = TARGET / "release/tenantcron"


@dataclasses.dataclass
class Peer:
    """One row. `package` is a key of packages.PYTHON or packages.NPM."""

    name: str
    title: str
    package: str = ""
    producer: tuple = ()
    worker: typing.Callable = None
    done: str = ""
    reset: str = ""
    twice: str = ""
    tasks: int = 600
    redis: bool = False
    configure: typing.Callable = None
    settings: str = ""


def configure_tenantcron(contender, workers, command):
    """Its own rounds come once a year: what runs was asked for by an UPDATE and a NOTIFY."""
    folder, count = contender.folder, contender.peer.tasks
    url = f"postgresql://postgres@/postgres?host={folder}&port=5432"
    (folder / "bench.toml").write_text(
        f"""workers = {workers}
state = "{folder}/state"
job = {{ command = {command!r}, log = "{folder}/logs/{{tenant}}.log" }}
schedule = {{ every = "365d", offset = "0s" }}
tenants = {{ command = ["/usr/bin/seq", "-f", "t%.0f", "0", "{count - 1}"], refresh = "1h" }}
database = {{ url = "{url}" }}
log = {{ target = "stderr", level = "warn" }}
"""
    )
    migrate = [TENANTCRON, "migrate", "--config", folder / "bench.toml"]
    subprocess.run(migrate, env=contender.env, check=True, capture_output=True)
    # `migrate` made the rows as needed: a first round of its own would mingle with the rounds that are measured.
    contender.sql.ask("UPDATE tenantcron_status SET value = 'done', updated_at = now()")


CELERY = "celery -A celery_app worker -O fair --without-gossip --without-mingle --without-heartbeat -l WARNING -c"
GRAPHILE = {
    "package": "graphile-worker",
    "producer": ("node", "graphile.mjs"),
    "done": "SELECT {count} - count(*), count(*) FILTER (WHERE last_error IS NOT NULL) FROM graphile_worker._private_jobs",
    "reset": "TRUNCATE graphile_worker._private_jobs",
}
RQ = {
    "package": "rq",
    "producer": ("python", "rq_app.py"),
    "done": "SELECT count(*), 0 FROM ended",
    "reset": "TRUNCATE ended",
    "redis": True,
}


def rq(workers, contender, kind):
    url = "unix://" + contender.env["REDIS"]
    return ["rq", "worker-pool", "-u", url, "-n", workers, "-w", f"rq.worker.{kind}", "-l", "WARNING", "-q"]


PEERS = [
    Peer("xargs", "`xargs -P`, no record", tasks=2000),
    Peer(
        "tenantcron",
        "tenantcron",
        package="producer",
        producer=("python", "tenantcron_app.py"),
        worker=lambda workers, contender: [TENANTCRON, "run", "--config", contender.folder / "bench.toml"],
        done="SELECT count(*) FILTER (WHERE outcome = 'ok'), count(*) FILTER (WHERE outcome <> 'ok') FROM tenantcron_run",
        reset="TRUNCATE tenantcron_run",
        twice="SELECT * FROM tenantcron_run WHERE key IN (SELECT key FROM tenantcron_run GROUP BY key HAVING count(*) > 1)",
        tasks=2000,
        configure=configure_tenantcron,
        settings="one shared database, defaults",
    ),
    Peer(
        "celery",
        "Celery, result in PostgreSQL",
        package="celery",
        producer=("python", "celery_app.py"),
        worker=lambda workers, contender: [*CELERY.split(), workers],
        done="SELECT count(*) FILTER (WHERE status = 'SUCCESS'), count(*) FILTER (WHERE status <> 'SUCCESS') FROM celery_taskmeta",
        reset="TRUNCATE celery_taskmeta",
        redis=True,
        settings="prefork, -O fair, prefetch multiplier 64, no gossip, mingle, heartbeat; broker Redis; acknowledged before the run",
    ),
    Peer(
        "procrastinate",
        "procrastinate",
        package="procrastinate",
        producer=("python", "procrastinate_app.py"),
        worker=lambda workers, contender: ["python", "procrastinate_app.py", "work", workers],
        done="SELECT count(*) FILTER (WHERE status = 'succeeded'), count(*) FILTER (WHERE status = 'failed') FROM procrastinate_jobs",
        reset="TRUNCATE procrastinate_jobs CASCADE",
        settings="one worker, concurrency as said, a synchronous task (a thread each), LISTEN on",
    ),
    Peer(
        "rq",
        "RQ, default",
        worker=lambda workers, contender: rq(workers, contender, "Worker"),
        tasks=100,
        settings="worker-pool; forks a process a job; the task itself writes its end to PostgreSQL (a connection a job)",
        **RQ,
    ),
    Peer(
        "rq-simple",
        "RQ, SimpleWorker",
        worker=lambda workers, contender: rq(workers, contender, "SimpleWorker"),
        settings="worker-pool of SimpleWorker (its manual's advice for very short jobs); a connection a worker",
        **RQ,
    ),
    Peer(
        "graphile",
        "graphile-worker, default",
        worker=lambda workers, contender: ["node", "graphile.mjs", "work", workers],
        settings="concurrentJobs as said",
        **GRAPHILE,
    ),
    Peer(
        "graphile-tuned",
        "graphile-worker, fetching 100 ahead",
        worker=lambda workers, contender: ["node", "graphile.mjs", "work", workers, "tuned"],
        settings="localQueue 100, completeJobBatchDelay 0, failJobBatchDelay 0, a connection a job",
        **GRAPHILE,
    ),
    Peer(
        "pg-boss",
        "pg-boss, fetching 20 ahead",
        package="pg-boss",
        producer=("node", "pgboss.mjs"),
        worker=lambda workers, contender: ["node", "pgboss.mjs", "work", workers],
        done="SELECT count(*) FILTER (WHERE state = 'completed'), count(*) FILTER (WHERE state IN ('failed', 'retry')) FROM pgboss.job",
        reset="TRUNCATE pgboss.job",
        settings="localConcurrency as said, batchSize 20, burstWhenBatchFull, useListenNotify (its default would poll every 2 s)",
    ),
]
