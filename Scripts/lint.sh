#!/bin/sh
# Style that tools can check: swift-format, clang-format, 130 columns.
set -eu
cd "$(dirname "$0")/.."

status=0
swift format lint --strict --parallel --recursive Package.swift Sources Tests Bench Examples || status=1
Scripts/clang-format.sh --dry-run -Werror || status=1

columns() {
    find "$@" -type f \( -name '*.swift' -o -name '*.[ch]' -o -name '*.inc' -o -name '*.sh' -o -name '*.py' \) -print0 |
        xargs -0 awk 'length($0) > 130 { printf "%s:%d: %d columns\n", FILENAME, FNR, length($0); bad = 1 } END { exit bad }'
}
LC_ALL=C.UTF-8 columns Package.swift CKernels Sources Tests Bench Examples Scripts || status=1
exit $status
