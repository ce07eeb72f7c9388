#!/bin/sh
# Measures this machine: kbench on the matrices of a real model and on one block of Llama-3.1-8B.
set -eu
cd "$(dirname "$0")/.."

swift build -c release --product kbench
kbench=$(swift build -c release --show-bin-path)/kbench

if Scripts/fetch-model.sh; then
    "$kbench" --weights models/SmolLM2-135M-Instruct.Q4_1.gguf "$@"
else
    echo 'bench: the model cannot be fetched; random matrices of its shapes stand in for it'
    "$kbench" --shape smollm2-135m "$@"
fi
"$kbench" --shape llama-3.1-8b "$@"
"$kbench" --shape llama-3.1-8b --chain "$@"
