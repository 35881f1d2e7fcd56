#!/usr/bin/env bash
# Formatting, clippy over every target, rustdoc, shell syntax, the console's types and style. A warning is an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo fmt --all --check
cargo clippy --quiet --workspace --all-targets -- -D warnings
RUSTDOCFLAGS='-D warnings' cargo doc --quiet --workspace --no-deps
for script in scripts/*.sh k8s/*.sh k8s/images/*.sh .ci/run pipeline/trainer/feedplane-trainer; do
    bash -n "$script"
done
if [ -d controlplane/console/node_modules ]; then
    (cd controlplane/console && npm run --silent check)
fi
echo 'lint: clean'
