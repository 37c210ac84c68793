"""procrastinate: jobs, their states and events in PostgreSQL. `work N` or nothing: the producer."""

import sys

import procrastinate

import producer

app = procrastinate.App(connector=procrastinate.PsycopgConnector())


@app.task(name="run")
def run(argv):
    producer.child(argv)


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        app.run_worker(concurrency=int(sys.argv[2]))
    else:
        with app.replace_connector(procrastinate.SyncPsycopgConnector()) as here, here.open():
            if not here.check_connection():
                here.schema_manager.apply_schema()
            producer.serve(lambda count, argv: here.tasks["run"].batch_defer(*[{"argv": argv}] * count))
