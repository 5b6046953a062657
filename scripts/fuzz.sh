#!/usr/bin/env bash
# The fuzz targets of gateway/fuzz, each on its seeds and then so many seconds of its own
# making, two at a time:
#
#   fuzz.sh [SECONDS]          all of them; 15 seconds each unless told
#   fuzz.sh SECONDS TARGET…    only these
#
# With FUZZ_SEED the same input is made every time. What makes one fail is left below
# target/fuzz/artifacts; `cargo fuzz` works as well, see gateway/fuzz/README.md.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_cargo
need "libFuzzer" c++:build-essential
seconds=${1:-15}
shift $(($# ? 1 : 0))

FUZZ=$ROOT/gateway/fuzz
OUT=$ROOT/target/fuzz
cd "$FUZZ"
targets=("$@")
((${#targets[@]})) || mapfile -t targets < <(basename -s .rs fuzz_targets/*.rs)
triple=$(rustc -vV | sed -n 's/^host: //p')

# What `cargo fuzz --sanitizer none` gives the compiler, which the stable one takes: safe Rust
# has little for a sanitizer to find. With --target they are not for build scripts and macros.
flags=(-Cpasses=sancov-module --cfg fuzzing)
for flag in level=4 inline-8bit-counters pc-table trace-compares; do
  flags+=("-Cllvm-args=-sanitizer-coverage-$flag")
done
say "building ${targets[*]}"
RUSTFLAGS=${flags[*]} CARGO_INCREMENTAL=0 cargo build --quiet --locked --release --target "$triple" --target-dir "$OUT" \
  "${targets[@]/#/--bin=}"

# one TARGET: its seeds, then what it makes of them; its words only if it fails.
one() {
  local target=$1 corpus log=$OUT/$1.log options=()
  corpus=$(mktemp -d "${TMPDIR:-/tmp}/clos-fuzz.XXXXXX")
  mkdir -p "$OUT/artifacts/$target"
  [[ -z ${FUZZ_SEED:-} ]] || options+=("-seed=$FUZZ_SEED")
  [[ ! -e $FUZZ/dictionaries/$target ]] || options+=("-dict=$FUZZ/dictionaries/$target")
  # Thirty seconds for one input is a hang, and 2 GiB a leak. The seed of chance is told in the log.
  if "$OUT/$triple/release/$target" "$corpus" "$FUZZ/seeds/$target" "${options[@]}" -max_total_time="$seconds" -timeout=30 \
    -rss_limit_mb=2048 -malloc_limit_mb=512 -max_len=4096 -print_final_stats=1 \
    -artifact_prefix="$OUT/artifacts/$target/" >"$log" 2>&1; then
    say "$(printf '%-10s %8s runs' "$target" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")")"
    rm -rf "$corpus"
  else
    rm -rf "$corpus"
    tail -n40 "$log" >&2
    say "$target failed (all of it: $log)"
    return 1
  fi
}

failed=0
for ((at = 0; at < ${#targets[@]}; at += 2)); do
  pids=()
  for target in "${targets[@]:at:2}"; do
    one "$target" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || failed=1; done
done
exit "$failed"
