#!/usr/bin/env bash
# `make stop`: the demo down (its volume stays), then closd, then the engine, that only
# if `make run` started it. What is not there is not missed.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/closd.sh
. "$ROOT/scripts/closd.sh"

trouble=0
if [[ -n $(closd_pid) ]]; then
  if [[ -x $CLOS ]]; then
    # 5: there is no such group, because it never came up.
    clos down shop || { code=$? && ((code == 5)) || trouble=$code; }
  else
    say "$CLOS is not there: the demo's containers stay as they are"
    trouble=1
  fi
  stop_closd
  say "closd has ended"
else
  say "closd is not running"
fi

if [[ -d $ENGINE_RUN ]]; then
  was_up=$("$ROOT/scripts/dockerd.sh" env "$ENGINE_RUN" 2>/dev/null || true)
  # Also when it does not answer: after a crash there is something to clear away.
  "$ROOT/scripts/dockerd.sh" stop "$ENGINE_RUN"
  [[ -z $was_up ]] || say "the private engine has ended; its images and volumes stay in $ENGINE_RUN"
fi
exit "$trouble"
