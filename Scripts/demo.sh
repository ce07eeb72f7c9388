#!/bin/sh
# Compresses a real model by five recipes, and shows what each costs and gains: bytes, speed, text, perplexity.
set -eu
cd "$(dirname "$0")/.."

swift build -c release --product tessera
Scripts/fetch-model.sh || { echo 'demo: without the model there is nothing to show' >&2; exit 1; }
exec python3 Scripts/demo.py "$(swift build -c release --show-bin-path)/tessera" models/SmolLM2-135M-Instruct.Q4_1.gguf "$@"
