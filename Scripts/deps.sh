#!/bin/sh
# Sees that what the build needs is there, and with `deps.sh test` also what the stages of `make test` need. Installs what is
# missing through apt as root, or with a sudo that asks nothing; elsewhere it says in one line what to install.
# Fails only for what the build itself cannot do without.
set -u

purpose=${1:-build}
cross=/usr/lib/gcc-cross/aarch64-linux-gnu

has() { command -v "$1" >/dev/null 2>&1; }
has_library() { # PKG_CONFIG_NAME HEADER
    pkg-config --exists "$1" 2>/dev/null || [ -e "/usr/include/$2" ] || [ -e "/usr/local/include/$2" ]
}

# Sets `required` and `optional`: the packages, by their Debian names, whose work nothing here does.
look() {
    required='' optional=''
    has_library hwloc hwloc.h || required="$required libhwloc-dev"
    [ "$(uname)" != Linux ] || has_library numa numa.h || required="$required libnuma-dev"
    [ "$(uname)" != Linux ] || has_library openblas "$(uname -m)-linux-gnu/openblas_config.h" ||
        required="$required libopenblas-dev"
    has pkg-config || optional="$optional pkg-config"
    python3 -m pip --version >/dev/null 2>&1 || optional="$optional python3-pip"
    if [ "$purpose $(uname -sm)" = 'test Linux x86_64' ]; then
        [ -e /usr/aarch64-linux-gnu/lib/libc.a ] && ls "$cross"/*/libgcc.a >/dev/null 2>&1 ||
            optional="$optional gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
        has qemu-aarch64-static || optional="$optional qemu-user-static"
    fi
}

if ! has swift; then
    echo 'deps: swift is not in PATH; Tessera needs Swift 6.2 or later, see https://www.swift.org/install' >&2
    exit 1
fi
look
[ -n "$required$optional" ] || exit 0

root=none
if has apt-get; then
    if [ "$(id -u)" = 0 ]; then root=; elif has sudo && sudo -n true 2>/dev/null; then root='sudo -n'; fi
fi
if [ "$root" != none ]; then
    echo "deps: installing$required$optional"
    $root apt-get update -qq </dev/null
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $required $optional \
        </dev/null >/dev/null
    look
fi

[ -z "$optional" ] || echo "deps: without$optional the build works, but not all of make test and make bench" >&2
[ -n "$required" ] || exit 0
if [ "$(uname)" = Darwin ]; then install='brew install hwloc'; else install="apt install$required"; fi
echo "deps: the build needs$required ($install), or --disable-default-traits" >&2
exit 1
