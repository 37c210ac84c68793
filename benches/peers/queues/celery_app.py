"""Celery: prefork, broker Redis, every result in PostgreSQL."""

import os

from celery import Celery

import producer

PG = "postgresql+psycopg2://postgres@/postgres?host={PGHOST}&port={PGPORT}".format(**os.environ)
app = Celery("peers", broker="redis+socket://" + os.environ["REDIS"], backend="db+" + PG)
# "Lots of short tasks": the guide to optimizing has a large prefetch for them; `-O fair` stands on the command line.
app.conf.update(worker_prefetch_multiplier=64, result_expires=None)


@app.task
def run(argv):
    producer.child(argv)


def enqueue(count, argv):
    with app.producer_or_acquire() as connection:
        for _ in range(count):
            run.apply_async((argv,), producer=connection)


if __name__ == "__main__":
    # As the worker imports it: else the task would be named after __main__.
    import celery_app

    celery_app.app.backend.ResultSession().close()  # creates its tables
    producer.serve(celery_app.enqueue)
