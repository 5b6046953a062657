#!/usr/bin/env bash
# A Docker engine of our own beside whatever else runs here: its own data, socket,
# containerd namespace, bridge and address pool, all found again by the run folder.
#
#   dockerd.sh start RUN_FOLDER   installs what is missing, starts, waits, prints DOCKER_HOST
#   dockerd.sh env RUN_FOLDER     prints DOCKER_HOST of the one that runs; fails if none does
#   dockerd.sh stop RUN_FOLDER    ends it and takes away its bridges, rules and mounts
#
# Starting twice is starting once. Images and volumes stay in RUN_FOLDER/data for the
# next start; who wants them gone removes the folder after `stop`.
#
# Several may run beside each other, if they are of one generation: a newer engine
# deletes iptables chains that an older one jumps to.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

command=${1:-}
[[ -n ${2:-} ]] || fail "usage: dockerd.sh start|env|stop RUN_FOLDER"
RUN=$(realpath -m "$2")
ID=$(printf %s "$RUN" | sha1sum | cut -c1-8)
# An interface name ends at 15 characters.
BRIDGE=clos-$ID
# A socket path ends at 107, and containerd's are up to 40 longer than the folder.
if ((${#RUN} <= 60)); then SHORT=$RUN; else SHORT=/run/clos-$ID; fi
SOCKET=$SHORT/docker.sock
EXEC=$SHORT/exec
PIDFILE=$RUN/dockerd.pid
LOG=$RUN/dockerd.log

pid() { cat "$PIDFILE" 2>/dev/null || true; }
alive() { running "$(pid)" "$PIDFILE"; }
answers() { [[ $(curl -fsS --max-time 2 --unix-socket "$SOCKET" http://engine/_ping 2>/dev/null) == OK ]]; }

start() {
  [[ $(uname -s) == Linux ]] || fail "a private engine needs Linux: start Docker Desktop, Colima or Podman and try again"
  ((EUID == 0)) || fail "a private engine needs root: sudo $0 start $RUN"
  need "a private engine" dockerd:docker.io iptables:iptables ip:iproute2 curl:curl
  mkdir -p "$RUN" "$SHORT"
  chmod 0711 "$RUN"
  exec 9>"$RUN/lock"
  flock -w 120 9 || fail "another start or stop holds $RUN/lock"

  if ! { alive && answers; }; then
    # After a crash: what a stop would have taken away.
    clean
    remember_firewall
    make_bridge
    launch
  fi
  echo "unix://$SOCKET"
}

# overlay2 unless the folder's file system refuses it; the answer is kept, because
# images of one driver are invisible to the other.
launch() {
  local driver
  driver=$(cat "$RUN/storage-driver" 2>/dev/null || echo overlay2)
  if ! launch_with "$driver"; then
    if [[ $driver == overlay2 ]] && grep -qiE 'overlay|graphdriver|storage.driver' "$LOG"; then
      driver=vfs
      launch_with "$driver" || fail "dockerd did not start with overlay2 nor vfs: $(last_words)"
    else
      fail "dockerd did not start: $(last_words)"
    fi
  fi
  echo "$driver" >"$RUN/storage-driver"
}

launch_with() {
  # A machine's /etc/docker/daemon.json is for its own engine.
  echo '{}' >"$RUN/daemon.json"
  # The namespaces count where a system-wide containerd runs, which dockerd would share.
  setsid dockerd \
    --config-file "$RUN/daemon.json" \
    --host "unix://$SOCKET" --group 0 \
    --data-root "$RUN/data" --exec-root "$EXEC" --pidfile "$PIDFILE" \
    --containerd-namespace "$BRIDGE" --containerd-plugins-namespace "$BRIDGE-plugins" \
    --bridge "$BRIDGE" --default-address-pool "base=$(cat "$RUN/subnet").128.0/17,size=24" \
    --storage-driver "$1" --log-level warn \
    >"$LOG" 2>&1 </dev/null 9>&- &
  launched=$!
  wait_until 60 answered_or_dead || return 1
  answers
}

answered_or_dead() { answers || ! kill -0 "$launched" 2>/dev/null; }

last_words() { grep -E 'failed|error|fatal' "$LOG" | tail -n1 | cut -c1-300 || true; }

# The first 10.N.0.0/16 that no route touches: .0.0/24 for the bridge, the upper half
# for the networks that people make.
make_bridge() {
  local n i
  for ((i = 0; i < 100; i++)); do
    n=$((100 + (16#${ID:0:4} + i) % 100))
    ip -4 route show table all | grep -qE "(^| )10\.$n\." || break
  done
  echo "10.$n" >"$RUN/subnet"
  ip link add "$BRIDGE" type bridge
  ip addr add "10.$n.0.1/24" dev "$BRIDGE"
  ip link set "$BRIDGE" up
}

# dockerd makes its chains and closes the FORWARD policy on the whole machine. If they
# were not there before, the last private engine to go takes them away.
remember_firewall() {
  if iptables -w -t nat -n -L DOCKER >/dev/null 2>&1; then
    rm -f "$RUN/forward-policy"
  else
    iptables -w -S FORWARD | awk '/^-P/ {print $3}' >"$RUN/forward-policy"
  fi
}

stop() {
  [[ -d $RUN ]] || return 0
  exec 9>"$RUN/lock"
  flock -w 120 9 || fail "another start or stop holds $RUN/lock"
  local pid
  pid=$(pid)
  if alive; then
    # dockerd gives its containers 15 s of their own.
    kill -TERM "$pid"
    wait_until 60 gone || { kill -KILL "$pid" && wait_until 10 gone; } || fail "dockerd (pid $pid) does not end"
  fi
  clean
}

gone() { ! alive; }

# All that can be left of this engine, whether it ended well or was killed.
clean() {
  kill_leftovers
  remove_network
  local mount
  # Deepest first.
  while read -r mount; do
    umount "$mount" 2>/dev/null || umount -l "$mount" 2>/dev/null || true
  done < <(awk -v a="$RUN/" -v b="$SHORT/" 'index($5, a) == 1 || index($5, b) == 1 {print $5}' /proc/self/mountinfo | sort -r)
  rm -rf "$EXEC" "$SOCKET" "$PIDFILE"
  [[ $SHORT == "$RUN" ]] || rmdir "$SHORT" 2>/dev/null || true
}

# dockerd killed by force leaves containers, each below a shim that names our socket
# or our namespace.
kill_leftovers() {
  local proc init
  for init in "$EXEC"/containerd/daemon/io.containerd.runtime.v2.task/*/*/init.pid; do
    if [[ -r $init ]]; then kill -KILL "$(cat "$init")" 2>/dev/null || true; fi
  done
  for proc in /proc/[0-9]*; do
    if tr '\0' ' ' 2>/dev/null <"$proc/cmdline" | grep -qE -- "^[^ ]*(containerd|containerd-shim[^ ]*) .*($EXEC/| $BRIDGE )"; then
      kill -KILL "${proc#/proc/}" 2>/dev/null || true
    fi
  done
}

remove_network() {
  have iptables && have ip || return 0
  local bridges=("$BRIDGE") bridge id subnet
  # The engine's own book of its networks; readable whether it runs or not.
  while read -r id; do
    if ip link show "br-$id" >/dev/null 2>&1; then bridges+=("br-$id"); fi
  done < <(grep -aoE 'bridge/[0-9a-f]{64}' "$RUN/data/network/files/local-kv.db" 2>/dev/null | cut -c8-19 | sort -u)
  subnet=$(cat "$RUN/subnet" 2>/dev/null || echo none)

  delete_rules nat " ($(IFS='|' && echo "${bridges[*]}")|${subnet/./\\.}\.[0-9.]+(/[0-9]+)?)( |$)"
  delete_rules filter " ($(IFS='|' && echo "${bridges[*]}")|${subnet/./\\.}\.[0-9.]+(/[0-9]+)?)( |$)"
  for bridge in "${bridges[@]}"; do
    ip link delete "$bridge" 2>/dev/null || true
  done
  release_firewall
}

# delete_rules TABLE PATTERN: the appended rules of that table that match.
delete_rules() {
  local rule words
  while read -r rule; do
    read -ra words <<<"${rule/#-A/-D}"
    iptables -w -t "$1" "${words[@]}" 2>/dev/null || true
  done < <(iptables -w -t "$1" -S 2>/dev/null | grep -E -- "^-A .*$2")
}

release_firewall() {
  [[ -s $RUN/forward-policy ]] || return 0
  # Another engine, ours or the machine's, still has a bridge in there.
  if iptables -w -t nat -S DOCKER 2>/dev/null | grep -q '^-A'; then return 0; fi
  iptables -w -P FORWARD "$(cat "$RUN/forward-policy")"
  local table chain
  for table in nat filter; do
    delete_rules "$table" ' -j DOCKER(-[A-Z0-9-]+)?$'
    for chain in $(iptables -w -t "$table" -S | awk '/^-N DOCKER/ {print $2}'); do
      iptables -w -t "$table" -F "$chain"
      iptables -w -t "$table" -X "$chain"
    done
  done
  rm -f "$RUN/forward-policy"
}

case $command in
  start) start ;;
  stop) stop ;;
  env)
    answers || fail "no engine runs in $RUN: $0 start $RUN"
    echo "unix://$SOCKET"
    ;;
  *) fail "usage: dockerd.sh start|env|stop RUN_FOLDER" ;;
esac
