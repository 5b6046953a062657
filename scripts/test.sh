#!/usr/bin/env bash
# `make test`, and with it CI: form, types, contract, every test of the workspace against
# a real engine and a real PostgreSQL, documentation, supply chain.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/checks.sh
. "$ROOT/scripts/checks.sh"
# shellcheck source=scripts/testbed.sh
. "$ROOT/scripts/testbed.sh"

need_cargo
need "the build" cc:build-essential
need "checking the scripts" shellcheck:shellcheck

cd "$ROOT"
# A developer's own engine, daemon and state are not the tests' business.
# Nothing is built a second time here, and two gigabytes stay free.
export CARGO_INCREMENTAL=0
unset DOCKER_HOST DOCKER_CONTEXT CLOS_HOST CLOS_CONTEXT CLOS_HOME CARGO_TARGET_DIR RUSTFLAGS

trap 'testbed_stop' EXIT
trap 'exit 130' INT TERM
testbed_start "$(mktemp -d /tmp/clos-test.XXXXXX)"

check_form
# The whole-system tests run the programs as they are installed, side by side in target/debug, where
# the tests of each program put it. Building them by themselves would build everything twice: without
# the tests' own dependencies other features are on.
check_tests "cargo test" cargo test --quiet --workspace --no-fail-fast
# Made-up input: at the transcoder for a while, and at the API by its own document.
# The same input every time: a check fails because of a change and not by chance. New input is for whoever
# runs the script by hand.
FUZZ_SEED=1 check "fuzz" scripts/fuzz.sh
check "schemathesis" scripts/schemathesis.sh
RUSTDOCFLAGS="-D warnings" check "cargo doc" cargo doc --quiet --workspace --no-deps
if cargo deny --version >/dev/null 2>&1; then
  check "cargo deny" cargo deny --offline check bans licenses sources
else
  skip "cargo deny" "not installed"
fi
summary
