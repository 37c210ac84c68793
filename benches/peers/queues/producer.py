"""What enqueues: reads `[how many, argv]` a line, answers with the monotonic clock in ns once they are committed.

A process of its own, so that no client library runs in the driver; its CPU time is nobody's.
"""

import json
import subprocess
import sys
import time


def serve(enqueue):
    """Calls `enqueue(count, argv)` for each line of the driver, which closes the pipe at the end."""
    print("ready", flush=True)
    for line in sys.stdin:
        enqueue(*json.loads(line))
        print(time.monotonic_ns(), flush=True)


def child(argv):
    """What every task does: a child process, whose failure is the task's."""
    subprocess.run(argv, check=True)
