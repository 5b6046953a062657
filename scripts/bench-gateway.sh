#!/usr/bin/env bash
# The gateway's part of `make bench`, which also runs alone: calls through everything that
# can answer them, the codec by itself, and sockets on a daemon without an engine. Prints
# the tables and puts them into docs/benchmarks.md, between its own two marks.
#
# Servers have the first core, the load has the second. SECONDS_A_ROUND makes it longer;
# further arguments go to the program: `--only codec|calls|fanout`, `--seconds 0.2`.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

REPORT=$ROOT/docs/benchmarks.md
RELEASE=${CARGO_TARGET_DIR:-$ROOT/target}/release

[[ $(uname -s) == Linux ]] || fail "the gateway is measured by /proc and taskset, which this system has not"
need_cargo
need "the build" cc:build-essential
need "one core for servers and one for the load" taskset:util-linux
(($(nproc) >= 2)) || fail "a server and its load need a core each"
cd "$ROOT"

say "building for release (from nothing this takes minutes)"
cargo build --quiet --release --workspace --bins

# Two ends of five thousand sockets, and what else is open.
ulimit -n "$(ulimit -Hn)"
if ! envoy=${CLOS_TEST_ENVOY:-$(scripts/tools.sh envoy)}; then
  say "without Envoy: its rows are left out"
  envoy=
fi

tables=$(mktemp "${TMPDIR:-/tmp}/clos-bench-gateway.XXXXXX")
trap 'rm -f "$tables" "$tables.report"' EXIT
taskset --cpu-list 1 "$RELEASE/clos-gateway-bench" run --closd "$RELEASE/closd" --gateway "$RELEASE/clos-gateway" \
  ${envoy:+--envoy "$envoy"} "$@" >"$tables"
about="$(nproc) cores, Linux $(uname -r | cut -d- -f1)"
[[ -z $envoy ]] || about+=", Envoy $("$envoy" --version | sed -n "s|.*version: [^/]*/\([^/]*\)/.*|\1|p")"
echo "$about, $(date -u +%F)." >>"$tables"
cat "$tables"
# A part, or a short look, is no report.
if (($# == 0)) && [[ -e $REPORT ]]; then
  awk -v table="$tables" '
    /<!-- gateway figures -->/ {print; while ((getline line < table) > 0) print line; skip = 1; next}
    /<!-- \/gateway figures -->/ {skip = 0}
    !skip' "$REPORT" >"$tables.report"
  cp "$tables.report" "$REPORT"
fi
