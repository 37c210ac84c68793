"""RQ: jobs in Redis. It has no result backend in PostgreSQL, so the task records its own end there."""

import os

import psycopg2
from redis import Redis
from rq import Queue

import producer

connection = None


def run(argv):
    global connection
    producer.child(argv)
    if connection is None:  # once a process: with the default worker that is once a job
        connection = psycopg2.connect("")
        connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO ended DEFAULT VALUES")


def enqueue(count, argv):
    if count == 1:
        queue.enqueue("rq_app.run", argv)
    else:
        queue.enqueue_many([Queue.prepare_data("rq_app.run", (argv,)) for _ in range(count)])


if __name__ == "__main__":
    queue = Queue(connection=Redis(unix_socket_path=os.environ["REDIS"]))
    with psycopg2.connect("") as setup:
        setup.cursor().execute(
            "CREATE TABLE IF NOT EXISTS ended (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz DEFAULT now())"
        )
    producer.serve(enqueue)
