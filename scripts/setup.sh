#!/usr/bin/env bash
# Brings a fresh Debian 12 to where `make demo`, `make test` and `make bench` run, and says what it does.
# Run it as often as you like: what is there is left alone, and a second run changes nothing.
#
#   system packages   only as root, only those missing, one `apt-get update` at most
#   kubectl           only where none is recent enough, in a folder of the user's cache: see kubectl.sh
#   TimescaleDB       only as root, in a folder of the user's cache: see timescaledb.sh
#   .venv             Python readers that the tests compare with, pinned by hash; a link into the user's cache,
#                     so that another clone with the same requirements downloads nothing; quickfix, which has no
#                     wheel, is compiled into it, once, for some minutes
#   .venv-trainer     the trainer's packages, in the same way; wheels only
#   .venv-hftbacktest only when called as `setup.sh bench`: what the backtest's speed is compared with; 320 MB
#
# Services that run already are not touched. What this script installs (redis-server, prometheus for its
# promtool, podman) is neither started nor enabled: tests, benches and the demo start private ones of their own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*"; }
has() { command -v "$1" >/dev/null 2>&1; }

# package | probe: a shell test that succeeds when it is there | what cannot be done without it ("!" = build)
packages() {
    cat <<'EOF'
gcc|has cc|!
libc6-dev|test -e /usr/include/stdio.h|!
make|has make|!
pkg-config|has pkg-config|!
clang-19|has clang-19|!
libelf-dev|test -e /usr/include/libelf.h|!
zlib1g-dev|test -e /usr/include/zlib.h|!
iproute2|has ip|everything that makes a private network: the demo on XDP and its tests
ethtool|has ethtool|the tests of NIC queues
redis-server|has redis-server|everything that publishes: the demo and its tests
python3|test -n "$base_python"|the comparison with independent Python readers
python3-venv|test -n "$base_python" && "$base_python" -c 'import ensurepip, venv'|the comparison with independent Python readers
g++|has c++|the tests of the FIX line with QuickFIX
nodejs|has node|the console: the control plane is built without its pages
npm|has npm|the console: the control plane is built without its pages
chromium|has chromium|the tests of the console in a browser
podman|has podman|the images, and their tests
runc|has runc|the tests that run an image
prometheus|has promtool|the tests of the alert rules
python3-dev|test -n "$base_python" && test -e "$("$base_python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h"|the tests of the FIX line with QuickFIX
EOF
}

# The distribution's own interpreter, so that python3-venv belongs to it; otherwise the first on the path.
find_python() {
    base_python=
    local candidate
    for candidate in /usr/bin/python3 "$(command -v python3 || true)"; do
        if [ -x "$candidate" ]; then
            base_python=$candidate
            return
        fi
    done
}

missing_packages() {
    local package probe
    while IFS='|' read -r package probe _; do
        (eval "$probe") >/dev/null 2>&1 || printf '%s\n' "$package"
    done < <(packages)
}

