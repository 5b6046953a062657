#!/usr/bin/env bash
# `make lint`: the checks that need no engine and no database.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/checks.sh
. "$ROOT/scripts/checks.sh"

need_cargo
cd "$ROOT"
CLOS_TEST_BUF=$(scripts/tools.sh buf)
check_form
summary
