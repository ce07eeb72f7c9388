#!/bin/sh
# Builds the program that times latent keys: one static binary that can be carried to another machine.
#
#   Bench/latent/build.sh [--emulate] [--out FILE]
#
# --emulate builds the AVX-512 and AMX kernels over the C models of Tests/EmulatedKernels: for --check on any machine.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/.build_stages/latent emulate=
while [ $# -gt 0 ]; do
    case $1 in
    --emulate) emulate=1 out=$root/.build_stages/latent_emulated ;;
    --out) [ $# -gt 1 ] || { echo "build.sh: --out needs a file" >&2; exit 2; }; out=$2; shift ;;
    *) echo "build.sh: $1: no such option" >&2; exit 2 ;;
    esac
    shift
done
clang=${CC:-clang}
command -v "$clang" >/dev/null || { echo "build.sh: the kernels need clang ($clang)" >&2; exit 1; }
mkdir -p "$(dirname "$out")"
objects=$out.objects
rm -rf "$objects"
mkdir -p "$objects"

models=$root/Tests/EmulatedKernels
flags="-std=c17 -O2 -D_GNU_SOURCE -Wall -Wextra -Werror -pthread -I$root/CKernels -I$root/CKernels/include -I$here"
compile() { "$clang" $flags -c "$@"; }

# variants.inc, a line each as: set name knobs
sed -n 's/^VARIANT(\([a-z0-9_]*\), \([a-z0-9_]*\), .*"\(.*\)")$/\1 \2 \3/p' "$here/variants.inc" >"$objects/list"
while read -r set name knobs; do
    macros=
    for knob in $knobs; do macros="$macros -D$knob"; done
    [ -z "$emulate" ] || [ "$set" = latent_avx2 ] || macros="$macros -DCK_EMULATE=1 -I$models -I$models/include"
    compile "$here/$set.c" $macros "-DSTAGE_SET=$set" "-DSTAGE_NAME=$name" -o "$objects/$set.$name.o"
done <"$objects/list"
if [ -n "$emulate" ]; then
    for model in tile_model vector_model model_fault; do
        compile "-I$models" "-I$models/include" "$models/$model.c" -o "$objects/$model.o"
    done
    flags="$flags -DSTAGE_MODELS=1 -I$models/include"
fi
compile "$here/latent.c" -o "$objects/latent.o"
for folder in attention latent_attention pool support; do
    for source in "$root/CKernels/$folder"/*.c; do compile "$source" -o "$objects/$folder.$(basename "$source").o"; done
done
for source in dense_gemm/dense_gemm_pack; do compile "$root/CKernels/$source.c" -o "$objects/$(basename "$source").o"; done
"$clang" -static -pthread -s -o "$out" "$objects"/*.o -lm
rm -r "$objects"
echo "built $out"
