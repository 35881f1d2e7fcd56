#!/usr/bin/env bash
# Puts PostgreSQL 17 with TimescaleDB (Apache edition) of Debian 13 into a folder of its own, for tests, benches
# and `feedplane up`. The running system is not touched: an apt configuration of its own downloads the
# packages, signatures verified, and they are only unpacked. Nothing of them runs here; `lab::postgres` starts
# servers in that folder by chroot.
#
#   where      ${XDG_CACHE_HOME:-~/.cache}/feedplane/timescaledb-<hash of this script>
#   from       the Debian mirror that this system's own apt sources name
#   size       about 60 MB downloaded, 190 MB unpacked
#
# Does nothing when the folder is complete. Called by setup.sh as root.
set -euo pipefail

say() { printf 'setup: %s\n' "$*"; }

release=trixie
# dash and libc-bin: initdb starts the server through a shell.
packages=(postgresql-17 postgresql-17-timescaledb dash libc-bin)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

cache=${XDG_CACHE_HOME:-$HOME/.cache}/feedplane
prefix=$cache/timescaledb-$(sha256sum "${BASH_SOURCE[0]}" | cut -c 1-16)

# The mirror of the system's own Debian release: not a security or updates suite, which lie elsewhere.
find_mirror() {
    apt-get indextargets --format '$(REPO_URI)|$(ORIGIN)|$(CODENAME)' 'Created-By: Packages' |
        awk -F'|' '$2 == "Debian" && $3 !~ /-/ { print $1; exit }'
}

# Keys of the newer release come with the keyring of this one, from the system's own (verified) sources.
renew_keyring() {
    [ -e "/usr/share/keyrings/debian-archive-$release-automatic.gpg" ] && return
    say "installing the newer debian-archive-keyring, which holds the keys of Debian $release"
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install --yes \
        --no-install-recommends debian-archive-keyring >/dev/null
}

# configure_apt FOLDER MIRROR: everything that apt reads or writes is in FOLDER, but for how to reach the
# network, which stays the system's. Its list of installed packages is empty, so that every dependency comes.
configure_apt() {
    local folder=$1 mirror=$2
    mkdir -p "$folder"/{lists,archives}/partial "$folder/none"
    : >"$folder/status"
    printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$release" >"$folder/sources.list"
    cat >"$folder/apt.conf" <<CONF
Dir::State "$folder";
Dir::State::lists "$folder/lists";
Dir::State::status "$folder/status";
Dir::Cache "$folder";
Dir::Cache::archives "$folder/archives";
Dir::Etc::SourceList "$folder/sources.list";
Dir::Etc::SourceParts "$folder/none";
Dir::Etc::Preferences "$folder/none/preferences";
Dir::Etc::PreferencesParts "$folder/none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Languages "none";
APT::Sandbox::User "root";
CONF
}

unpack() {
    local archives=$1 root=$2 folder package
    mkdir -p "$root"/{dev,proc,tmp,etc,server}
    # The packages expect that /bin and the others are links, as they are on every system of this release.
    for folder in bin sbin lib lib64; do
        mkdir -p "$root/usr/$folder"
        ln -s "usr/$folder" "$root/$folder"
    done
    for package in "$archives"/*.deb; do
        case $(basename "$package") in
        libllvm* | libz3-*) continue ;; # the just-in-time compiler, 170 MB: it stays off
        esac
        dpkg-deb --extract "$package" "$root"
    done
    chmod 1777 "$root/tmp"
    printf 'root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$root/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
    rm -rf "$root"/usr/share/{doc,man,locale,bug,lintian}
}

main() {
    local work mirror
    if [ -e "$prefix/complete" ]; then
        return
    fi
    mirror=$(find_mirror)
    if [ -z "$mirror" ]; then
        apt-get -qq update
        mirror=$(find_mirror)
    fi
    if [ -z "$mirror" ]; then
        say "no TimescaleDB: the apt sources of this system name no Debian mirror"
        return
    fi
    renew_keyring
    say "unpacking PostgreSQL 17 and TimescaleDB of Debian $release into $prefix"
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/timescaledb-work.XXXXXX")
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$work'" EXIT
    configure_apt "$work/apt" "$mirror"
    export APT_CONFIG=$work/apt/apt.conf DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq install --yes --no-install-recommends --download-only "${packages[@]}" >/dev/null
    unpack "$work/apt/archives" "$work/tree"
    chroot "$work/tree" ldconfig
    touch "$work/tree/complete"
    rm -rf "$prefix"
    mv -T "$work/tree" "$prefix"
}

main
