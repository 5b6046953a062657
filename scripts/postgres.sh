#!/usr/bin/env bash
# A PostgreSQL of our own on a free loopback port, for tests: fast and forgetful.
#
#   postgres.sh start RUN_FOLDER   installs what is missing, starts, waits, prints the URL
#   postgres.sh env RUN_FOLDER     prints the URL of the one that runs; fails if none does
#   postgres.sh stop RUN_FOLDER    ends it; the folder is the caller's to remove
#
# Starting twice is starting once. The URL's user may create databases, so every test
# can have one to itself.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

command=${1:-}
[[ -n ${2:-} ]] || fail "usage: postgres.sh start|env|stop RUN_FOLDER"
RUN=$(realpath -m "$2")
DATA=$RUN/data

# PostgreSQL refuses to run as root; the Debian package brings a user for it.
AS_POSTGRES=(env)
if ((EUID == 0)); then AS_POSTGRES=(setpriv --reuid postgres --regid postgres --init-groups); fi
as_postgres() { "${AS_POSTGRES[@]}" "$@"; }

# Debian keeps one folder a version, off the PATH.
find_programs() {
  local newest
  newest=$(find /usr/lib/postgresql -maxdepth 3 -path '*/bin/pg_ctl' 2>/dev/null | sort -V | tail -n1)
  [[ -z $newest ]] || PATH=$(dirname "$newest"):$PATH
}

pid() { head -n1 "$DATA/postmaster.pid" 2>/dev/null || true; }
alive() { running "$(pid)" "$DATA"; }
answers() { alive && (cd / && as_postgres pg_isready -q -t 2 -h 127.0.0.1 -p "$(cat "$RUN/port")"); }

start() {
  find_programs
  if ! have pg_ctl; then
    # The package's own cluster is neither wanted nor ended by anybody here.
    if ((EUID == 0)) && have apt-get && ! [[ -e /etc/postgresql-common/createcluster.conf ]]; then
      mkdir -p /etc/postgresql-common
      echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    fi
    need "a private PostgreSQL" psql:postgresql
    find_programs
    have pg_ctl || fail "package postgresql was installed and brought no pg_ctl"
  fi
  mkdir -p "$RUN"
  exec 9>"$RUN/lock"
  flock -w 120 9 || fail "another start or stop holds $RUN/lock"

  if ! answers; then
    create
    launch
  fi
  cat "$RUN/url"
}

create() {
  [[ ! -s $DATA/PG_VERSION || ! -s $RUN/url ]] || return 0
  if ((EUID == 0)); then
    chown postgres "$RUN"
    (cd / && as_postgres test -w "$RUN") || fail "the user postgres cannot reach $RUN: give a folder below one that everybody may enter"
  fi
  rm -rf "$DATA"
  # Loopback belongs to every user of the machine, and this server's user may run programs.
  (umask 077 && head -c 24 /dev/urandom | base64 | tr -dc 'A-Za-z0-9' >"$RUN/password")
  ((EUID != 0)) || chown postgres "$RUN/password"
  (cd / && as_postgres initdb -D "$DATA" -U clos --pwfile "$RUN/password" --auth scram-sha-256 \
    --encoding UTF8 --locale C --no-sync >"$RUN/initdb.log" 2>&1) ||
    fail "initdb failed: $(tail -n1 "$RUN/initdb.log")"
  # Nothing in it outlives the test run.
  as_postgres tee -a "$DATA/postgresql.conf" >/dev/null <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 300
fsync = off
synchronous_commit = off
full_page_writes = off
CONF
}

# Between finding a free port and taking it another may be faster: then the next one.
launch() {
  local attempt port=$((20000 + RANDOM % 10000))
  for attempt in 1 2 3 4 5; do
    port=$(free_port $((port + 1)))
    echo "$port" >"$RUN/port"
    (cd / && exec "${AS_POSTGRES[@]}" setsid postgres -D "$DATA" -p "$port") >"$RUN/log" 2>&1 </dev/null 9>&- &
    if wait_until 30 answered_or_refused && answers; then
      (umask 077 && echo "postgres://clos:$(cat "$RUN/password")@127.0.0.1:$port/postgres" >"$RUN/url")
      return
    fi
    grep -q 'Address already in use' "$RUN/log" || break
  done
  fail "PostgreSQL did not start (attempt $attempt): $(tail -n1 "$RUN/log") (all of it: $RUN/log)"
}

answered_or_refused() { answers || grep -q FATAL "$RUN/log"; }

stop() {
  [[ -d $RUN ]] || return 0
  exec 9>"$RUN/lock"
  flock -w 120 9 || fail "another start or stop holds $RUN/lock"
  alive || return 0
  local pid
  pid=$(pid)
  # INT is its fast shutdown, QUIT its immediate one.
  kill -INT "$pid"
  wait_until 20 gone || { kill -QUIT "$pid" && wait_until 10 gone; } || fail "PostgreSQL (pid $pid) does not end"
}

gone() { ! alive; }

case $command in
  start) start ;;
  stop) stop ;;
  env)
    find_programs
    answers || fail "no PostgreSQL runs in $RUN: $0 start $RUN"
    cat "$RUN/url"
    ;;
  *) fail "usage: postgres.sh start|env|stop RUN_FOLDER" ;;
esac
