#!/bin/bash
# The console's tests in a browser: against the mock of the contract, and against the real pipeline when its programs are there.
#   e2e/run.sh [mock|real|all]     (all)
# Pictures go to target/pictures/console. What cannot run here is said as SKIPPED, and is no failure.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-all}
skip() {
  echo "SKIPPED: console tests: $1" >&2
  exit 0
}
command -v node >/dev/null || skip "there is no node (Debian: nodejs, npm)"
[[ $(node -p 'process.versions.node.split(".")[0]') -ge 18 ]] || skip "node is older than 18"
[[ -x ${FEEDPLANE_CHROMIUM:-/usr/bin/chromium} ]] || skip "there is no chromium (Debian: chromium)"
[[ -d node_modules/playwright-core ]] || skip "the console's packages are not installed (npm ci in controlplane/console)"
[[ -f dist/index.html ]] || skip "the console is not built (make console)"
status=0
if [[ $what != real ]]; then node --test --test-concurrency=1 e2e/mock.test.mjs || status=1; fi
if [[ $what != mock ]]; then node --test --test-concurrency=1 e2e/real.test.mjs || status=1; fi
exit "$status"
