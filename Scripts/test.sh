#!/usr/bin/env bash
# Every test, in the order that fails soonest: Scripts/test.sh runs all stages, Scripts/test.sh STAGE... some of them.
# A stage's output goes to .build-logs/STAGE.log; here appear its name, its time, the test runners' closing lines and, when it
# fails, what it said last. VERBOSE=1 shows everything.
#
# Each stage builds in a folder of its own (.build-STAGE), because its compiler flags are its own.
set -uo pipefail
cd "$(dirname "$0")/.."

all_stages='portable debug O0 undefined address thread traits release'
strict=(-Xswiftc -warnings-as-errors)

# A stage returns 0 when it passed, 77 when this machine cannot run it; then it has said why in its last line.
cannot_run=77

stage_lint() { Scripts/lint.sh; }

# The C target alone: every variant without Swift, here and, cross-compiled, on arm64, where only the portable kernels exist.
stage_portable() {
    build_portable .build-portable/native && .build-portable/native || return
    local arm64=(--target=aarch64-linux-gnu -fuse-ld=lld -static -fsanitize=undefined -fsanitize-trap=undefined)
    [ "$(uname -sm)" = 'Linux x86_64' ] || { echo 'arm64 is not cross-compiled on this machine'; return 0; }
    command -v qemu-aarch64-static >/dev/null && [ -e /usr/aarch64-linux-gnu/lib/libc.a ] ||
        { echo 'arm64: needs qemu-user-static and gcc-aarch64-linux-gnu'; return $cannot_run; }
    build_portable .build-portable/arm64 "${arm64[@]}" && qemu-aarch64-static .build-portable/arm64
}

build_portable() { # PROGRAM FLAG...
    local clang sources
    clang=$(dirname "$(readlink -f "$(command -v swift)")")/clang
    [ -x "$clang" ] || clang=clang
    sources=$(find CKernels -name '*.c')
    mkdir -p .build-portable
    "$clang" "${@:2}" -std=c17 -O2 -D_GNU_SOURCE -Wall -Wextra -Werror -ICKernels -ICKernels/include -pthread \
        -o "$1" Tests/Portable/scalar_checks.c $sources -lm
}

stage_debug() { swift_test debug "${strict[@]}"; }
stage_release() { swift_test release -c release -Xswiftc -enable-testing "${strict[@]}"; }

# The kernels as the compiler leaves them without optimisation: what only -O0 shows.
stage_O0() { swift_test O0 -Xcc -O0; }

# Trap mode needs no run-time library, which Swift's link on Linux does not offer; C is the only language it concerns.
stage_undefined() { swift_test undefined -Xcc -fsanitize=undefined -Xcc -fsanitize-trap=undefined; }
stage_address() { swift_test address --sanitize=address; }
stage_thread() { swift_test thread --sanitize=thread --filter ThreadPool; }

# Without hwloc and libnuma: the topology that we read ourselves.
stage_traits() { swift_test traits --disable-default-traits --filter 'Machine|Topology|ThreadPool'; }

swift_test() { # FOLDER ARGUMENT...
    swift test --scratch-path ".build-$1" "${@:2}" </dev/null
}

# What must not drown in a log: the runners' closing lines, and variants that this machine could not run.
closing_lines() { grep -E 'Test run with|Executed [0-9]+ tests|scalar_checks:|[Ss]kipped' "$1" | sort -u | tail -n 12; }

run_stage() {
    local log=.build-logs/$1.log begin=$SECONDS status result
    printf '== %s\n' "$1"
    if [ -n "${VERBOSE:-}" ]; then "stage_$1" 2>&1 | tee "$log"; else "stage_$1" >"$log" 2>&1; fi
    status=$?
    if [ $status = 0 ] && grep -q ": warning: .*" "$log"; then
        echo 'warnings count as errors:' && grep ': warning: ' "$log" | sort -u && status=1
    fi
    case $status in
    0) result=passed && closing_lines "$log" ;;
    "$cannot_run") result='not run' && tail -n 1 "$log" && not_run="$not_run $1" ;;
    *) result=FAILED && failed="$failed $1" && grep -E 'error:|✘|Fatal|ERROR: ' "$log" | head -n 40; tail -n 40 "$log" ;;
    esac
    printf -- '-- %s %s, %d s\n' "$1" "$result" $((SECONDS - begin))
    [ "$result" != FAILED ]
}

stages=("$@")
[ $# != 0 ] || read -ra stages <<<"$all_stages"
for stage in "${stages[@]}"; do
    [ "$(type -t "stage_$stage")" = function ] || { echo "no stage $stage; there are: $all_stages" >&2; exit 2; }
done

mkdir -p .build-logs
failed= not_run=
for stage in "${stages[@]}"; do
    run_stage "$stage" || break
done

[ -z "$not_run" ] || echo "not run on this machine:$not_run"
[ -z "$failed" ] || { echo "FAILED:$failed after $SECONDS s (.build-logs$(printf '/%s.log' $failed))"; exit 1; }
[ -z "$not_run" ] || [ -z "${CI:-}" ] || { echo 'under CI every stage must run'; exit 1; }
echo "all stages passed, $SECONDS s"
