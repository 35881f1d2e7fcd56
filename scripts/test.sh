#!/usr/bin/env bash
# Runs every test of the workspace and ends with what was not run. `make test` calls it after set-up.
#
#   unit, property, end-to-end   cargo nextest where it is installed (a hang is ended after ten minutes), else cargo test
#   doctests                     cargo test --doc
#   console                      its units, and its pages in Chromium: on a mock of the contract and on the real pipeline
#
# A test that cannot run here prints a line `SKIPPED: <reason>` and passes; those lines are collected
# from the output, so that a green run never hides what it left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=${CARGO_TARGET_DIR:-target}
mkdir -p "$target"
log=$target/test.log
: >"$log"
failed=()

# step NAME COMMAND...: runs it, keeps its output; a failure is noted and the other steps still run.
step() {
    local name=$1
    shift
    printf '\n── %s\n' "$name"
    "$@" 2>&1 | tee -a "$log" || failed+=("$name")
}

doctests() { cargo test --quiet --workspace --doc; }

everything() {
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --workspace --all-targets --config-file scripts/nextest.toml --profile "${NEXTEST_PROFILE:-default}"
    else
        cargo test --workspace --all-targets --no-fail-fast -- --show-output
    fi
}

console() {
    if [ ! -d controlplane/console/node_modules ]; then
        echo 'SKIPPED: console tests: its packages are not installed (Debian: nodejs, npm)'
        return
    fi
    (cd controlplane/console && npm run --silent test && e2e/run.sh)
}

summary() {
    local skipped
    skipped=$(grep -aoE 'SKIPPED: .*' "$log" | sort | uniq -c | sort -rn || true)
    printf '\n────────────────────────────────────────────────────────────\n'
    if [ -n "$skipped" ]; then
        printf 'NOT RUN here (tests, reason):\n%s\n' "$skipped"
    else
        printf 'Nothing was skipped.\n'
    fi
    if [ "${#failed[@]}" -gt 0 ]; then
        printf 'FAILED: %s\n' "${failed[*]}"
        return 1
    fi
    printf 'All tests passed.\n'
}

step 'tests' everything
step 'doctests' doctests
step 'console' console
summary
