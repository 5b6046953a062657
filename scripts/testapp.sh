#!/usr/bin/env bash
# Builds crates/testapp as one static Linux binary, gives the demo its copy (a build
# context cannot reach outside its folder) and prints its path.
#
# --target keeps it in a folder of its own, so that the flags of this build do not
# make cargo build the rest of the workspace anew.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_cargo
host=$(cd "$ROOT" && rustc -vV | sed -n 's/^host: //p')
case $host in
  *-linux-gnu)
    target=$host
    flags="-C target-feature=+crt-static"
    ;;
  *)
    # Containers are Linux everywhere; musl and the toolchain's own linker need no other compiler.
    target=${host%%-*}-unknown-linux-musl
    flags="-C linker=rust-lld"
    rustup target add "$target" >/dev/null 2>&1 || fail "the demo images need Rust's $target: rustup target add $target"
    ;;
esac

log=$(mktemp "${TMPDIR:-/tmp}/clos-testapp.XXXXXX")
if ! (cd "$ROOT" && RUSTFLAGS=$flags CARGO_TARGET_DIR=$ROOT/target cargo build --quiet --release -p clos-testapp --target "$target") >"$log" 2>&1; then
  fail "building testapp failed: $(grep -m1 -E '^error' "$log" || tail -n1 "$log") (all of it: $log)"
fi
rm -f "$log"
binary=$ROOT/target/$target/release/testapp
copy=$ROOT/tests/fixtures/shop/bin/testapp
if ! cmp -s "$binary" "$copy"; then
  mkdir -p "$(dirname "$copy")"
  # Whole or not at all: a build may be reading it.
  cp "$binary" "$copy.new"
  mv "$copy.new" "$copy"
fi
echo "$binary"
