#!/usr/bin/env bash
# Builds the console's pages (controlplane/console/dist), which the control plane embeds when it is compiled. Does
# nothing when they were built from the sources that are there, by contents and not by date: a clone has new dates.
#
# Needs Node 18 and npm 9, as Debian 12 has them. Without npm the control plane is compiled without its pages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../controlplane/console"

say() { printf 'console: %s\n' "$*"; }

# What npm installs and what it builds are remembered apart, so that a changed page installs nothing.
hash_of() { sort -z | xargs -0 sha256sum | sha256sum | cut -c 1-64; }
packages() { find . -maxdepth 1 -name 'package*.json' -print0; }
sources() { find . \( -name node_modules -o -name dist -o -name e2e -o -name test \) -prune -o -type f -print0; }

# is MARKER HASH: whether that is what was done last.
is() { [ "$(cat "$1" 2>/dev/null || true)" = "$2" ]; }

if [ ! -e package.json ]; then
    exit 0
fi
if ! command -v npm >/dev/null 2>&1; then
    say "no npm: the control plane is compiled without its pages"
    exit 0
fi

installed=node_modules/.feedplane-installed
built=node_modules/.feedplane-built
wanted=$(packages | hash_of)
if ! is "$installed" "$wanted"; then
    say "installing the packages of package-lock.json"
    npm ci --no-audit --no-fund --loglevel=error
    printf '%s\n' "$wanted" >"$installed"
fi
wanted=$(sources | hash_of)
if ! is "$built" "$wanted" || [ ! -e dist/index.html ]; then
    say "building the pages"
    npm run --silent build
    printf '%s\n' "$wanted" >"$built"
fi
