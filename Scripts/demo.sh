#!/bin/sh
# Compresses a real model by five recipes, and shows what each costs and gains: bytes, speed, text, perplexity.
set -eu
cd "$(dirname "$0")/.."

swift build -c release --product tessera

# OpenBLAS goes by the processor's model and takes one that it does not know for a very old one, without AVX.
if [ -z "${OPENBLAS_CORETYPE:-}" ] && [ -r /proc/cpuinfo ]; then
    if grep -q avx512bw /proc/cpuinfo; then export OPENBLAS_CORETYPE=SKYLAKEX
    elif grep -q avx2 /proc/cpuinfo; then export OPENBLAS_CORETYPE=HASWELL
    fi
fi

Scripts/fetch-model.sh || { echo 'demo: without the model there is nothing to show' >&2; exit 1; }
exec python3 Scripts/demo.py "$(swift build -c release --show-bin-path)/tessera" models/SmolLM2-135M-Instruct.Q4_1.gguf "$@"
