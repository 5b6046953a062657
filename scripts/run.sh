#!/usr/bin/env bash
# `make run`: builds CLOS, starts closd in the background, brings the demo up and
# returns when it is healthy. Run again, it does what is left to do.
#
# State is in CLOS_HOME (~/.clos); a private engine, if there has to be one, below it.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/closd.sh
. "$ROOT/scripts/closd.sh"

# --- tools
need_cargo
need "the build" cc:build-essential
need "asking the engine" curl:curl

# --- engine, looked for first: who has none need not wait for the build to hear of it
# Ours of the last time comes before others: the demo's containers are there.
engine=$("$ROOT/scripts/dockerd.sh" env "$ENGINE_RUN" 2>/dev/null) || engine=$("$ROOT/scripts/engine.sh") || {
  # It has said why, if an engine was asked for by name.
  [[ -z ${DOCKER_HOST:-}${DOCKER_CONTEXT:-} ]] || exit 1
  if ((EUID != 0)) || ! have apt-get; then
    say "error: no container engine found; these two lines give this machine one:"
    if [[ $(uname -s) == Darwin ]]; then
      say "  brew install colima docker"
      say "  colima start"
    elif have apt-get; then
      say "  sudo apt-get update && sudo apt-get install -y docker.io"
      say "  sudo usermod -aG docker \"\$USER\"    # then log in again"
    else
      say "  install Docker (https://docs.docker.com/engine/install) or Podman"
      say "  sudo systemctl enable --now docker    # or: systemctl --user enable --now podman.socket"
    fi
    exit 1
  fi
}

# --- build
# Debug: two minutes from nothing instead of five, and quick enough for a look.
# The same selection of packages as `make test`, so that nothing is built twice.
say "building closd and clos (from nothing this takes minutes)"
log=$(mktemp "${TMPDIR:-/tmp}/clos-build.XXXXXX")
if ! (cd "$ROOT" && CARGO_TARGET_DIR=$ROOT/target cargo build --quiet --workspace --bins) >"$log" 2>&1; then
  fail "the build failed: $(grep -m1 -E '^error' "$log" || tail -n1 "$log") (all of it: $log)"
fi
rm -f "$log"
"$ROOT/scripts/testapp.sh" >/dev/null

if [[ -z $engine ]]; then
  say "no container engine found: starting a private one below $CLOS_HOME"
  engine=$("$ROOT/scripts/dockerd.sh" start "$ENGINE_RUN")
fi
say "engine: $engine"

# --- daemon
# One of an older build goes first; containers do not notice.
stop_closd
mkdir -p "$CLOS_HOME/log"
chmod 0700 "$CLOS_HOME"
DOCKER_HOST=$engine CLOS_HOME=$CLOS_HOME nohup "$CLOSD" serve >>"$CLOS_HOME/log/closd.log" 2>&1 </dev/null &
closd_pid=$!
disown
answers_or_ended() { clos version >/dev/null 2>&1 || ended "$closd_pid"; }
wait_until 20 answers_or_ended || fail "closd does not answer; its log: $CLOS_HOME/log/closd.log"
! ended "$closd_pid" ||
  fail "closd ended at once: $(tail -n1 "$CLOS_HOME/log/closd.log" | cut -c1-300) (its log: $CLOS_HOME/log/closd.log)"

# --- demo
clos up --build -f "$SHOP" || fail "the demo did not come up: see above, and \`$CLOS_SHOWN logs shop\`"

# --- what now
address_of() {
  clos status "shop/$1" -o json 2>/dev/null | tr -d ' \n' |
    grep -oE '"host_port":[0-9]+' | head -n1 | sed 's/.*:/http:\/\/localhost:/' || true
}
# Another port than usual when that one is somebody's.
api=$(sed -n 's/.*"tcp": *"\([^"]*\)".*/\1/p' "$CLOS_HOME/run/endpoint.json" 2>/dev/null || true)
cat <<SAY

The shop is up.

  frontend   $(address_of frontend)
  catalog    $(address_of catalog)
  orders     $(address_of orders)

  api        ${api:+http://$api/docs}
  clos       $CLOS
  engine     $engine
  state      $CLOS_HOME

Next:

  $CLOS_SHOWN status shop        what is up, and how it is
  $CLOS_SHOWN events -f          what happens, as it happens
  $CLOS_SHOWN logs shop/worker   what a service says
  $CLOS_SHOWN stop shop          stop it; \`start shop\` brings it back
  make stop$(printf '%*s' $((${#CLOS_SHOWN} + 11)) '')end all of it
SAY
