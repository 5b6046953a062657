#!/usr/bin/env bash
# `make envoy-config`: the configuration of an Envoy in front of closd, made of the contract.
#
#   gateway/envoy/clos.json     is committed; a test makes it anew and compares
#   gateway/envoy/clos.binpb    the descriptors that Envoy reads beside it, is not

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_cargo
need "the build" cc:build-essential
cd "$ROOT"

set=gateway/envoy/clos.binpb config=gateway/envoy/clos.json
"$(scripts/tools.sh buf)" build proto --as-file-descriptor-set -o "$set"
# The same selection of packages as `make test`, so that nothing is built twice.
cargo build --quiet --workspace --bins
# Addresses in there are closd's own and one beside it; server/tests/envoy.rs has them too.
"${CARGO_TARGET_DIR:-target}/debug/clos-gateway" --envoy-config --descriptor-set "$set" \
  --upstream http://127.0.0.1:8080 --listen 127.0.0.1:8081 >"$config.new"
mv "$config.new" "$config"
say "wrote $config; in $ROOT: $(scripts/tools.sh envoy) -c $config"
