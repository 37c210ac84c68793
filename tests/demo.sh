#!/bin/bash
# `make demo`: twelve tenants with a database each, for a minute, on a private PostgreSQL. Shows what `ps` and `tenantcron status`
# say meanwhile, checks that it was as promised (exit 1 if not), and leaves nothing behind, after a Ctrl-C neither.
# Works for root and for anybody else; opens no port.
set -euo pipefail
cd "$(dirname "$0")/.."
unset "${!PG@}" "${!TENANTCRON_@}"
export LC_ALL=C

SECONDS_SHOWN=60   # how long the supervisor runs
LONG_JOB=28        # seconds; more than one round of all the others
ALWAYS_LONG=archive.example    # first by name, so first in the first round
ALWAYS_FAILS=printer.example
SHORT=(bakery cinema dentist florist gallery hotel library museum school theatre)
TENANTS=("$ALWAYS_LONG" "${SHORT[@]/%/.example}" "$ALWAYS_FAILS")

bold='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\033[1m' plain=$'\033[0m'; fi
say() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }

say "Building"
cargo build --release --locked
binary=${CARGO_TARGET_DIR:-target}/release/tenantcron
binary=$(realpath "$binary")

# --- a folder, and what undoes everything -------------------------------------------------------------------
parent=${TMPDIR:-/tmp}
# Memory, where there is enough of it and scripts may be run from it.
if [ -w /dev/shm ] && ! grep -q '^[^ ]* /dev/shm .*noexec' /proc/mounts && [ "$(df --output=avail -k /dev/shm | tail -n 1)" -gt 1000000 ]; then
    parent=/dev/shm
fi
work=$(mktemp -d "$parent/tenantcron-demo.XXXXXX")
mark="DEMO_OF_TENANTCRON=$work" # in the environment of all that is started; not TENANTCRON_*, which is configuration
supervisor=
sampler=

