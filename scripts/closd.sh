# shellcheck shell=bash
# What run.sh and stop.sh know of the built programs and of the daemon's state folder.
# To be sourced, after lib.sh; does nothing by itself.

CLOS_HOME=${CLOS_HOME:-${HOME:?HOME is not set: say where the state goes with CLOS_HOME}/.clos}
# shellcheck disable=SC2034 # used by those that source this
{
  ENGINE_RUN=$CLOS_HOME/engine
  SHOP=$ROOT/tests/fixtures/shop/compose.yaml
  CLOSD=$ROOT/target/debug/closd
  CLOS=$ROOT/target/debug/clos
  # As one would type it here.
  CLOS_SHOWN=${CLOS/#"$PWD/"/}
}

# The daemon of this state folder, whatever the shell says about others.
clos() { env -u CLOS_HOST -u CLOS_CONTEXT CLOS_HOME="$CLOS_HOME" "$CLOS" --no-autostart "$@"; }

# The process that holds the lock of the state folder: a fact, where a pid file is a memory.
closd_pid() {
  local lock=$CLOS_HOME/run/lock
  [[ -e $lock ]] || return 0
  lock=$(cd "$(dirname "$lock")" && pwd -P)/lock
  if [[ -d /proc/self/fd ]]; then
    # Others' descriptors cannot be read, and are not ours to end.
    { find /proc/[0-9]*/fd -lname "$lock" 2>/dev/null || true; } | head -n1 | cut -d/ -f3
  else
    { lsof -t "$lock" 2>/dev/null || true; } | head -n1
  fi
}

stop_closd() {
  local pid
  pid=$(closd_pid)
  [[ -n $pid ]] || return 0
  kill -TERM "$pid"
  # It drains; a second signal ends that.
  wait_until 20 ended "$pid" || { kill -TERM "$pid" && wait_until 5 ended "$pid"; } || kill -KILL "$pid"
}
