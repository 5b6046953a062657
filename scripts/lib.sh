# shellcheck shell=bash
# What the scripts share: where things are, one way to speak, one way to fail, one
# way to install, one way to wait. To be sourced; does nothing by itself.

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Things fetched or built once for this checkout.
# shellcheck disable=SC2034 # used by those that source this
CACHE=$ROOT/.cache
# Debian keeps iptables, ip and dockerd where only root looks.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '%s\n' "$*" >&2; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# macOS has none; there a command that hangs is the user's to break off.
have timeout || timeout() { shift && "$@"; }

# wait_until SECONDS COMMAND…: looks every 100 ms; false when the time is over.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

# need WHAT_FOR COMMAND:PACKAGE…: the commands are there, or are installed from
# Debian's packages, or one line says how to get them.
need() {
  local purpose=$1 pair missing=() packages=()
  shift
  for pair in "$@"; do
    have "${pair%%:*}" || missing+=("${pair%%:*}") packages+=("${pair#*:}")
  done
  ((${#missing[@]})) || return 0

  local how="apt-get update && apt-get install -y ${packages[*]}"
  have apt-get || fail "$purpose needs ${missing[*]}, and this is no Debian-like system: install ${packages[*]} by its own means"
  ((EUID == 0)) || fail "$purpose needs ${missing[*]}: sudo apt-get update && sudo apt-get install -y ${packages[*]}"

  say "installing ${packages[*]} ($purpose)"
  local log
  log=$(mktemp "${TMPDIR:-/tmp}/clos-apt.XXXXXX")
  # RUNLEVEL=1 keeps the packages from starting services of their own: what runs is
  # what a script here starts, and its stop ends.
  if ! {
    timeout 300 apt-get update -o DPkg::Lock::Timeout=120 &&
      RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive timeout 900 \
        apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=120 "${packages[@]}"
  } >"$log" 2>&1; then
    fail "\`$how\` failed: $(grep -m1 '^E:' "$log" || tail -n1 "$log") (all of it: $log)"
  fi
  rm -f "$log"
  hash -r
  for pair in "$@"; do
    have "${pair%%:*}" || fail "package ${pair#*:} was installed and brought no \`${pair%%:*}\`"
  done
}

# cargo is there and runs in this folder, or one line says why not.
need_cargo() {
  have cargo || fail "cargo is needed: https://rustup.rs"
  (cd "$ROOT" && cargo --version) >/dev/null 2>&1 && return
  # rustup looks for its toolchains below HOME. Where HOME was set anew for a trial they
  # are still beside the cargo on the PATH.
  local beside
  beside=$(dirname "$(dirname "$(dirname "$(command -v cargo)")")")/.rustup
  if [[ -z ${RUSTUP_HOME:-} && -d $beside ]]; then export RUSTUP_HOME=$beside; fi
  (cd "$ROOT" && cargo --version) >/dev/null 2>&1 ||
    fail "cargo is there and does not run: $(cd "$ROOT" && cargo --version 2>&1 | head -n1) (in $ROOT: rustup toolchain install)"
}

# running PID WORD: the process lives and WORD is on its command line, so a number
# that another process has taken over since is not taken for ours.
running() {
  local pid=$1 word=$2
  [[ -n $pid && -r /proc/$pid/cmdline ]] && tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$word"
}

# ended PID: gone, or dead and not yet fetched by its parent.
ended() {
  local state
  state=$(ps -o stat= -p "$1" 2>/dev/null) || return 0
  [[ $state == Z* ]]
}

# free_port FROM: the first port from there on where nobody answers on loopback.
free_port() {
  local port
  for ((port = $1; port < $1 + 500; port++)); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || {
      echo "$port"
      return
    }
  done
  fail "no free port from $1 to $(($1 + 499))"
}
