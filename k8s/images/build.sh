#!/usr/bin/env bash
# Builds the images with podman: `k8s/images/build.sh [--programs FOLDER] [--podman OPTION]... [IMAGE...]`.
#
#   IMAGE        feedplane, feedplane-trainer; both when none is named. Tagged with the version of the code.
#   --programs   where the programs are; target/release when left out (`make build`)
#   --podman     an option of podman itself, as --root=FOLDER
#
# The file systems are made of the Debian packages listed here, of this system's own release and sources (signatures verified by apt),
# because the programs were linked with its libraries. They are only unpacked. Push the result where your cluster
# takes images from: `podman push feedplane:VERSION …`, and name it in the overlay (`images:`, `newName`).
#
# Needs podman, and a Debian 12 with apt. About 25 MB and the programs; the trainer about 700 MB.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# glibc and what the programs link; time zones and certificates; the names of users and services.
packages=(base-files libc6 libgcc-s1 libelf1 zlib1g tzdata ca-certificates netbase)
# Python and what its packages link.
trainer_packages=(python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libstdc++6 libgomp1 libssl3 libffi8 libsqlite3-0
    liblzma5 libbz2-1.0 libexpat1 libuuid1 libcrypt1 media-types)
programs=(feedplane feedplane-dataplane feedplane-controlplane feedplane-features feedplane-strategy feedplane-gateway
    feedplane-archiver)

say() { printf 'images: %s\n' "$*"; }

folder=${CARGO_TARGET_DIR:-target}/release
podman=(podman)
images=()
while [ $# -gt 0 ]; do
    case $1 in
    --programs) folder=$2; shift 2 ;;
    --podman) podman+=("$2"); shift 2 ;;
    feedplane | feedplane-trainer) images+=("$1"); shift ;;
    *) say "what is $1? feedplane, feedplane-trainer, --programs, --podman"; exit 2 ;;
    esac
done
[ "${#images[@]}" -gt 0 ] || images=(feedplane feedplane-trainer)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

context=$(mktemp -d "${TMPDIR:-/tmp}/feedplane-images.XXXXXX")
trap 'rm -rf "$context"' EXIT
# A target that is not built is not looked at, but its folders must be there.
mkdir -p "$context"/{root,bin,trainer-root,trainer,packages}

# unpack ROOT PACKAGE...: a file system of these packages.
unpack() {
    local root=$1 package
    shift
    rm -f "$context"/packages/*
    (cd "$context/packages" && apt-get -qq -o APT::Sandbox::User=root download "$@")
    for package in "$context"/packages/*.deb; do
        dpkg-deb --extract "$package" "$root"
    done
    rm -rf "$root"/usr/share/{doc,man,locale,bug,lintian,info,common-licenses} "$root"/{boot,home,media,mnt,srv}
    # What ca-certificates' own script does.
    if [ -d "$root/usr/share/ca-certificates" ]; then
        mkdir -p "$root/etc/ssl/certs"
        cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
        rm -rf "$root/usr/share/ca-certificates" "$root/usr/sbin"
    fi
    printf 'root:x:0:0::/:/sbin/nologin\nfeedplane:x:65532:65532::/:/sbin/nologin\n' >"$root/etc/passwd"
    printf 'root:x:0:\nfeedplane:x:65532:\n' >"$root/etc/group"
    mkdir -p "$root"/{tmp,proc,sys,dev,run,etc/feedplane,var/lib/feedplane}
    chmod 1777 "$root/tmp"
}

lay_out_feedplane() {
    local program
    for program in "${programs[@]}"; do
        if [ ! -x "$folder/$program" ]; then
            say "$folder/$program is not there: make build"
            return 1
        fi
        # Line tables stay beside, with the build.
        strip --strip-debug -o "$context/bin/$program" "$folder/$program"
    done
    unpack "$context/root" "${packages[@]}"
}

lay_out_trainer() {
    local python=${FEEDPLANE_TRAINER_PYTHON:-.venv-trainer/bin/python} installed
    if [ ! -x "$python" ]; then
        say "$python is not there: scripts/setup.sh"
        return 1
    fi
    unpack "$context/trainer-root" "${packages[@]}" "${trainer_packages[@]}"
    ln -sf python3.11 "$context/trainer-root/usr/bin/python3"
    mkdir -p "$context/trainer/packages"
    installed=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    # What runs: neither pip nor the tests' tools, nor the packages' own tests.
    cp -a "$installed/." "$context/trainer/packages/"
    (cd "$context/trainer/packages" && rm -rf pip pip-* setuptools* pkg_resources _distutils_hack* distutils-precedence.pth pytest* \
        _pytest* ruff* pluggy* iniconfig* && find . -depth \( -name __pycache__ -o -name tests \) -type d -exec rm -rf {} +)
    cp -a pipeline/trainer/src "$context/trainer/src"
}

for image in "${images[@]}"; do
    case $image in
    feedplane) lay_out_feedplane ;;
    feedplane-trainer) lay_out_trainer ;;
    esac
    "${podman[@]}" build --quiet --isolation=chroot --layers=false --target "$image" --tag "$image:$version" \
        --file k8s/images/Containerfile "$context" >/dev/null
    say "$image:$version is built"
done
