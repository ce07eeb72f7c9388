#!/bin/sh
# Builds the C peers against the libraries that are there, and says which are missing.
#
#   Bench/peers/build.sh [--onednn PREFIX] [--ggml PREFIX] [--ik PREFIX] [--llama PREFIX]
#                        [--out FOLDER]
#
# A PREFIX, where a library was installed, holds include/ and lib/ (or lib64/). Install ggml from a build for this machine: its
# instruction sets are chosen when it is built. Without a prefix oneDNN is looked for with pkg-config.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=$here/../../.build_peers
onednn= ggml= ik= llama=
while [ $# -gt 0 ]; do
    [ $# -gt 1 ] || { echo "build.sh: $1 needs a value" >&2; exit 2; }
    case $1 in
    --onednn) onednn=$2 ;;
    --ggml) ggml=$2 ;;
    --ik) ik=$2 ;;
    --llama) llama=$2 ;;
    --out) out=$2 ;;
    *) echo "build.sh: $1: no such option" >&2; exit 2 ;;
    esac
    shift 2
done
mkdir -p "$out"
out=$(cd "$out" && pwd)
compiler=${CC:-cc}
command -v "$compiler" >/dev/null || { echo "build.sh: no C compiler ($compiler)" >&2; exit 1; }

libraries() { # prefix -> linker options for its lib folder
    for folder in "$1/lib64" "$1/lib"; do
        [ -d "$folder" ] && printf '%s ' "-L$folder" "-Wl,-rpath,$folder"
    done
    return 0
}
compile() { # program, options
    program=$1
    shift
    "$compiler" -std=c17 -O2 -Wall -Wextra -pthread "$here/$program.c" "$here/peer.c" "$here/read_bandwidth.c" "$@" -lm \
        -o "$out/$program"
    echo "built $out/$program"
}

if [ -n "$onednn" ] && [ -f "$onednn/include/oneapi/dnnl/dnnl.h" ]; then
    compile onednn_matmul "-I$onednn/include" $(libraries "$onednn") -ldnnl
elif [ -z "$onednn" ] && pkg-config --exists 'dnnl >= 3' 2>/dev/null; then
    compile onednn_matmul $(pkg-config --cflags --libs dnnl)
else
    echo "missing: oneDNN 3.0 or later (oneapi/dnnl/dnnl.h, libdnnl) at ${onednn:-a place that pkg-config knows}"
    echo "         onednn_matmul is not built"
fi

if [ -n "$ggml" ] && [ -f "$ggml/include/ggml-backend.h" ]; then
    version=
    grep -q 'ggml_version' "$ggml/include/ggml.h" && version=-DHAS_GGML_VERSION
    rest=
    for folder in "$ggml/lib64" "$ggml/lib"; do
        [ -f "$folder/libggml-cpu.a" ] && rest="-lggml-cpu -lggml-base -lstdc++ -fopenmp"
    done
    compile ggml_mul_mat "-I$ggml/include" $version $(libraries "$ggml") -lggml -lggml-base $rest
else
    echo "missing: ggml (ggml-backend.h, libggml, libggml-base) at ${ggml:-a --ggml PREFIX}"
    echo "         ggml_mul_mat is not built"
fi

# ik_llama.cpp's ggml has neither a version in its interface nor the backends of ggml's.
if [ -n "$ik" ] && [ -f "$ik/include/ggml.h" ]; then
    compile ik_mul_mat "-I$ik/include" "-DIK_VERSION=\"${IK_VERSION:-unknown}\"" $(libraries "$ik") -lggml -lstdc++ -fopenmp
else
    echo "missing: ik_llama.cpp's ggml (ggml.h, libggml) at ${ik:-a --ik PREFIX}"
    echo "         ik_mul_mat is not built"
fi

# A program about text, without the measuring of the others.
if [ -n "$llama" ] && [ -f "$llama/include/llama.h" ]; then
    rest=
    for folder in "$llama/lib64" "$llama/lib"; do
        [ -f "$folder/libllama.a" ] && rest="-lggml -lggml-cpu -lggml-base -lstdc++ -fopenmp"
    done
    "$compiler" -std=c17 -O2 -Wall -Wextra -pthread "$here/llama_generate.c" "-I$llama/include" $(libraries "$llama") -lllama \
        $rest -lm -ldl -o "$out/llama_generate"
    echo "built $out/llama_generate"
else
    echo "missing: llama.cpp (llama.h, libllama, libggml) at ${llama:-a --llama PREFIX}"
    echo "         llama_generate is not built"
fi
