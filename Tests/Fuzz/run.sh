#!/bin/sh
# Fuzzes the readers of weight files: Tests/Fuzz/run.sh SECONDS [TARGET...]
#
# A target is a Swift file of this folder that defines LLVMFuzzerTestOneInput. The library is compiled with libFuzzer's and the
# address sanitizer's instrumentation, so this needs nothing but the Swift toolchain and Python. The corpus of a target is what
# make_corpus.py writes, the files of corpus/TARGET that are in the tree (past findings), and what earlier runs found, kept in
# .build/fuzz.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:?usage: Tests/Fuzz/run.sh SECONDS [TARGET...]}
shift
work=.build/fuzz
mkdir -p "$work/objects"

sanitize=-sanitize=fuzzer,address
flags="-O -parse-as-library -swift-version 6 -enable-upcoming-feature ExistentialAny
  -enable-upcoming-feature InternalImportsByDefault -enable-upcoming-feature MemberImportVisibility
  -enable-testing -package-name tessera -Xcc -fmodule-map-file=$work/module.modulemap -I $work"

echo 'module CKernels { umbrella "../../CKernels/include" export * }' > "$work/module.modulemap"
# The kernels proper are only linked: instrumented, their unrolled loops take minutes to compile, and no reader calls them.
for source in $(find CKernels -name '*.c'); do
  object=$work/objects/$(echo "$source" | tr / _).o
  case $source in
    *_pack.c | *_stored.c | CKernels/checksum/* | CKernels/support/*) instrument="-O1 -fsanitize=address,fuzzer-no-link" ;;
    *) instrument=-O0 ;;
  esac
  if [ ! "$object" -nt "$source" ]; then
    clang -c -g -std=gnu17 -D_GNU_SOURCE -ICKernels -ICKernels/include $instrument "$source" -o "$object"
  fi
done
for module in Tessera TesseraLayers TesseraModels; do
  swiftc $flags $sanitize -wmo -module-name $module -emit-module-path "$work/$module.swiftmodule" \
    -c $(find Sources/$module -name '*.swift') -o "$work/objects/$module.o"
done

python3 Tests/Fuzz/make_corpus.py "$work/seeds"
[ $# -gt 0 ] || set -- $(cd Tests/Fuzz && ls *.swift | sed 's/\.swift$//')
for target in "$@"; do
  swiftc $flags $sanitize -module-name "Fuzz$target" "Tests/Fuzz/$target.swift" "$work"/objects/*.o -o "$work/$target"
  mkdir -p "$work/corpus/$target" "$work/seeds/$target" "Tests/Fuzz/corpus/$target"
  echo "== $target, $seconds s"
  "$work/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=256 -max_len=16384 \
    -print_final_stats=1 \
    -artifact_prefix="$work/$target-" "$work/corpus/$target" "$work/seeds/$target" "Tests/Fuzz/corpus/$target"
done
