#!/usr/bin/env bash
# `make bench`: release builds against Docker Compose and against the bare engine, all on
# one private engine in one run. Prints the table and puts it into docs/benchmarks.md,
# between its two marks; the words around it are written by hand.
#
# The gateway's figures come first, from bench-gateway.sh: they need no engine, and a quiet machine.
#
# Times are of the wall, in milliseconds, seen from outside: a program is started, it
# returns, the clock is read. Three rounds and their median, unless it says otherwise.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/testbed.sh
. "$ROOT/scripts/testbed.sh"

REPORT=$ROOT/docs/benchmarks.md
ROUNDS=${ROUNDS:-3}

need_cargo
need "the build" cc:build-essential
cd "$ROOT"
unset DOCKER_HOST DOCKER_CONTEXT CLOS_HOST CLOS_CONTEXT CARGO_TARGET_DIR RUSTFLAGS

say "building for release (from nothing this takes minutes)"
cargo build --quiet --release --workspace --bins
scripts/bench-gateway.sh
CLOSD=$ROOT/target/release/closd

work=$(mktemp -d /tmp/clos-bench.XXXXXX)
# PostgreSQL runs as another user, who has to get through.
chmod 0711 "$work"
closd_pid=
finish() {
  [[ -z $closd_pid ]] || kill -TERM "$closd_pid" 2>/dev/null || true
  testbed_stop
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM
testbed_start "$work/testbed"
export DOCKER_HOST=$CLOS_TEST_DOCKER_HOST CLOS_HOME=$work/home

clos() { "$ROOT/target/release/clos" --no-autostart --progress quiet "$@"; }
compose() { "$CLOS_TEST_COMPOSE" "$@"; }

# --- measuring

now() { echo $((${EPOCHREALTIME/[.,]/} / 1)); }

# timed COMMAND…: milliseconds on stdout; its own words only when it fails.
timed() {
  local begin end
  begin=$(now)
  "$@" >"$work/out" 2>&1 || fail "\`$*\` failed: $(tail -n3 "$work/out")"
  end=$(now)
  echo $(((end - begin + 500) / 1000))
}

# percentile P: of the numbers on stdin.
percentile() { sort -n | awk -v p="$1" '{v[NR] = $1} END {i = int((NR * p + 99) / 100); print v[i < 1 ? 1 : i]}'; }

# rounds PREPARE MEASURE: the median of ROUNDS; PREPARE is not in the time.
rounds() {
  local i
  for ((i = 0; i < ROUNDS; i++)); do
    "$1" >/dev/null 2>&1 || true
    "$2"
  done | percentile 50
}

rows=()
# row WHAT FIGURE TARGET REACHED(yes|no|-)
row() {
  rows+=("| $1 | $2 | $3 | $4 |")
  say "$1: $2 (target $3, reached: $4)"
}

# at_most WHAT FIGURE UNIT LIMIT
at_most() { row "$1" "$2 $3" "≤ $4 $3" "$(awk -v a="$2" -v b="$4" 'BEGIN {print (a <= b) ? "yes" : "no"}')"; }

# ratio WHAT A B LIMIT: A as a share of B.
ratio() {
  local share
  share=$(awk -v a="$2" -v b="$3" 'BEGIN {printf "%.3f", a / b}')
  row "$1" "$2 ms / $3 ms = $share" "≤ $4" "$(awk -v a="$share" -v b="$4" 'BEGIN {print (a <= b) ? "yes" : "no"}')"
}

# --- what is brought up

mkdir -p "$work/chain" "$work/http" "$work/command" "$work/big"

# Six levels; health every five seconds, as people write it.
chain_file() {
  echo "name: chain"
  echo "services:"
  local i
  for i in 1 2 3 4 5 6; do
    echo "  s$i:"
    echo "    image: clos-test/app:latest"
    echo "    environment: {LISTEN: '8080'}"
    echo "    healthcheck: {test: [CMD, /testapp, check, 'http://127.0.0.1:8080/healthz'], interval: 5s}"
    ((i == 1)) || echo "    depends_on: {s$((i - 1)): {condition: service_healthy}}"
  done
}
chain_file >"$work/chain/compose.yaml"

# twenty_file NAME CHECK: independent, each with a port of the host.
twenty_file() {
  echo "name: $1"
  echo "services:"
  local i
  for ((i = 1; i <= 20; i++)); do
    echo "  s$i:"
    echo "    image: clos-test/app:latest"
    echo "    environment: {LISTEN: '8080'}"
    echo "    ports: ['127.0.0.1:$((21000 + i)):8080']"
    echo "    healthcheck: {test: [CMD, /testapp, check, 'http://127.0.0.1:8080/healthz'], interval: 1s}"
    [[ $2 != http ]] || echo "    x-clos: {health_check: {url: 'http://:8080/healthz', interval: 1s}}"
  done
}
twenty_file twenty-http http >"$work/http/compose.yaml"
twenty_file twenty-command command >"$work/command/compose.yaml"

# Two thousand in layers of forty, each needing two of the layer before.
big_file() {
  echo "name: big"
  echo "services:"
  local i
  for ((i = 0; i < 2000; i++)); do
    if ((i < 40)); then
      echo "  s$i: {image: clos-test/app}"
    else
      echo "  s$i: {image: clos-test/app, depends_on: [s$((i - 40)), s$((i / 40 * 40 - 40 + (i * 7 + 1) % 40))]}"
    fi
  done
}
big_file >"$work/big/compose.yaml"

# The least that anybody can do: create and start the same twenty over the engine's own
# API, from one process, four at a time (more is not faster), no health awaited.
plain_files() {
  local i
  for ((i = 1; i <= 20; i++)); do
    cat >"$work/plain-$i.json" <<JSON
{"Image": "clos-test/app:latest", "Env": ["LISTEN=8080"], "ExposedPorts": {"8080/tcp": {}},
 "Healthcheck": {"Test": ["CMD", "/testapp", "check", "http://127.0.0.1:8080/healthz"], "Interval": 1000000000},
 "HostConfig": {"NetworkMode": "plain", "PortBindings": {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "$((21000 + i))"}]},
  "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}}}
JSON
    if ((i > 1)); then echo next | tee -a "$work/plain-create" >>"$work/plain-start"; fi
    plain_call "create?name=plain-$i" "$work/plain-$i.json" >>"$work/plain-create"
    plain_call "plain-$i/start" /dev/null >>"$work/plain-start"
  done
}
plain_call() {
  cat <<CURL
url = "http://engine/containers/$1"
data = "@$2"
header = "content-type: application/json"
unix-socket = "${DOCKER_HOST#unix://}"
output = "/dev/null"
max-time = 60
fail
silent
show-error
CURL
}
plain_files
plain_up() {
  docker network create plain
  curl -sS --parallel --parallel-max 4 --config "$work/plain-create"
  curl -sS --parallel --parallel-max 4 --config "$work/plain-start"
}
plain_clean() {
  docker ps -aq --filter name=plain- | xargs -r docker rm -f
  docker network rm plain || true
}

# A bind of the next round must not meet the last one's socket.
chain_compose_down() { compose -f "$work/chain/compose.yaml" down -t 1; }
chain_compose() { timed compose -f "$work/chain/compose.yaml" up -d --wait; }
chain_clos_down() { clos down chain; }
chain_clos() { timed clos up -f "$work/chain/compose.yaml"; }
twenty_compose_down() { compose -f "$work/command/compose.yaml" down -t 1; }
twenty_compose() { timed compose -f "$work/command/compose.yaml" up -d --wait; }
http_clos_down() { clos down twenty-http; }
http_clos() { timed clos up -f "$work/http/compose.yaml"; }
command_clos_down() { clos down twenty-command; }
command_clos() { timed clos up -f "$work/command/compose.yaml"; }
plain() { timed plain_up; }

# --- the daemon

start_closd() {
  local begin
  begin=$(now)
  "$CLOSD" serve >"$work/closd.log" 2>&1 </dev/null &
  closd_pid=$!
  until clos version >/dev/null 2>&1; do
    ! ended "$closd_pid" || fail "closd ended at once: $(tail -n1 "$work/closd.log")"
  done
  echo $((($(now) - begin + 500) / 1000)) >"$work/ready"
}
stop_closd() {
  kill -TERM "$closd_pid"
  wait "$closd_pid" || true
  closd_pid=
}

say "closd: from exec to the first answer"
# The first one makes the data base; that is not every start.
start_closd
first_ready=$(cat "$work/ready")
for ((i = 0; i < ROUNDS; i++)); do
  stop_closd
  start_closd
  cat "$work/ready"
done >"$work/readies"
at_most "ready after exec" "$(percentile 50 <"$work/readies")" ms 200
row "ready after exec, the very first time" "$first_ready ms" "-" "-"

say "twenty independent services with ports"
plain_ms=$(rounds plain_clean plain)
plain_clean >/dev/null 2>&1
twenty_compose_ms=$(rounds twenty_compose_down twenty_compose)
twenty_compose_down >/dev/null 2>&1
http_ms=$(rounds http_clos_down http_clos)
clos down twenty-http >/dev/null
command_ms=$(rounds command_clos_down command_clos)
clos down twenty-command >/dev/null
ratio "twenty healthy, HTTP checks, to plain create + start" "$http_ms" "$plain_ms" 1.15
ratio "twenty healthy, the file's command checks, to plain create + start" "$command_ms" "$plain_ms" 1.35
ratio "twenty healthy, HTTP checks, to \`compose up --wait\`" "$http_ms" "$twenty_compose_ms" 0.5
ratio "twenty healthy, command checks, to \`compose up --wait\`" "$command_ms" "$twenty_compose_ms" 0.5

say "a chain of six with health every five seconds"
chain_compose_ms=$(chain_compose)
chain_compose_down >/dev/null 2>&1
chain_ms=$(rounds chain_clos_down chain_clos)
clos down chain >/dev/null
ratio "chain of six ready, to \`compose up --wait\` (one round)" "$chain_ms" "$chain_compose_ms" 0.125

say "a plan for 2,000 services"
plan_big() { timed clos plan -o name -f "$work/big/compose.yaml"; }
# The first one in a daemon's life fetches its memory from the system.
plan_big >/dev/null
at_most "\`clos plan\` for 2,000 services, file to answer" "$(rounds true plan_big)" ms 100

row "closd after a plan for 2,000 services, resident" "$(awk '/^VmRSS/ {printf "%.1f", $2 / 1024}' "/proc/$closd_pid/status") MB" "-" "-"

say "the demo, idle"
# A daemon as one has it in the morning; what the plan above left behind is the row above.
stop_closd
start_closd
clos up --build -f "$ROOT/tests/fixtures/shop/compose.yaml" >/dev/null 2>&1 || fail "the demo did not come up"
status_shop() { timed clos status shop; }
for ((i = 0; i < 100; i++)); do status_shop; done >"$work/statuses"
at_most "\`clos status\`, median of 100" "$(percentile 50 <"$work/statuses")" ms 20
at_most "\`clos status\`, p95 of 100" "$(percentile 95 <"$work/statuses")" ms 100
# Idle is after the start's own memory had time to go back: the next whole re-list.
sleep 60
at_most "closd with the demo, resident" "$(awk '/^VmRSS/ {printf "%.1f", $2 / 1024}' "/proc/$closd_pid/status")" MB 40

# The daemon's own histograms: the bound of the bucket in which the 95th of 100 falls.
curl -fsS --max-time 5 --unix-socket "$CLOS_HOME/run/closd.sock" http://closd/metrics >"$work/metrics"
# p95_of METRIC LABELS
p95_of() {
  grep "^$1_bucket{.*$2" "$work/metrics" | sed -E 's/.*le="([^"]+)".* ([0-9.e+]+)$/\1 \2/' |
    awk '{sum[$1] += $2} END {for (le in sum) if (le != "+Inf") print le, sum[le]; print "inf", sum["+Inf"]}' |
    sort -g | awk '$1 == "inf" {total = $2; next} {le[++n] = $1; c[n] = $2}
      END {for (i = 1; i <= n; i++) if (c[i] >= 0.95 * total) {print le[i] * 1000; exit} print "above all buckets"}'
}
at_most "API calls that read, p95 (bucket bound)" "$(p95_of clos_rpc_request_duration_seconds 'method="[^"]*/\(Get\|List\)')" ms 100
at_most "store transactions, p95 (bucket bound)" "$(p95_of clos_store_transaction_duration_seconds '')" ms 10
clos down shop --volumes >/dev/null

# --- the table

{
  echo "| what | figure | target | reached |"
  echo "| --- | --- | --- | --- |"
  printf '%s\n' "${rows[@]}"
  echo
  echo "Engine $(docker version --format '{{.Server.Version}}'), Compose $(compose version --short), $(nproc) cores, Linux $(uname -r | cut -d- -f1), $(date -u +%F)."
} >"$work/table"
cat "$work/table"
if [[ -e $REPORT ]]; then
  awk -v table="$work/table" '
    /<!-- figures -->/ {print; while ((getline line < table) > 0) print line; skip = 1; next}
    /<!-- \/figures -->/ {skip = 0}
    !skip' "$REPORT" >"$work/report"
  cp "$work/report" "$REPORT"
fi