install_packages() {
    local blocker=/usr/sbin/policy-rc.d
    say "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    # While packages are unpacked, no service may be started (exit 101: "forbidden by policy").
    if [ ! -e "$blocker" ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$blocker"
        chmod 755 "$blocker"
    fi
    apt-get -qq -o DPkg::Lock::Timeout=300 install --yes --no-install-recommends "${missing[@]}" >/dev/null
    keep_services_off redis-server redis-server.service
    keep_services_off prometheus prometheus.service
    keep_services_off podman podman.socket podman.service podman-restart.service \
        podman-auto-update.service podman-auto-update.timer
}

# keep_services_off PACKAGE UNIT...: only when the package was put here by this run.
keep_services_off() {
    local package=$1
    shift
    [[ " ${missing[*]} " == *" $package "* ]] || return 0
    if [ -d /run/systemd/system ]; then
        systemctl --quiet disable --now "$@"
    elif has systemctl; then
        systemctl --quiet disable "$@" 2>/dev/null || true # the links that the package made; nothing runs here
    fi
    if has update-rc.d && [ -e "/etc/init.d/$package" ]; then
        update-rc.d "$package" disable >/dev/null 2>&1
    fi
    say "$package is installed, its system service is off"
}

# What cannot be installed: named, with its consequence. Fails when nothing can be built.
report_missing() {
    local package without fatal=0
    say "not root (or no apt-get), so nothing is installed. Missing:"
    while IFS='|' read -r package _ without; do
        [[ " ${missing[*]} " == *" $package "* ]] || continue
        if [ "$without" = '!' ]; then
            fatal=1
            say "  $package: the build needs it"
        else
            say "  $package: skipped without it: $without"
        fi
    done < <(packages)
    say "as root: apt-get install ${missing[*]}"
    return "$fatal"
}

check_rust() {
    local wanted found
    if ! has cargo; then
        say "cargo is missing: install Rust with rustup (https://rustup.rs), then run this again"
        return 1
    fi
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    found=$(rustc --version | cut -d ' ' -f 2)
    if [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
        say "rustc $found is older than $wanted: rustup update"
        return 1
    fi
    if has rustup; then
        local component
        for component in rustfmt clippy; do
            has "cargo-${component/rustfmt/fmt}" && continue
            say "adding $component"
            rustup --quiet component add "$component"
        done
    fi
}

# make_venv LINK NAME REQUIREMENTS WITHOUT [PIP OPTION...]: an environment in the user's cache, by the hash of what is in it,
# and a link to it. Sets `venv` when it is there.
make_venv() {
    local link=$1 name=$2 requirements=$3 without=$4 wanted
    shift 4
    venv=
    if [ -z "$base_python" ] || ! "$base_python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        say "no $link: skipped without it: $without"
        return
    fi
    wanted=${XDG_CACHE_HOME:-$HOME/.cache}/feedplane/$name-$(sha256sum "$requirements" | cut -c 1-16)
    if [ ! -e "$wanted/complete" ]; then
        if kernel_has_oopsed; then
            say "no $link: this kernel has oopsed and may never answer about the network; reboot to download"
            return
        fi
        say "making $wanted from $requirements"
        "$base_python" -m venv --clear "$wanted"
        "$wanted/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes "$@" \
            -r "$requirements"
        touch "$wanted/complete"
    fi
    if [ "$(readlink "$link" || true)" != "$wanted" ]; then
        rm -rf "$link"
        ln -s "$wanted" "$link"
    fi
    venv=$wanted
}

# Packages without wheels. Without optimisation, which halves the time: they are tested with, not measured.
compile_packages() {
    local venv=$1 marker
    marker=$venv/compiled-$(sha256sum scripts/requirements-compiled.txt | cut -c 1-16)
    [ -e "$marker" ] && return
    if kernel_has_oopsed; then
        say "no QuickFIX: this kernel has oopsed and may never answer about the network; reboot to download"
        return
    fi
    say "compiling scripts/requirements-compiled.txt, some minutes"
    if CFLAGS=-O0 "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes \
        -r scripts/requirements-compiled.txt; then
        touch "$marker"
    else
        say "no QuickFIX: the tests of the FIX line with it will be skipped"
    fi
}

# A PostgreSQL that tests and `feedplane up` start for themselves; without it they take the machine's own, if any.
unpack_timescaledb() {
    if [ "$(id -u)" != 0 ] || ! has apt-get; then
        say "no TimescaleDB: it is unpacked and run as root only; a plain PostgreSQL is used if there is one"
    elif kernel_has_oopsed; then
        say "no TimescaleDB: this kernel has oopsed and may never answer about the network; reboot to download"
    elif ! scripts/timescaledb.sh; then
        say "no TimescaleDB: its packages cannot be had; a plain PostgreSQL is used if there is one"
    fi
}

# The manifests are rendered and checked with it.
unpack_kubectl() {
    if kernel_has_oopsed; then
        say "no kubectl: this kernel has oopsed and may never answer about the network; reboot to download"
    elif ! scripts/kubectl.sh; then
        say "no kubectl: it cannot be had; skipped without it: the tests of the manifests"
    fi
}

# TAINT_DIE. A kernel that oopsed may hold its network configuration lock for good: even a name look-up hangs.
kernel_has_oopsed() {
    [ $(("$(cat /proc/sys/kernel/tainted 2>/dev/null || echo 0)" >> 7 & 1)) = 1 ]
}

find_python
mapfile -t missing < <(missing_packages)
if [ "${#missing[@]}" -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && has apt-get; then
        install_packages
        find_python
    else
        report_missing
    fi
fi
check_rust
make_venv .venv python scripts/requirements.txt 'the comparison with independent Python readers'
[ -z "$venv" ] || compile_packages "$venv"
make_venv .venv-trainer trainer pipeline/trainer/requirements.txt 'training, and its tests' --only-binary :all:
if [ "${1:-}" = bench ]; then
    make_venv .venv-hftbacktest hftbacktest bench/reference_hftbacktest/requirements.txt \
        'the comparison of the backtest with hftbacktest' --only-binary :all: --no-deps
fi
unpack_timescaledb
unpack_kubectl
if [ "$(id -u)" != 0 ]; then
    say "not root: XDP and network namespaces cannot be used; the demo runs on sockets, their tests are skipped"
fi
say "ready"
