#!/bin/sh
# The tests' job: a line at its begin and one at its end, each one write, in a journal that the supervisor
# knows nothing of. Between them the tenant's plan is sourced, or else the default one.
# A kernel lock proves what times cannot: that no second copy lives, even where the first was killed.
folder=@FOLDER@
tenant=$TENANTCRON_TENANT
# A signal to the whole group may end date, whose time is then asked for again.
line() {
    time=
    until [ -n "$time" ]; do time=$(date +%s%N); done
    printf '%s %s %s %s %s %s %s\n' "$1" "$time" "$tenant" "$TENANTCRON_RUN_ID" "$TENANTCRON_NODE" $$ "$2" >>"$folder/journal"
}

exec 9>>"$folder/busy/$tenant"
flock -n 9 || line overlap -
line begin -
trap 'line end $?' EXIT
# Dies of the signal, as it would without the trap, but not without its line.
trap 'trap - EXIT TERM; line end 143; kill -TERM $$' TERM
plan=$folder/plan/$tenant
[ -e "$plan" ] || plan=$folder/default
. "$plan"
