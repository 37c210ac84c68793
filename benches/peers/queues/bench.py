#!/usr/bin/env python3
"""`make bench-peers`: the job queues that a user would take instead, tenantcron and `xargs -P` on the same work, side by side.

The work: N tasks, each a child process (/bin/true) whose end is durably recorded in PostgreSQL. It is not a benchmark of queues for their
own sake: tasks that start no child would look different. ROWS="celery rq" measures those rows alone.
Invariant: nothing runs and no cluster stands once this has ended, however it ends; only the packages in target/bench-peers are kept.
"""

import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from contender import SAMPLES, WARMING, WORKERS, Contender, postgresql
from packages import NPM, PYTHON, Packages
from peers import PEERS, TARGET, TENANTCRON
from processes import adopt_orphans, as_user, give_away, last_children

ROUNDS, IDLE_SECONDS = 3, 30
COLUMNS = ("who", "runs/s, 2 at a time", "8 at a time", "tenantcron ÷ it, 2 / 8", "CPU ms a run, 2 / 8")
COLUMNS += ("peak MB, 2 / 8", "delay ms, p50 / p99", "idle CPU s a minute")
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end(*_):
    heed(signal.SIG_IGN)
    sys.exit("ended by a signal")


def heed(handler):
    for number in ENDING:
        signal.signal(number, handler)


def main():
    began = time.monotonic()
    heed(end)
    adopt_orphans()
    asked = os.environ.get("ROWS", "").split() or [peer.name for peer in PEERS]
    peers = [peer for peer in PEERS if peer.name in asked]
    if len(peers) != len(asked):
        sys.exit(f"ROWS: choose from {' '.join(peer.name for peer in PEERS)}")
    packages = Packages(TARGET / "bench-peers")
    packages.install({peer.package: None for peer in peers if peer.package})
    packages.compile_stamp()
    installed = time.monotonic()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tc-peers-"))
    folder.chmod(0o755)
    contenders = []
    try:
        template = initialise(folder)
        contenders += [Contender(peer, folder, packages) for peer in peers]
        measure(contenders, template)
        conditions(contenders, folder)
    finally:
        heed(signal.SIG_IGN)  # a signal, or a second one (`timeout` sends two), must not cut the tidying short
        for contender in contenders:
            contender.end()
        left = last_children()
        shutil.rmtree(folder, ignore_errors=True)
    table(contenders)
    print(f"\n{time.monotonic() - installed:.0f} s, and {installed - began:.0f} s for packages.")
    if left:
        sys.exit(f"{left} processes had to be killed at the end")
    if any(contender.failure for contender in contenders if contender.peer.name in ("xargs", "tenantcron")):
        sys.exit(1)


def initialise(folder):
    """The cluster that every row gets a copy of."""
    template = folder / "template"
    template.mkdir()
    give_away(template)
    command = [postgresql("initdb"), "-A", "trust", "-U", "postgres", "--no-locale", "-E", "UTF8", "-D", template / "data"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **as_user())
    return template


def each(contenders, step):
    """One after the other, those that still stand; a failure ends its row alone."""
    for contender in contenders:
        if not contender.failure:
            with contender.trying():
                step(contender)


def measure(contenders, template):
    queues = [contender for contender in contenders if contender.peer.name != "xargs"]
    each(queues, lambda contender: contender.serve(template))
    for workers in WORKERS:
        say(f"{workers} at a time")
        each(queues, lambda contender: contender.stop_workers())
        each(queues, lambda contender: contender.start(workers, ["/bin/true"]))
        each(queues, lambda contender: contender.warm_up())
        for _ in range(ROUNDS):
            each(contenders, lambda contender: contender.measure(workers))
    say("delays")
    fixed = [contender for contender in queues if contender.peer.configure]  # its child stands in the configuration
    each(fixed, lambda contender: contender.stop_workers())
    each(fixed, lambda contender: contender.start(WORKERS[-1], contender.stamp("{tenant}")))
    time.sleep(1)
    each(queues, lambda contender: contender.measure_delays())
    say("idle")
    for statement in ("VACUUM ANALYZE", "CHECKPOINT"):  # else the load's leavings would be charged to the idle
        each(queues, lambda contender: contender.sql.ask(statement))
    time.sleep(3)
    before = {contender: contender.cpu_now() for contender in queues}
    time.sleep(IDLE_SECONDS)
    for contender in queues:
        contender.idle = (contender.cpu_now() - before[contender]) * 60 / IDLE_SECONDS


