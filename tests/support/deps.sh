#!/bin/bash
# Sees to what the build (deps.sh build), the demo (demo), the benches (bench), the comparison with job queues (bench-peers)
# or the whole suite (all) needs beyond cargo. As root it installs what is missing from Debian's archive, without
# starting any service; otherwise it prints the command.
set -euo pipefail
what=${1:-all}

missing=()
need() { # need PACKAGE COMMAND...: the package is missing unless the command succeeds
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}
has() { command -v "$1" || [ -x "/usr/sbin/$1" ]; }
compiles() { echo '#include <stdio.h>' | cc -E -; }
has_postgresql() { compgen -G '/usr/lib/postgresql/*/bin/initdb' || command -v initdb; }
has_psycopg2() { /usr/bin/python3 -c 'import psycopg2' || python3 -c 'import psycopg2'; }
has_psql() { compgen -G '/usr/lib/postgresql/*/bin/psql' || command -v psql; }

if ! command -v cargo >/dev/null; then
    echo "cargo is not installed: Rust 1.88 or later is needed (rustup, or the distribution's backports)" >&2
    exit 1
fi
need gcc has cc
need libc6-dev compiles
need pkg-config has pkg-config
need libssl-dev pkg-config --exists openssl
need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
if [ "$what" != build ]; then
    need postgresql has_postgresql
    need postgresql-client has_psql
    need procps has ps
    need util-linux has runuser
fi
if [ "$what" = bench ]; then
    # the peers: programs in C, and the algorithm that we replace
    need libpq-dev pkg-config --exists libpq
    need python3 has python3
    need python3-psycopg2 has_psycopg2
fi
if [ "$what" = all ]; then
    need openssl has openssl
    need rsyslog has rsyslogd
    need pgbouncer has pgbouncer
    need strace has strace
    need man-db has man
fi
if [ "$what" = bench-peers ]; then
    need python3 has python3
    need python3-venv python3 -c 'import ensurepip, venv'
    need npm has npm
    need redis-server has redis-server
fi
[ ${#missing[@]} -gt 0 ] || exit 0

install=(apt-get install -y --no-install-recommends "${missing[@]}")
if [ "$(id -u)" -ne 0 ]; then
    echo "missing: ${missing[*]}; as root: ${install[*]}" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]} (names as in Debian); install them by this system's own means" >&2
    exit 1
fi

# The tests start what they need themselves. Neither a database "main" nor a system logger shall appear on this machine only because
# they were run: for the time of the installation Debian is told to create no cluster and to start no service.
undo=()
cleanup() { [ ${#undo[@]} -eq 0 ] || rm -f "${undo[@]}"; }
trap cleanup EXIT
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    undo+=("$policy")
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
fi
if [[ " ${missing[*]} " == *" postgresql "* ]]; then
    folder=/etc/postgresql-common/createcluster.d
    mkdir -p $folder
    undo+=("$folder/tenantcron-tests.conf")
    echo 'create_main_cluster = false' >$folder/tenantcron-tests.conf
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
"${install[@]}"
