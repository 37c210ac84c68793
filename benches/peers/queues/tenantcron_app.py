"""tenantcron: a run is asked for as an application would, by an UPDATE and a NOTIFY in one transaction."""

import psycopg2

import producer


def enqueue(count, argv):
    """`argv` ends with the tenant's name where one is meant; the child itself stands in the configuration."""
    one = count == 1 and len(argv) > 1
    with client, client.cursor() as cursor:  # commits at its end
        if one:
            cursor.execute("UPDATE tenantcron_status SET value = 'needed' WHERE key = %s AND value = 'done'", argv[-1:])
            cursor.execute("SELECT pg_notify('tenantcron', %s)", argv[-1:])
        else:
            cursor.execute("UPDATE tenantcron_status SET value = 'needed' WHERE value = 'done'; NOTIFY tenantcron")


if __name__ == "__main__":
    client = psycopg2.connect("")
    producer.serve(enqueue)
