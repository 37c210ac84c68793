# Outlives the test process, whose end of the pipe on standard input closes in whatever way it dies; then
# ends and removes all that it left. Arguments: the folder, the mark. Lines read: PID START-TIME to end.
trap '' HUP INT QUIT TERM
root=$1 mark=$2 watched=
cd /

while read -r pid start; do watched="$watched $pid:$start"; done

after_name() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null; }
started() { after_name "$1" | cut -d' ' -f20; }
lives() { case $(after_name "$1") in '' | Z*) return 1 ;; esac; }

for known in $watched; do
    pid=${known%:*}
    if [ "$(started "$pid")" = "${known#*:}" ]; then kill -KILL "$pid"; fi
done

# An immediate stop, not SIGKILL: that would leave shared memory behind. Frozen ones are thawed for it.
for file in "$root"/*/data/postmaster.pid; do
    pid=$(head -n 1 "$file" 2>/dev/null) || continue
    case $pid in *[!0-9]* | '') continue ;; esac
    family="$pid $(ps -o pid= --ppid "$pid" | tr '\n' ' ')"
    kill -CONT $family
    kill -QUIT "$pid"
    for _ in $(seq 160); do
        lives "$pid" || break
        sleep 0.05
    done
    if lives "$pid"; then kill -KILL $family; fi
done

for _ in $(seq 100); do
    left=$(grep -lsz "^TC_TEST_ID=$mark" /proc/[0-9]*/environ | cut -d/ -f3)
    [ -n "$left" ] || break
    kill -KILL $left
    sleep 0.05
done

while read -r _ at _; do
    case $at in "$root"/*) umount -l "$at" ;; esac
done </proc/mounts

rm -rf "$root" || { sleep 1; rm -rf "$root"; }
