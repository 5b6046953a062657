#!/usr/bin/env bash
# Makes the test images on the engine of DOCKER_HOST, without a network:
#
#   clos-test/app:latest      our static testapp, nothing else: no shell, no user data base
#   clos-test/busybox:latest  a static busybox with its applets, for what needs a shell
#
# What is there and made of the same bytes stays as it is.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ -n ${DOCKER_HOST:-} ]] || fail "DOCKER_HOST is not set: the images go to the engine it names"
need "the test images" docker:docker.io busybox:busybox-static

testapp=$("$ROOT/scripts/testapp.sh")
busybox=$(command -v busybox)
# The smaller package of the same name is linked dynamically and dies in an empty image.
if have ldd && ldd "$busybox" >/dev/null 2>&1; then
  fail "$busybox is not static: apt-get install -y busybox-static"
fi

staging=$(mktemp -d "${TMPDIR:-/tmp}/clos-images.XXXXXX")
trap 'rm -rf "$staging"' EXIT

# keep IMAGE FILE CHANGE…: imports the staged folder IMAGE is made of, unless the image
# there was made of the same FILE in the same way.
keep() {
  local image=$1 file=$2 change=() one sum
  shift 2
  for one in "$@"; do change+=(--change "$one"); done
  sum=$(cat "$file" "${BASH_SOURCE[0]}" | sha256sum | cut -c1-64)
  if [[ $(timeout 30 docker image inspect --format '{{index .Config.Labels "clos-test.sum"}}' "$image" 2>/dev/null) == "$sum" ]]; then
    return
  fi
  stage "$image"
  tar -C "$staging" --owner=0 --group=0 --numeric-owner -c . |
    timeout 120 docker import "${change[@]}" --change "LABEL clos-test.sum=$sum" - "$image" >/dev/null ||
    fail "the engine at $DOCKER_HOST did not take the image $image"
  say "made $image"
}

stage() {
  rm -rf "${staging:?}"/*
  mkdir -m 1777 "$staging/tmp"
  case $1 in
    clos-test/app:latest) cp "$testapp" "$staging/testapp" ;;
    clos-test/busybox:latest)
      mkdir -p "$staging"/{bin,etc,root}
      cp "$busybox" "$staging/bin/busybox"
      local applet
      for applet in $("$busybox" --list); do
        [[ $applet == busybox ]] || ln -s busybox "$staging/bin/$applet"
      done
      echo 'root:x:0:0:root:/root:/bin/sh' >"$staging/etc/passwd"
      echo 'root:x:0:' >"$staging/etc/group"
      ;;
  esac
  # A container of the engine can be told another user.
  chmod 0755 "$staging"
}

keep clos-test/app:latest "$testapp" 'ENTRYPOINT ["/testapp"]'
keep clos-test/busybox:latest "$busybox" 'CMD ["/bin/sh"]' 'ENV PATH=/bin'
