#!/bin/sh
# Sees that what a build, or with `test` every stage of `make test`, needs is there. Installs what is missing through apt as root or
# with a sudo that asks nothing; elsewhere says in one line what to install. Fails only for what the build itself needs.
set -eu

required= optional=

has_header() {
    for folder in /usr/include /usr/local/include /opt/homebrew/include; do
        [ -e "$folder/$1" ] && return 0
    done
    pkg-config --exists "$2" 2>/dev/null
}
has() { command -v "$1" >/dev/null 2>&1; }

look() {
    required= optional=
    has_header hwloc.h hwloc || required="$required libhwloc-dev"
    [ "$(uname)" != Linux ] || has_header numa.h numa || required="$required libnuma-dev"
    has pkg-config || optional="$optional pkg-config"
    python3 -m pip --version >/dev/null 2>&1 || optional="$optional python3-pip"
    if [ "$1" = test ] && [ "$(uname)" = Linux ]; then
        [ -e /usr/aarch64-linux-gnu/lib/libc.a ] || [ "$(uname -m)" = aarch64 ] || optional="$optional libc6-dev-arm64-cross"
        ls /usr/lib/gcc-cross/aarch64-linux-gnu/*/libgcc.a >/dev/null 2>&1 || [ "$(uname -m)" = aarch64 ] ||
            optional="$optional gcc-aarch64-linux-gnu"
        has qemu-aarch64-static || [ "$(uname -m)" = aarch64 ] || optional="$optional qemu-user-static"
    fi
}

has swift || { echo "deps: swift is not in PATH; Tessera needs Swift 6.2 or later (https://www.swift.org/install)" >&2; exit 1; }
look "${1:-build}"
[ -n "$required$optional" ] || exit 0

as_root=none
if has apt-get; then
    if [ "$(id -u)" = 0 ]; then as_root=; elif has sudo && sudo -n true 2>/dev/null; then as_root='sudo -n'; fi
fi
if [ "$as_root" != none ]; then
    echo "deps: installing$required$optional"
    $as_root apt-get update -qq </dev/null || true
    $as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends $required $optional </dev/null >/dev/null || true
    look "${1:-build}"
fi

if has brew; then install='brew install hwloc'; else install="apt install$required$optional"; fi
[ -z "$optional" ] || echo "deps: missing, but not for the build:$optional ($install)" >&2
[ -z "$required" ] || { echo "deps: missing:$required; install them ($install), or build with --disable-default-traits" >&2; exit 1; }