marked() { grep -lsz "^$mark\$" /proc/[0-9]*/environ | cut -d/ -f3 || true; }
gone() { [ ! -d "/proc/$1" ] || [ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c1)" = Z ]; }
wait_gone() { # wait_gone PID SECONDS
    local left=$(($2 * 10))
    until gone "$1"; do
        [ $((left--)) -gt 0 ] || return 1
        sleep 0.1
    done
}
cleanup() {
    set +e
    trap '' INT TERM HUP
    [ -z "$sampler" ] || kill "$sampler" 2>/dev/null
    if [ -n "$supervisor" ] && ! gone "$supervisor"; then
        kill -TERM "$supervisor"
        wait_gone "$supervisor" 10 || kill -KILL "$supervisor"
    fi
    if [ -e "$work/pg/data/postmaster.pid" ]; then
        as_server "$bin/pg_ctl" stop -s -w -m immediate -D "$work/pg/data"
    fi
    local left
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        left=$(marked)
        [ -n "$left" ] || break
        # shellcheck disable=SC2086
        kill -KILL $left 2>/dev/null
        sleep 0.1
    done
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
chmod 755 "$work" # the server may run as another user

# --- a private PostgreSQL: no port, a socket in our folder ----------------------------------------------------
bin=$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1 || command -v initdb || true) # the newest
bin=${bin%/initdb}
[ -n "$bin" ] || { echo "PostgreSQL is not installed: run 'make deps' as root" >&2; exit 1; }
server_user=
if [ "$(id -u)" -eq 0 ]; then # it refuses to run as root
    server_user=nobody
    ! id postgres >/dev/null 2>&1 || server_user=postgres
fi
as_server() {
    (cd / && if [ -n "$server_user" ]; then runuser -u "$server_user" -- env "$mark" "$@"; else env "$mark" "$@"; fi)
}
sql() { # sql DATABASE ARGUMENT...
    timeout 20 "$bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$work/pg" -U postgres -d "$@"
}
database_of() { local name=${1//[.-]/_}; echo "demo_$name"; }

say "Starting a private PostgreSQL ($("$bin/postgres" --version)) in $work"
mkdir "$work/pg" "$work/log" "$work/state"
[ -z "$server_user" ] || chown "$server_user" "$work/pg"
as_server "$bin/initdb" -N -A trust -U postgres --no-locale -E UTF8 -D "$work/pg/data" >/dev/null
as_server "$bin/pg_ctl" start -s -w -t 60 -D "$work/pg/data" -l "$work/pg/log" \
    -o "-F -c listen_addresses='' -c unix_socket_directories='$work/pg' -c unix_socket_permissions=0777" ||
    { cat "$work/pg/log" >&2; exit 1; }

say "Twelve tenants, a database each: ${TENANTS[*]}"
sql postgres -c "CREATE DATABASE demo_model"
sql demo_model -c "CREATE TABLE letter (id int GENERATED ALWAYS AS IDENTITY, sent_at timestamptz)" \
    -c "INSERT INTO letter (sent_at) SELECT NULL FROM generate_series(1, 5000)"
for tenant in "${TENANTS[@]}"; do
    sql postgres -c "CREATE DATABASE $(database_of "$tenant") TEMPLATE demo_model"
done

# The work of one tenant: a query against its own database, and some seconds that stand for the rest.
cat >"$work/job" <<END
#!/bin/sh
tenant=\$1 database=\$2
'$bin/psql' -X -q -A -t -h '$work/pg' -U postgres -d "\$database" -v ON_ERROR_STOP=1 -c "
    WITH due AS (SELECT id FROM letter WHERE sent_at IS NULL ORDER BY id LIMIT 20),
         sent AS (UPDATE letter SET sent_at = now() FROM due WHERE letter.id = due.id RETURNING 1)
    SELECT 'sent ' || count(*) || ' letters as ' || current_setting('application_name') FROM sent" || exit 1
case \$tenant in
    $ALWAYS_LONG) sleep $LONG_JOB ;;
    $ALWAYS_FAILS) echo 'out of paper' >&2; exit 3 ;;
    *) sleep \$((\${#tenant} % 3 + 1)) ;;
esac
END
chmod 755 "$work/job"

cat >"$work/demo.toml" <<END
workers = 3
state = "$work/state"

[job]
command = ["$work/job", "{tenant}", "demo_{tenant_}"]
log = "$work/log/{tenant}.log"
kill_after = "5s"

[schedule]
every = "15s"

[tenants]
list = [$(printf '"%s", ' "${TENANTS[@]}")]

[database]
url = "postgresql://postgres@/demo_{tenant_}?host=$work/pg"
connections = 4
poll = "3s"

[log]
target = "stderr"
END
say "The configuration"
cat "$work/demo.toml"

# --- a minute of it ------------------------------------------------------------------------------------------
say "tenantcron run"
env "$mark" "$binary" run --config "$work/demo.toml" </dev/null 2>"$work/supervisor.log" &
supervisor=$!

# The most children at once, looked at five times a second.
while kill -0 "$supervisor" 2>/dev/null; do
    { ps --ppid "$supervisor" -o stat= || true; } | grep -vc '^Z' || true
    sleep 0.2
done >"$work/children" &
sampler=$!

begun=$SECONDS
for at in $(seq 5 10 $((SECONDS_SHOWN - 5))) $SECONDS_SHOWN; do
    while [ $((SECONDS - begun)) -lt "$at" ]; do
        sleep 0.2
        if gone "$supervisor"; then
            echo "the supervisor ended by itself:" >&2
            cat "$work/supervisor.log" >&2
            exit 1
        fi
    done
    say "After $at s: what runs is in ps"
    ps -o pid,ppid,stat,etime,args -p "$supervisor" --ppid "$supervisor" | sed "s|$work/||g; s|$binary|tenantcron|"
    say "After $at s: tenantcron status"
    timeout 30 "$binary" status --config "$work/demo.toml" || echo "(status: exit $?)"
done

say "SIGTERM: it ends its children, records them, and goes"
stopped=0
kill -TERM "$supervisor"
wait_gone "$supervisor" 30 || stopped="still there after 30 s"
[ "$stopped" != 0 ] || wait "$supervisor" || stopped="exit $?"

# --- what was seen -------------------------------------------------------------------------------------------
say "The log of ${SHORT[0]}.example (its last lines)"
tail -n 6 "$work/log/${SHORT[0]}.example.log" || true
say "What the supervisor said of $ALWAYS_FAILS"
grep -F "$ALWAYS_FAILS" "$work/supervisor.log" | tail -n 2 || true
say "The last runs of $ALWAYS_LONG, from its own database"
sql "$(database_of "$ALWAYS_LONG")" -c "
    SELECT id, key, node, pid, outcome, exit_code, to_char(started_at, 'HH24:MI:SS') AS started,
           to_char(finished_at - started_at, 'MI:SS') AS took
    FROM tenantcron_run ORDER BY id DESC LIMIT 5"

failures=0
check() { # check TEXT COMMAND...
    local text=$1
    shift
    if "$@" >/dev/null 2>&1; then echo "  yes  $text"; else
        echo "  NO   $text"
        failures=$((failures + 1))
    fi
}
number() { sql "$(database_of "$1")" -A -t -c "$2"; }

long_run=$(number "$ALWAYS_LONG" "SELECT started_at || '..' || finished_at FROM tenantcron_run WHERE outcome = 'ok' ORDER BY id LIMIT 1")
from=${long_run%..*} to=${long_run#*..}
ran_twice=0 done_twice=0
for name in "${SHORT[@]}"; do
    if [ -n "$long_run" ]; then
        count=$(number "$name.example" "SELECT count(*) FROM tenantcron_run WHERE started_at BETWEEN '$from' AND '$to'")
        [ "$count" -lt 2 ] || ran_twice=$((ran_twice + 1))
    fi
    count=$(number "$name.example" "SELECT count(*) FROM tenantcron_run WHERE outcome = 'ok'")
    [ "$count" -lt 2 ] || done_twice=$((done_twice + 1))
done
failed=$(number "$ALWAYS_FAILS" "SELECT count(*) FROM tenantcron_run WHERE outcome = 'failed' AND exit_code = 3")
open=0
for tenant in "${TENANTS[@]}"; do
    open=$((open + $(number "$tenant" "SELECT count(*) FROM tenantcron_run WHERE finished_at IS NULL")))
done
most=$(sort -n "$work/children" | tail -n 1)

say "As promised?"
check "$ALWAYS_LONG ran for $LONG_JOB s and ended well" [ -n "$long_run" ]
check "meanwhile the short ones ran on: $ran_twice of ${#SHORT[@]} began twice or more during that one run" [ "$ran_twice" -ge 8 ]
check "every short tenant ended well at least twice ($done_twice of ${#SHORT[@]})" [ "$done_twice" -eq ${#SHORT[@]} ]
check "$ALWAYS_FAILS failed with exit 3 and was tried again at its next slot ($failed runs)" [ "$failed" -ge 2 ]
check "never more than 3 children at once (most seen: $most)" [ "$most" -le 3 ]
check "but 3 when there was enough to do" [ "$most" -eq 3 ]
check "the supervisor went at SIGTERM with exit 0 ($stopped)" [ "$stopped" = 0 ]
check "no run was left open ($open)" [ "$open" -eq 0 ]
check "no child was left" [ -z "$(ps --ppid "$supervisor" -o pid=)" ]
[ $failures -eq 0 ] || { say "The supervisor's log"; tail -n 40 "$work/supervisor.log"; }

cleanup
check "nothing is left: no process" [ -z "$(marked)" ]
check "nothing is left: no folder" [ ! -e "$work" ]
trap - EXIT
[ $failures -eq 0 ] || { echo "demo: $failures of these did not hold" >&2; exit 1; }
