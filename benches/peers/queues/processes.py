"""Processes: started so that none outlives us, stopped for certain, and what /proc says of them."""

import ctypes
import functools
import os
import pathlib
import pwd
import signal
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
STOPS_WITHIN = 10


def adopt_orphans():
    """What a worker leaves behind becomes our child, so that `last_children` finds it."""
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def spawn(command, env, dies_by=signal.SIGTERM, **more):
    """Starts it in a session of its own (a Ctrl-C is ours alone); it is told by `dies_by` should we be killed."""
    tie = functools.partial(LIBC.prctl, PR_SET_PDEATHSIG, int(dies_by), 0, 0, 0)
    return subprocess.Popen(command, env=env, start_new_session=True, preexec_fn=tie, **more)


def stop(processes, by=signal.SIGTERM):
    """Asks all of them at once, then kills what is left of their trees."""
    living = [process for process in processes if process.poll() is None]
    family = tree(living)
    for process in living:
        send(process.pid, by)
    for pid in family:
        send(pid, signal.SIGCONT)
    deadline = time.monotonic() + STOPS_WITHIN
    while time.monotonic() < deadline and any(process.poll() is None for process in living):
        time.sleep(0.02)
    for process in living:
        if process.poll() is None:
            send(process.pid, signal.SIGKILL)
            process.wait()
    last_children(within=family)


def last_children(within=None):
    """Ends and reaps our own children that `within` names (all by default); returns how many there were."""
    ours = [pid for pid in children(os.getpid()) if within is None or pid in within]
    for pid in ours:
        send(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return len(ours)


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def children(pid):
    """Those of all its threads."""
    found = []
    for file in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in file.read_text().split()]
        except OSError:
            pass  # the thread is gone
    return found


def tree(processes):
    """The pids of these and of all that descend from them."""
    found = [process.pid for process in processes]
    for pid in found:
        found += children(pid)
    return found


def cpu_seconds(pids):
    """User and system time of these and of the children that they have waited for."""
    ticks = 0
    for pid in pids:
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # ended: its parent has waited for it and carries it now
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / TICKS


def peak_memory(pids):
    """MB: the sum of the peaks (shared pages once in each), and of what is theirs now with shared pages divided (PSS)."""
    peak = share = 0
    for pid in pids:
        try:
            peak += field(pid, "status", "VmHWM:")
            share += field(pid, "smaps_rollup", "Pss:")
        except OSError:
            continue
    return peak / 1024, share / 1024


def field(pid, file, name):
    """A figure of /proc in kB."""
    for line in pathlib.Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0


def unprivileged():
    """Whom root runs the servers as; none where we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise RuntimeError("no user postgres or nobody to run PostgreSQL as")


def as_user():
    """The arguments of `spawn` that make a server run as that user."""
    user = unprivileged()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


def give_away(folder):
    """To that user, with all that it holds."""
    user = unprivileged()
    if user:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)