def say(what):
    print(what, file=sys.stderr, flush=True)


def conditions(contenders, folder):
    """Above the table: versions, machine, settings."""
    server = answer(postgresql("postgres")).split()[2]
    redis = answer("redis-server").split()[2].strip("v=") if shutil.which("redis-server") else "none"
    model = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    used = {contender.peer.package for contender in contenders} - {""}
    pinned = sorted({package for name in used for package in {**PYTHON, **NPM}[name]})
    cpus = f"{len(os.sched_getaffinity(0))} CPUs ({model[0] if model else 'unknown'})"
    print(f"{cpus}, Linux {os.uname().release}, a flush of {flush_ms(folder):.2f} ms in {folder.parent}")
    print(f"PostgreSQL {server} as installed (fsync and synchronous_commit on), one cluster a row, Unix sockets; Redis {redis} as installed")
    print(f"{answer(TENANTCRON).strip()}; Python {sys.version.split()[0]}; {', '.join(pinned)}")
    print(f"""{ROUNDS} rounds, rows in turn, each filled before its clock starts; the median, behind it the range. CPU: workers, children, Redis and
PostgreSQL, not the enqueuer. Memory: the sum of the peaks of all worker processes, behind it their PSS. Delay: {SAMPLES - WARMING} samples from the
commit to main() of a static C program, 8 workers idle. Idle: {IDLE_SECONDS} s, all rows at once, workers with servers, a minute's worth; ticks of 10 ms.""")
    for contender in contenders:
        if contender.peer.settings:
            print(f"- {contender.peer.title}: {contender.peer.settings}; {contender.peer.tasks} tasks a round")
    print()


def answer(program):
    return subprocess.run([program, "--version"], capture_output=True, text=True).stdout


def flush_ms(folder):
    """The median of a hundred fdatasync after 8 kB."""
    times = []
    with open(folder / "flush", "wb", buffering=0) as file:
        for _ in range(100):
            began = time.monotonic()
            file.write(b"\0" * 8192)
            os.fdatasync(file)
            times.append((time.monotonic() - began) * 1000)
    return statistics.median(times)


def table(contenders):
    print(f"| {' | '.join(COLUMNS)} |\n|{' --- |' * len(COLUMNS)}")
    ours = next((contender.rates for contender in contenders if contender.peer.name == "tenantcron"), None)
    for contender in contenders:
        print(f"| {contender.peer.title} | " + " | ".join(cells(contender, ours)) + " |")


def cells(contender, ours):
    if contender.failure:
        return [f"could not be measured: {' '.join(contender.failure.split())}".replace("|", "/"), *[""] * 6]
    rates = [f"{statistics.median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f})" for rates in contender.rates.values()]
    ratios = "–"
    if ours and ours[WORKERS[-1]] and contender.rates is not ours:
        pairs = [[mine / its for mine, its in zip(ours[workers], contender.rates[workers])] for workers in WORKERS]
        ratios = " / ".join(f"{statistics.median(pair):.2f}" for pair in pairs)
    cpu = " / ".join(f"{statistics.median(used):.2f}" for used in contender.cpu.values())
    peaks = [max(rounds, key=lambda both: both[0]) for rounds in contender.memory.values()]
    memory = " / ".join(f"{peak:.0f} ({share:.0f})" for peak, share in peaks)
    delays = contender.delays
    delay = f"{statistics.median(delays):.1f} / {delays[int(len(delays) * 0.99)]:.1f}" if delays else "–"
    return [*rates, ratios, cpu, memory, delay, "–" if contender.idle is None else f"{contender.idle:.2f}"]


if __name__ == "__main__":
    main()
