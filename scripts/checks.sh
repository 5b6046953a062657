# shellcheck shell=bash
# Named checks and their summary, for lint.sh and test.sh. To be sourced, after lib.sh.
#
# All checks run, also after one has failed: whoever waits twenty minutes wants to hear
# of everything at once.

results=()
failures=
failed=0

# check NAME COMMAND…
check() {
  local name=$1 started=$SECONDS outcome=ok
  shift
  printf '\n── %s\n' "$name" >&2
  "$@" || { outcome=FAILED && failed=1; }
  results+=("$(printf '%-8s %5d s  %s' "$outcome" $((SECONDS - started)) "$name")")
}

# check_tests NAME COMMAND… : the same for `cargo test`, whose failures stand far above the end of its
# output. Whoever has only the end, as of a log of CI, reads them again under the summary.
check_tests() {
  local log
  log=$(mktemp)
  check "$1" teed "$log" "${@:2}"
  # From the name of a failed test to its backtrace, and not for ever.
  failures+=$(awk '/^---- .* ----$/ { left = 30 } /^(stack backtrace|failures|test result):/ { left = 0 } left-- > 0' "$log")
  rm -f "$log"
}

teed() { "${@:2}" 2>&1 | tee "$1" >&2; return "${PIPESTATUS[0]}"; }

skip() { results+=("$(printf '%-8s          %s (%s)' skipped "$1" "$2")"); }

# To be the last line of an EXIT trap's work, or of the script.
summary() {
  printf '\n── summary\n' >&2
  printf '%s\n' "${results[@]}" >&2
  [[ -z $failures ]] || printf '\n%s\n\n' "$failures" >&2
  ((failed == 0)) || say "not everything is well"
  return "$failed"
}

# Without an engine: form, types, contract.
check_form() {
  check "cargo fmt" cargo fmt --all --check
  check "cargo clippy" cargo clippy --quiet --workspace --all-targets -- -D warnings
  check "buf lint" "$CLOS_TEST_BUF" lint
  check "buf format" "$CLOS_TEST_BUF" format -d --exit-code --path proto/clos
  # An image of the contract as it was released last; it moves only at a release.
  if [[ -e proto/released.binpb ]]; then
    check "buf breaking" "$CLOS_TEST_BUF" breaking --against proto/released.binpb
  else
    skip "buf breaking" "nothing was released yet"
  fi
  if have shellcheck; then
    check "shellcheck" shellcheck -x scripts/*.sh .ci/run
  else
    skip "shellcheck" "not installed"
  fi
}
