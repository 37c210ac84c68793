"""One row of the table at work: its servers, enqueuer and workers, and the rounds and delays measured on them.

Every row has a cluster (and Redis) of its own, so that /proc tells whose CPU time it is. What goes wrong here is this row's reason, never
the end of the others.
"""

import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import time

from processes import as_user, cpu_seconds, give_away, peak_memory, spawn, stop, tree

HERE = pathlib.Path(__file__).resolve().parent
DEADLINE = 60
WORKERS = (2, 8)
SAMPLES, WARMING = 120, 20
PIPE = subprocess.PIPE


def postgresql(program):
    """The newest installed server's program, else the one in PATH."""
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: int(path.parts[4]))
    return str(found[-1]) if found else program


class Sql:
    """A psql that stays open, so that the driver itself needs no package."""

    def __init__(self, env):
        command = [postgresql("psql"), "-XqAt"]
        self.process = spawn(command, env, stdin=PIPE, stdout=PIPE, stderr=subprocess.STDOUT, text=True)

    def ask(self, statement):
        self.process.stdin.write(f"{statement};\n\\echo END\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line == "END\n":
                return lines
            if line.startswith(("ERROR", "FATAL", "psql:")):
                raise RuntimeError(f"{statement}: {line.strip()}")
            lines.append(line.strip())
        raise RuntimeError("psql ended")


class Contender:
    """Rates, CPU and memory are kept by how many work at a time, one figure a round."""

    def __init__(self, peer, folder, packages):
        self.peer, self.folder, self.packages = peer, folder / peer.name, packages
        self.servers, self.workers, self.clients = [], [], []
        self.rates, self.cpu, self.memory = ({workers: [] for workers in WORKERS} for _ in range(3))
        self.delays, self.idle, self.failure = [], None, packages.reasons.get(peer.package)
        self.stamps = self.folder / "stamps"
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "TENANTCRON_"))}
        self.env |= {"PGHOST": str(self.folder), "PGPORT": "5432", "PGUSER": "postgres", "PGDATABASE": "postgres"}
        self.env |= {"REDIS": str(self.folder / "redis.sock"), "PEERS": str(packages.folder), "PYTHONDONTWRITEBYTECODE": "1"}

    @contextlib.contextmanager
    def trying(self):
        """For what may fail in one row; nothing more is tried once it did."""
        try:
            yield
        except (OSError, RuntimeError, LookupError, ValueError, subprocess.SubprocessError) as error:
            self.failure = f"{error} {self.last_words()}"
            self.end()

    def last_words(self):
        log = self.folder / "log"
        lines = log.read_text(errors="replace").split("\n") if log.exists() else []
        return "(" + " / ".join(line.strip() for line in lines[-4:] if line.strip())[-300:] + ")"

    def run(self, command, **more):
        with open(self.folder / "log", "a") as log:
            return spawn(self.packages.command(command), self.env, **{"cwd": HERE, "stdout": log, "stderr": log, **more})

    def serve(self, template):
        """Its servers, then the enqueuer, which makes the tables."""
        shutil.copytree(template, self.folder)
        self.stamps.touch()
        give_away(self.folder)
        sockets = [self.folder / ".s.PGSQL.5432"]
        command = [postgresql("postgres"), "-D", self.folder / "data", "-k", self.folder, "-h", "", "-p", "5432"]
        self.servers.append(self.run(command, cwd="/", dies_by=signal.SIGINT, **as_user()))
        if self.peer.redis:
            sockets.append(pathlib.Path(self.env["REDIS"]))
            command = ["redis-server", "--port", "0", "--unixsocket", sockets[-1], "--unixsocketperm", "777", "--dir", self.folder]
            self.servers.append(self.run(command, **as_user()))
        self.until(lambda: all(socket.exists() for socket in sockets), "its servers")
        self.until(self.connect, "PostgreSQL")
        self.producer = self.run(self.peer.producer, stdin=PIPE, stdout=PIPE, text=True)
        self.clients.append(self.producer)
        if self.producer.stdout.readline() != "ready\n":
            raise RuntimeError("its enqueuer did not start")

    def connect(self):
        self.sql = Sql(self.env)
        self.clients.append(self.sql.process)
        try:
            return self.sql.ask("SELECT 1") == ["1"]
        except (RuntimeError, OSError):
            return False

    def until(self, condition, what):
        deadline = time.monotonic() + DEADLINE
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(f"waited {DEADLINE} s for {what}")
            if any(process.poll() is not None for process in self.servers + self.workers):
                raise RuntimeError(f"a process of it ended before {what}")
            time.sleep(0.02)

    def start(self, workers, child):
        if self.peer.configure:
            self.peer.configure(self, workers, child)
        self.workers = [self.run(self.peer.worker(workers, self))]

    def warm_up(self):
        """Every process has been there and holds its connection before anything is measured."""
        count = self.peer.tasks if self.peer.configure else WARMING
        self.sql.ask(self.peer.reset)
        self.enqueue(count, ["/bin/true"])
        self.until(lambda: self.all_done(count), "its first tasks")

    def stamp(self, name):
        return [str(self.packages.folder / "stamp"), str(self.stamps), name]

    def enqueue(self, count, argv):
        """Returns the moment (monotonic, ns) at which they were committed."""
        self.producer.stdin.write(json.dumps([count, argv]) + "\n")
        self.producer.stdin.flush()
        answer = self.producer.stdout.readline()
        if not answer:
            raise RuntimeError("its enqueuer ended")
        return int(answer)

    def all_done(self, count):
        done, failed = map(int, self.sql.ask(self.peer.done.format(count=count))[0].split("|"))
        if failed or done > count:
            twice = self.sql.ask(self.peer.twice) if self.peer.twice else ""
            raise RuntimeError(f"{failed} runs failed, {done} of {count} were recorded {twice}")
        return done == count

    def measure(self, workers):
        """A round. The queue is filled while the workers stand still, so that nobody waits for the enqueuer."""
        if self.peer.name == "xargs":
            return self.measure_xargs(workers)
        count, charged, frozen = self.peer.tasks, self.servers + self.workers, tree(self.workers)
        self.sql.ask(self.peer.reset)
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        self.enqueue(count, ["/bin/true"])
        before, began = cpu_seconds(tree(charged)), time.monotonic()
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        self.until(lambda: self.all_done(count), "the end of a round")
        self.rates[workers].append(count / (time.monotonic() - began))
        time.sleep(0.05)  # what is acknowledged after the record is part of it
        self.cpu[workers].append((cpu_seconds(tree(charged)) - before) * 1000 / count)
        self.memory[workers].append(peak_memory(tree(self.workers)))

    def measure_xargs(self, workers):
        names = "\n".join(f"t{number}" for number in range(self.peer.tasks))
        began = time.monotonic()
        xargs = spawn(["xargs", "-P", str(workers), "-n", "1", "/bin/true"], self.env, stdin=PIPE, text=True)
        xargs.stdin.write(names)
        xargs.stdin.flush()
        time.sleep(0.1)
        memory = peak_memory([xargs.pid])
        xargs.stdin.close()
        _, status, usage = os.wait4(xargs.pid, 0)
        xargs.returncode = status
        if status:
            raise RuntimeError(f"xargs ended with {status}")
        self.rates[workers].append(self.peer.tasks / (time.monotonic() - began))
        self.cpu[workers].append((usage.ru_utime + usage.ru_stime) * 1000 / self.peer.tasks)
        self.memory[workers].append(memory)

    def measure_delays(self):
        """One every 30 to 70 ms, whatever became of the one before; the first are warming up."""
        sent = {}
        for number in range(SAMPLES):
            sent[f"t{number}"] = self.enqueue(1, self.stamp(f"t{number}"))
            time.sleep(random.uniform(0.03, 0.07))
        self.until(lambda: self.stamps.read_text().count("\n") >= SAMPLES, "the last stamp")
        stamps = dict(line.split() for line in self.stamps.read_text().splitlines())
        if stamps.keys() != sent.keys():
            raise RuntimeError("not every child stamped once")
        self.delays = sorted((int(stamps[name]) - sent[name]) / 1e6 for name in list(sent)[WARMING:])

    def cpu_now(self):
        return cpu_seconds(tree(self.servers + self.workers))

    def stop_workers(self):
        stop(self.workers)
        self.workers = []

    def end(self):
        self.stop_workers()
        stop(self.clients)
        stop(self.servers[:1], signal.SIGQUIT)  # PostgreSQL, at once: nobody will read its data again
        stop(self.servers[1:])
        self.clients, self.servers = [], []
