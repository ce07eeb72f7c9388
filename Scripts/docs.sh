#!/bin/sh
# Makes web pages of the library modules' documentation, one archive for each, in .build-docs/html. Needs no network.
set -eu
cd "$(dirname "$0")/.."

folder=.build-docs
graphs=$PWD/$folder/graphs
docc=$(dirname "$(readlink -f "$(command -v swift)")")/docc
[ -x "$docc" ] || { echo 'docs.sh: this Swift toolchain brings no docc' >&2; exit 1; }

mkdir -p "$graphs" "$folder/html"
swift build --scratch-path "$folder" --target TesseraCalibration \
    -Xswiftc -emit-symbol-graph -Xswiftc -emit-symbol-graph-dir -Xswiftc "$graphs" \
    -Xswiftc -symbol-graph-minimum-access-level -Xswiftc public

status=0
for module in Tessera TesseraLayers TesseraModels TesseraCompression TesseraCalibration; do
    rm -rf "$folder/$module.graphs"
    mkdir "$folder/$module.graphs"
    cp "$graphs/$module.symbols.json" "$graphs/$module"@*.symbols.json "$folder/$module.graphs" 2>/dev/null || true
    "$docc" convert "Sources/$module/$module.docc" --additional-symbol-graph-dir "$folder/$module.graphs" \
        --fallback-display-name "$module" --fallback-bundle-identifier "$module" \
        --experimental-documentation-coverage --coverage-summary-level brief \
        --output-path "$folder/html/$module.doccarchive" || status=1
done
exit $status
