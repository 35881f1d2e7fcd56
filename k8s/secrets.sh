#!/usr/bin/env bash
# Writes the Secrets that the manifests name, with new passwords, as YAML to standard output. Nothing is kept here.
#
#   k8s/secrets.sh NAME... | kubectl create -f -
#
# NAME...: what the certificate of console and API is for, as `node7.example.com` or an address. It is signed by itself: a site with
# an authority of its own (cert-manager) makes `controlplane-tls` with that, and leaves this one out.
#
# `create` and not `apply`: new passwords under running processes would shut them out. Passwords of venues' sessions are read from
# files in the folder VENUES (one a session, named as its `venue`), when that is set.
#
# Needs openssl. Redis is given hashes only.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

redis_users=(dataplane features strategy gateway archiver controlplane operator)
database_users=(postgres archiver controlplane trainer)

password() { openssl rand -hex 32; }
base64_of() { base64 -w0; }

# secret NAME TYPE: the head of one; its entries follow.
secret() {
    printf -- '---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: feedplane}\ntype: %s\ndata:\n' "$1" "$2"
}
# entry KEY: standard input is its value.
entry() { printf '  %s: %s\n' "$1" "$(base64_of)"; }

redis() {
    local user users one
    users=$(cat "$here/users.acl.in")
    secret redis-passwords Opaque
    for user in "${redis_users[@]}"; do
        one=$(password)
        printf '%s' "$one" | entry "$user"
        users=${users//"#$user#"/"#$(printf '%s' "$one" | sha256sum | cut -c 1-64)"}
    done
    secret redis-users Opaque
    # Redis takes no comments in this file.
    grep -v '^#' <<<"$users" | entry users.acl
}

databases() {
    local user
    secret database-passwords Opaque
    for user in "${database_users[@]}"; do
        password | tr -d '\n' | entry "$user"
    done
}

certificate() {
    local folder names='' name
    folder=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$folder'" RETURN
    for name in "$@" controlplane.feedplane.svc localhost 127.0.0.1; do
        if [[ $name =~ ^[0-9.]+$|: ]]; then names+=,IP:$name; else names+=,DNS:$name; fi
    done
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj "/CN=${1:-localhost}" \
        -addext "subjectAltName=${names#,}" -keyout "$folder/key" -out "$folder/certificate" 2>/dev/null
    secret controlplane-tls kubernetes.io/tls
    entry tls.crt <"$folder/certificate"
    entry tls.key <"$folder/key"
}

venues() {
    local file
    secret venues Opaque
    if [ -z "${VENUES:-}" ]; then
        echo "secrets: VENUES is not set: the Secret venues is empty, no session can log on" >&2
        return
    fi
    for file in "$VENUES"/*; do
        entry "$(basename "$file")" <"$file"
    done
}

redis
databases
certificate "$@"
venues
