# shellcheck shell=bash
# What the tests need around them, started before and ended after, also after a failure:
# an engine with the test images, a PostgreSQL, Compose as the oracle, grpcurl, buf, Envoy,
# and what the foreign clients are made with: grpcio, the packages of the web page, a browser, generators
# for REST clients.
# To be sourced, after lib.sh, by test.sh, coverage.sh and bench.sh.
#
# Whoever runs the tests one by one starts it once and keeps it:
#   . scripts/lib.sh; . scripts/testbed.sh; testbed_start /tmp/clos-testbed; testbed_env

testbed_start() {
  TESTBED=$1
  # PostgreSQL runs as another user than root, who has to get through.
  mkdir -p "$TESTBED"
  chmod 0711 "$TESTBED"

  CLOS_TEST_DOCKER_HOST=$("$ROOT/scripts/dockerd.sh" start "$TESTBED/engine")
  DOCKER_HOST=$CLOS_TEST_DOCKER_HOST "$ROOT/scripts/images.sh"
  CLOS_TEST_POSTGRES_URL=$("$ROOT/scripts/postgres.sh" start "$TESTBED/postgres")
  CLOS_TEST_COMPOSE=$("$ROOT/scripts/compose.sh")
  CLOS_TEST_GRPCURL=$("$ROOT/scripts/tools.sh" grpcurl)
  CLOS_TEST_BUF=$("$ROOT/scripts/tools.sh" buf)
  CLOS_TEST_ENVOY=$("$ROOT/scripts/tools.sh" envoy)
  export CLOS_TEST_DOCKER_HOST CLOS_TEST_POSTGRES_URL CLOS_TEST_COMPOSE CLOS_TEST_GRPCURL CLOS_TEST_BUF CLOS_TEST_ENVOY
  CLOS_TEST_PYTHON=$("$ROOT/scripts/tools.sh" python)
  CLOS_TEST_NODE_MODULES=$("$ROOT/scripts/tools.sh" web)
  need "the browser tests" chromium:chromium
  CLOS_TEST_CHROMIUM=$(command -v chromium)
  export CLOS_TEST_PYTHON CLOS_TEST_NODE_MODULES CLOS_TEST_CHROMIUM
  CLOS_TEST_REST_MODULES=$("$ROOT/scripts/tools.sh" rest)
  CLOS_TEST_REST_PYTHON=$("$ROOT/scripts/tools.sh" rest-python)
  CLOS_TEST_OAPI_CODEGEN=$("$ROOT/scripts/tools.sh" oapi-codegen)
  export CLOS_TEST_REST_MODULES CLOS_TEST_REST_PYTHON CLOS_TEST_OAPI_CODEGEN
}

testbed_env() {
  local name
  for name in ${!CLOS_TEST_*}; do echo "export $name=${!name}"; done
}

testbed_stop() {
  [[ -n ${TESTBED:-} ]] || return 0
  "$ROOT/scripts/postgres.sh" stop "$TESTBED/postgres" || true
  "$ROOT/scripts/dockerd.sh" stop "$TESTBED/engine" || true
  rm -rf "$TESTBED"
}
