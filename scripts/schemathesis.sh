#!/usr/bin/env bash
# Schemathesis over the OpenAPI document that a real closd serves: no answer is a server error,
# none says otherwise than the document, and nobody without the token is let in.
#
#   schemathesis.sh [CLOSD]    target/debug/closd unless told
#
# It has an engine of its own: what the trial makes there goes with it.

# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

binary=${1:-$ROOT/target/debug/closd}
[[ -x $binary ]] || fail "$binary is not built: cargo build --workspace --bins"
need "schemathesis" curl:curl
schemathesis=$("$ROOT/scripts/tools.sh" schemathesis)

folder=$(mktemp -d "${TMPDIR:-/tmp}/clos-schemathesis.XXXXXX")
export CLOS_HOME=$folder/home
# shellcheck source=scripts/closd.sh
. "$ROOT/scripts/closd.sh"

# shellcheck disable=SC2317 # the trap calls it
finish() {
  stop_closd
  "$ROOT/scripts/dockerd.sh" stop "$folder/engine" || true
  rm -rf "$folder"
}
trap finish EXIT
trap 'exit 130' INT TERM

DOCKER_HOST=$("$ROOT/scripts/dockerd.sh" start "$folder/engine")
export DOCKER_HOST
"$ROOT/scripts/images.sh"

"$binary" serve >"$folder/closd.log" 2>&1 </dev/null &
closd=$!
address() { sed -n 's/.*"tcp": *"\([^"]*\)".*/\1/p' "$CLOS_HOME/run/endpoint.json" 2>/dev/null; }
# shellcheck disable=SC2317 # wait_until calls it
answers_or_ended() { curl -fsS -o "$folder/api.json" "http://$(address)/api/v2/openapi.json" 2>/dev/null || ended "$closd"; }
wait_until 30 answers_or_ended
! ended "$closd" || fail "closd ended at once: $(tail -n1 "$folder/closd.log")"
api=http://$(address)
token=$(cat "$CLOS_HOME/token")

# ask METHOD PATH [BODY]: what is needed for the trial has to be there.
ask() {
  curl -fsS --max-time 30 -X "$1" "$api/api/v2$2" -H "Authorization: Bearer $token" \
    -H 'Content-Type: application/json' ${3:+-d "$3"}
}

# Something to ask for: a group, a service that runs and one that may be removed, an operation.
ask POST /groups '{"name":"st"}' >/dev/null
for name in web gone; do
  ask POST /services "{\"name\":\"$name\",\"group\":\"st\",\"docker_config\":{\"image\":\"clos-test/app:latest\"}}" >/dev/null
done
operation=$(ask POST /services/st%2Fweb/start '{}' | sed -n 's/^{"id":"\([^"]*\)".*/\1/p')

# What never ends by itself ends with its deadline. The first entry that fits an operation holds.
cat >"$folder/known.toml" <<TOML
[parameters]
"path.name" = "st"

[[operations]]
include-name = "DELETE /api/v2/services/{id}"
parameters = { "path.id" = "st/gone" }

[[operations]]
include-path-regex = "/operations/.*/watch"
headers = { "X-Request-Timeout" = "1" }
parameters = { "path.id" = "$operation" }

[[operations]]
include-path-regex = "/operations/[^/]*(/wait|/cancel|:cancel)?\$"
parameters = { "path.id" = "$operation" }

[[operations]]
include-path-regex = "/services/.*/logs"
headers = { "X-Request-Timeout" = "3" }
parameters = { "path.id" = "st/web" }

[[operations]]
include-path-regex = "/services/"
parameters = { "path.id" = "st/web" }

[[operations]]
include-path-regex = "/(events/watch|groups/.*/logs)"
headers = { "X-Request-Timeout" = "3" }
TOML
: >"$folder/unknown.toml"

# Besides: what is refused is not wrong in the eyes of the document alone. Names and ranges are
# judged by the service, and every spelling of an enum is read where the document has one.
checks=not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance
checks+=,response_schema_conformance,allow_header_conformance,unsupported_method

# try WHAT CONFIG ARGUMENT…: its words only if something is wrong.
failed=0
try() {
  local what=$1 config=$2 log=$folder/$1.log
  shift 2
  # The same requests every time.
  if "$schemathesis" --config-file "$folder/$config.toml" run "$api/api/v2/openapi.json" --generation-deterministic \
    --request-timeout 30 --continue-on-failure --no-shrink --no-color --warnings off "$@" >"$log" 2>&1; then
    say "$what: $(sed -n 's/^ *\([0-9]* generated.*\)/\1/p' "$log")"
  else
    cat "$log" >&2
    failed=1
  fi
}

# It leaves a cache where it runs.
cd "$folder"
bearer=(-H "Authorization: Bearer $token")
# Of things that are there, and the same again without the token or with a wrong one.
try known known "${bearer[@]}" --phases examples,fuzzing --max-examples 6 --checks "$checks,ignored_auth"
# By somebody who has no token.
try strangers unknown -H "X-Request-Timeout: 3" --phases fuzzing --max-examples 3 --checks "$checks"
# Every corner of every parameter; that removes what is there.
try corners unknown "${bearer[@]}" -H "X-Request-Timeout: 2" --phases coverage --checks "$checks"

kill -0 "$closd" 2>/dev/null || { say "closd is gone: $(tail -n3 "$folder/closd.log")" && failed=1; }
if grep -E ' (ERROR|panicked)' "$folder/closd.log" >&2; then failed=1; fi
exit "$failed"
