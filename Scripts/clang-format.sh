#!/bin/sh
# Runs clang-format 21 on every C file of ours with the arguments given. Another version formats otherwise, so this very one is
# fetched with pip into .build-tools/ where PATH has no version 21.
set -eu
cd "$(dirname "$0")/.."

version=21.1.8
tool=clang-format
if ! clang-format --version 2>/dev/null | grep -q 'version 21\.'; then
    tools=.build-tools/clang-format-$version
    tool=$tools/clang_format/data/bin/clang-format
    if [ ! -x "$tool" ]; then
        python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --only-binary :all: \
            --target "$tools" "clang-format==$version" </dev/null ||
            { echo "clang-format.sh: clang-format $version is neither in PATH nor to be had through pip" >&2; exit 1; }
    fi
fi

find CKernels Sources/CCompression Sources/CLAPACK Tests Bench \( -name '*.c' -o -name '*.h' \) -print0 |
    xargs -0 "$tool" --style=file "$@"
