#!/usr/bin/env bash
# A Redis of our own on a Unix socket, for tests: nothing on disk.
#
#   redis.sh start RUN_FOLDER   installs what is missing, starts, waits, prints the URL
#   redis.sh env RUN_FOLDER     prints the URL of the one that runs; fails if none does
#   redis.sh stop RUN_FOLDER    ends it; the folder is the caller's to remove
#
# Starting twice is starting once.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

command=${1:-}
[[ -n ${2:-} ]] || fail "usage: redis.sh start|env|stop RUN_FOLDER"
RUN=$(realpath -m "$2")
# A socket path ends at 107 bytes.
((${#RUN} <= 90)) || fail "the path of $RUN is too long for a socket in it: give a shorter one"
SOCKET=$RUN/redis.sock
URL=redis+unix://$SOCKET

pid() { cat "$RUN/pid" 2>/dev/null || true; }
alive() { running "$(pid)" "$SOCKET"; }
answers() { alive && [[ $(timeout 2 redis-cli -s "$SOCKET" ping 2>/dev/null) == PONG ]]; }

start() {
  need "a private Redis" redis-server:redis-server redis-cli:redis-tools
  mkdir -p "$RUN"
  exec 9>"$RUN/lock"
  flock -w 120 9 || fail "another start or stop holds $RUN/lock"
  if ! answers; then
    rm -f "$SOCKET"
    (cd "$RUN" && exec setsid redis-server --port 0 --unixsocket "$SOCKET" --unixsocketperm 700 \
      --save '' --appendonly no --maxmemory 256mb) >"$RUN/log" 2>&1 </dev/null 9>&- &
    echo $! >"$RUN/pid"
    wait_until 20 answers || fail "Redis did not start: $(tail -n1 "$RUN/log") (all of it: $RUN/log)"
  fi
  echo "$URL"
}

stop() {
  [[ -d $RUN ]] || return 0
  exec 9>"$RUN/lock"
  flock -w 120 9 || fail "another start or stop holds $RUN/lock"
  alive || return 0
  local pid
  pid=$(pid)
  kill -TERM "$pid"
  wait_until 10 gone || { kill -KILL "$pid" && wait_until 5 gone; } || fail "Redis (pid $pid) does not end"
}

gone() { ! alive; }

case $command in
  start) start ;;
  stop) stop ;;
  env)
    answers || fail "no Redis runs in $RUN: $0 start $RUN"
    echo "$URL"
    ;;
  *) fail "usage: redis.sh start|env|stop RUN_FOLDER" ;;
esac
