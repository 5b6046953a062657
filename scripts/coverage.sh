#!/usr/bin/env bash
# `make coverage`: line coverage of the whole workspace, and of each crate by itself.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/testbed.sh
. "$ROOT/scripts/testbed.sh"

need_cargo
cd "$ROOT"
unset DOCKER_HOST DOCKER_CONTEXT CLOS_HOST CLOS_CONTEXT CLOS_HOME CARGO_TARGET_DIR RUSTFLAGS
tarpaulin=$(scripts/tools.sh tarpaulin)

trap 'testbed_stop' EXIT
trap 'exit 130' INT TERM
testbed_start "$(mktemp -d /tmp/clos-coverage.XXXXXX)"
cargo build --quiet --workspace --bins

# A target folder of its own: instrumented objects are of no use to other builds.
report=$CACHE/coverage
mkdir -p "$report"
"$tarpaulin" tarpaulin --engine llvm --workspace --target-dir "$CACHE/coverage-target" --timeout 600 \
  --exclude-files 'target/*' --exclude-files '*/tests/*' --exclude-files '*/build.rs' \
  --skip-clean --out Json --output-dir "$report" >"$report/log" 2>&1 ||
  fail "the covered tests failed: $(grep -m1 -E 'FAILED|panicked|^error|ERROR' "$report/log" || tail -n1 "$report/log") (all of it: $report/log)"

# tarpaulin's own summary is by file; people ask by crate.
python3 - "$report/tarpaulin-report.json" <<'PY'
import json, sys
from collections import Counter

covered, coverable = Counter(), Counter()
for file in json.load(open(sys.argv[1]))["files"]:
    path = file["path"]
    if "crates" in path:
        room = path[path.index("crates") + 1]
    elif "migrations" in path:
        room = "migrations"
    else:
        continue
    covered[room] += file["covered"]
    coverable[room] += file["coverable"]
for room in sorted(coverable):
    if coverable[room]:
        print(f"{room:<12} {100 * covered[room] / coverable[room]:5.1f} %  of {coverable[room]} lines")
total = sum(coverable.values())
print(f"{'all':<12} {100 * sum(covered.values()) / total:5.1f} %  of {total} lines")
PY
