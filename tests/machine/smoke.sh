#!/bin/sh
# Runs inside the machine that scripts/machine boots, as its first program but one: limits, run, up and down
# on pure cgroup v2. Needs `coracle`, busybox and a registry that /var/lib/coracle/registries.conf names.
# Ends with a line `smoke: N failed`.

failed=0
say() { echo "smoke: $*"; }
check() { if [ "$2" = "$3" ]; then say "ok: $1"; else failed=$((failed + 1)); say "NOT OK: $1: wanted \`$3\`, found \`$2\`"; fi; }
# within SECONDS COMMAND... until it succeeds
within() { limit=$(($1 * 10)); shift; while ! "$@" >/dev/null 2>&1; do limit=$((limit - 1)); [ $limit -gt 0 ] || return 1; sleep 0.1; done; }
# group ID: the control group directory of a container, by its first process
group() { for process in /proc/[0-9]*; do grep -q "$1" "$process/cgroup" 2>/dev/null && { echo "/sys/fs/cgroup$(sed -n 's/^0:://p' "$process/cgroup")"; return; }; done; }
left() { find /sys/fs/cgroup -type d | grep -c -E '[0-9a-f]{64}'; }

check "cgroup v2 and nothing else" "$(grep -c cgroup2 /proc/mounts) $(grep -c ' cgroup ' /proc/mounts)" "1 0"
check "run answers" "$(coracle run --rm busybox echo from inside)" "from inside"
coracle run --rm busybox sh -c 'exit 7'; check "run gives the exit code" $? 7

id=$(coracle run -d -m 64m --cpus 0.5 --pids-limit 20 busybox sleep 1000)
within 10 group "$id"
group=$(group "$id")
check "memory.max" "$(cat "$group/memory.max")" 67108864
check "cpu.max" "$(cat "$group/cpu.max")" "50000 100000"
check "pids.max" "$(cat "$group/pids.max")" 20
check "a device of Docker's list" "$(coracle exec "$id" sh -c 'head -c 1 /dev/zero | wc -c')" 1
check "a device that is not" "$(coracle exec "$id" sh -c 'mknod /tmp/kmsg c 1 11 && head -c 1 /tmp/kmsg 2>/dev/null | wc -c')" 0
used() { sed -n 's/^usage_usec //p' "$group/cpu.stat"; }
coracle exec -d "$id" sh -c 'while :; do :; done'
coracle pause "$id" >/dev/null
first=$(used); sleep 0.5
check "a paused container uses no CPU" "$(used)" "$first"
coracle unpause "$id" >/dev/null
coracle rm -f "$id" >/dev/null
coracle run --name greedy -m 16m busybox sh -c 'exec tail -c 100m /dev/zero'
check "the OOM killer's work is known" "$(coracle inspect --format '{{.State.OOMKilled}}' greedy)" true
coracle rm greedy >/dev/null
coracle run --rm -m 16m busybox sh -c 'exec tail -c 100m /dev/zero'; check "too much memory" $? 137

mkdir -p /project && cd /project || exit 1
cat >compose.yaml <<'YML'
services:
  web:
    image: busybox
    command: sh -c "mkdir /w; echo served > /w/index.html; exec httpd -f -p 80 -h /w"
    ports: ["8000:80"]
    mem_limit: 32m
  asker:
    image: busybox
    command: sleep 1000
    depends_on: [web]
YML
coracle compose up -d; check "up" $? 0
within 10 wget -q -O - http://127.0.0.1:8000/
check "the published port" "$(wget -q -O - http://127.0.0.1:8000/)" served
check "by name" "$(coracle compose exec -T asker wget -q -O - http://web/)" served
check "a limit of the file" "$(cat "$(group "$(coracle compose ps -q web)")/memory.max")" 33554432
coracle compose down; check "down" $? 0
check "containers left" "$(coracle ps -a -q | wc -l)" 0
within 10 sh -c "! find /sys/fs/cgroup -type d | grep -q -E '[0-9a-f]{64}'"
check "control groups left" "$(left)" 0
# What watched the last container goes a moment later.
within 20 sh -c "! ps | grep -v grep | grep -q 'coracle @'"
check "links left" "$(ip -o link | grep -v -c -E ': (lo|eth0|enp|ens)')" 0
check "processes left" "$(ps | grep -v grep | grep -c coracle)" 0
say "$failed failed"
