#!/usr/bin/env bash
# Every test, in the order that fails soonest: Scripts/test.sh runs all stages, Scripts/test.sh STAGE... some of them.
#
# A stage writes into .build-logs/STAGE.log. Here appear its name, its time and its closing lines or, when it fails, its errors
# and what it said last; VERBOSE=1 shows everything. Each stage builds in a folder of its own, .build-STAGE, with flags of its
# own.
set -uo pipefail
cd "$(dirname "$0")/.." || exit

all_stages='lint portable debug sanitize fallback release example fuzz'
fuzz_seconds=${FUZZ_SECONDS:-10}

# What a stage returns when this machine lacks what it needs. It has then said so in its last line.
cannot_run=77

stage_lint() { Scripts/lint.sh; }

# C without Swift: all of it with warnings as errors; every variant against exact integers, here and on arm64 under an emulator.
stage_portable() {
    local clang
    clang=$(dirname "$(readlink -f "$(command -v swift)")")/clang
    [ -x "$clang" ] || clang=clang
    mkdir -p .build-portable

    find Tests/CKernelChecks Tests/EmulatedKernels -name '*.c' -print0 |
        xargs -0 "$clang" -fsyntax-only "${c_flags[@]}" -ITests/CKernelChecks/include -ITests/EmulatedKernels{,/include} || return
    build_portable native && .build-portable/native || return

    [ "$(uname -sm)" = 'Linux x86_64' ] || return 0
    if ! command -v qemu-aarch64-static >/dev/null || [ ! -e /usr/aarch64-linux-gnu/lib/libc.a ]; then
        echo 'arm64 needs qemu-user-static, gcc-aarch64-linux-gnu and libc6-dev-arm64-cross'
        return $cannot_run
    fi
    build_portable arm64 --target=aarch64-linux-gnu -fuse-ld=lld -static -fsanitize=undefined -fsanitize-trap=undefined &&
        qemu-aarch64-static .build-portable/arm64
}

c_flags=(-std=c17 -O2 -D_GNU_SOURCE -Wall -Wextra -Werror -ICKernels -ICKernels/include)

build_portable() { # PROGRAM FLAG...
    find CKernels -name '*.c' -print0 |
        xargs -0 "$clang" "${c_flags[@]}" "${@:2}" -pthread -o ".build-portable/$1" Tests/Portable/*.c -lm
}

# Of the kernel checks a random part, another one in each run: the release stage runs them all. So it does what is skipped here,
# loops in Swift over long texts and large files that take minutes without optimisation.
stage_debug() {
    local skip='idsHaveTheHashesOfTheLibrary|modelsGoOnWithTexts|aGGUFFileWithHugeLists|openingTakesLittle|mergesTheLowestRank'
    TESSERA_CHECK_EVERY=24 swift_test debug '' -Xswiftc -warnings-as-errors
}
stage_release() { swift_test release '' -c release -Xswiftc -enable-testing -Xswiftc -warnings-as-errors; }

# Addresses and, in C, undefined behaviour, which traps: that needs no run-time library. Leaks are not asked for: the test runner
# and Foundation have their own. The kernels are compiled without optimisation here, for what only -O0 shows and because the
# optimiser takes minutes over the checks in unrolled loops. The library alone: what reads files is fuzzed with addresses
# checked. Left out is what would take minutes more and runs the same kernels as the checks do: comparisons with sums in double,
# and kernels that are wrong on purpose.
stage_sanitize() {
    local skip='aBrokenKernelDoesNotPass|[aA]gree|SameBits|equalsTheWhole|InstructionModel'
    ASAN_OPTIONS=detect_leaks=0 TESSERA_CHECK_EVERY=64 TESSERA_PACKAGE=core \
        swift_test sanitize '' --sanitize=address -Xcc -O0 -Xcc -fsanitize=undefined -Xcc -fsanitize-trap=undefined
}

# The pool with its races looked for, and the machine as we read it ourselves, without hwloc and libnuma.
stage_fallback() {
    TESSERA_PACKAGE=core swift_test fallback 'Machine|Topology|ThreadPool' --sanitize=thread --disable-default-traits
}

# A package of its own that depends on this one by its path: what is public must be enough for a program from outside. It goes on
# with a text if the reference model is there. Built where and as the release stage builds, so that little is compiled twice.
stage_example() {
    local flags=(--package-path Examples/Stream --product Stream --scratch-path .build-release -c release)
    local model=models/SmolLM2-135M-Instruct.Q4_1.gguf text
    swift build "${flags[@]}" -Xswiftc -enable-testing -Xswiftc -warnings-as-errors </dev/null || return
    [ -f "$model" ] || { echo 'skipped: no reference model to run Examples/Stream with'; return 0; }
    text=$("$(swift build "${flags[@]}" --show-bin-path)/Stream" "$model" 'The capital of France is') || return
    echo "$text"
    [[ $text == *Paris* ]]
}

stage_fuzz() { Tests/Fuzz/run.sh "$fuzz_seconds"; }

swift_test() { # FOLDER FILTER FLAG...
    local flags=(--scratch-path ".build-$1" "${@:3}")
    swift build --product TesseraPackageTests "${flags[@]}" </dev/null &&
        swift test --skip-build ${2:+--filter "$2"} ${skip:+--skip "$skip"} "${flags[@]}" </dev/null
}

# What must not drown in a log: the runners' closing lines, and what they skipped.
closing_lines() {
    grep -E 'Test run with|scalar_checks:|[Ss]kipped|NOT RUN|^== |^stat::number_of_executed_units' "$1" | sort -u | head -n 20
}

first_errors() { grep -E 'error:|✘|Fatal|ERROR: |: warning: ' "$1" | head -n 40; }

run_stage() { # STAGE
    local log=.build-logs/$1.log begin=$SECONDS status result
    printf '== %s\n' "$1"
    if [ -n "${VERBOSE:-}" ]; then "stage_$1" 2>&1 | tee "$log"; else "stage_$1" >"$log" 2>&1; fi
    status=$?
    # Warnings of C count too, which no flag of SwiftPM turns into errors.
    [ $status != 0 ] || ! grep -q "^$PWD/.*: warning: " "$log" || status=1
    case $status in
    0) result=passed && closing_lines "$log" ;;
    "$cannot_run") result='not run' not_run="$not_run $1" && tail -n 1 "$log" ;;
    *) result=FAILED failed=$1 && first_errors "$log" && tail -n 40 "$log" ;;
    esac
    printf -- '-- %s %s, %d s\n' "$1" "$result" $((SECONDS - begin))
}

stages=("$@")
[ $# != 0 ] || read -ra stages <<<"$all_stages"
for stage in "${stages[@]}"; do
    [ "$(type -t "stage_$stage")" = function ] || { echo "no stage $stage; there are: $all_stages" >&2; exit 2; }
done

mkdir -p .build-logs
failed='' not_run=''
for stage in "${stages[@]}"; do
    run_stage "$stage"
    [ -z "$failed" ] || { echo "FAILED: $failed, after $SECONDS s; all of it in .build-logs/$failed.log"; exit 1; }
done

[ -z "$not_run" ] || echo "not run on this machine:$not_run"
[ -z "$not_run" ] || [ -z "${CI:-}" ] || { echo 'FAILED: in CI every stage has to run'; exit 1; }
echo "all stages passed, $SECONDS s: ${stages[*]}"
