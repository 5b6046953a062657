#!/usr/bin/env bash
# Finds the container engine that closd would take and prints its address; nothing and
# false if there is none. An engine that was asked for by name and does not answer is
# an error, not a reason to take another.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

answers() {
  case $1 in
    unix://*) [[ -S ${1#unix://} && $(curl -fsS --max-time 2 --unix-socket "${1#unix://}" http://engine/_ping 2>/dev/null) == OK ]] ;;
    tcp://*) [[ $(curl -fsS --max-time 5 "http://${1#tcp://}/_ping" 2>/dev/null) == OK ]] ;;
    # Other ways in (ssh, TLS) are closd's to try.
    *) true ;;
  esac
}

if [[ -n ${DOCKER_HOST:-} ]]; then
  answers "$DOCKER_HOST" || fail "no engine answers at DOCKER_HOST=$DOCKER_HOST: start it, or unset DOCKER_HOST"
  echo "$DOCKER_HOST"
  exit
fi

# Without DOCKER_HOST the docker program knows the context: the variable, else the chosen one.
if have docker; then
  context=$(timeout 10 docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || true)
  if [[ -n $context ]] && answers "$context"; then
    echo "$context"
    exit
  fi
  if [[ -n ${DOCKER_CONTEXT:-} ]]; then
    fail "no engine answers for DOCKER_CONTEXT=$DOCKER_CONTEXT (${context:-unknown context}): start it, or unset DOCKER_CONTEXT"
  fi
fi

runtime=${XDG_RUNTIME_DIR:-/run/user/$EUID}
for socket in "$runtime/docker.sock" "$runtime/podman/podman.sock" /var/run/docker.sock; do
  if answers "unix://$socket"; then
    echo "unix://$socket"
    exit
  fi
done
exit 1
