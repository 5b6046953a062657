#!/usr/bin/env bash
# Builds Docker Compose from its Go modules, once, and prints the path: the oracle that
# our reading of compose files is compared with, and the peer in the benchmarks.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VERSION=v5.5.1
binary=$CACHE/bin/docker-compose-$VERSION

if [[ ! -x $binary ]]; then
  have go || fail "Docker Compose $VERSION is built with Go, which is not here: https://go.dev/dl"
  say "building Docker Compose $VERSION (once)"
  mkdir -p "$CACHE/bin"
  work=$(mktemp -d "${TMPDIR:-/tmp}/clos-compose.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  if ! (
    cd "$work"
    go mod init compose.build
    timeout 600 go get -tool "github.com/docker/compose/v5/cmd@$VERSION"
    CGO_ENABLED=0 timeout 1200 go build -trimpath -o compose \
      -ldflags "-s -w -X github.com/docker/compose/v5/internal.Version=$VERSION" \
      github.com/docker/compose/v5/cmd
  ) >"$CACHE/compose.log" 2>&1; then
    fail "building Docker Compose $VERSION failed: $(tail -n1 "$CACHE/compose.log") (all of it: $CACHE/compose.log)"
  fi
  mv "$work/compose" "$binary"
fi
echo "$binary"
