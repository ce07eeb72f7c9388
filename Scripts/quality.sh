#!/bin/sh
# Measures what every way to compress costs in perplexity, and writes it into Docs/Quality.md, Docs/quality.svg and
# Bench/results/quality-NAME.json. What the report has already is not measured again; remove it to begin anew.
#
#     Scripts/quality.sh MODEL [option of quality...]
#
# MODEL is a folder that holds, beside the model in Hugging Face's form, eval.txt to measure on and calibration.txt.
set -eu
cd "$(dirname "$0")/.."

[ $# != 0 ] || { echo 'quality.sh: which model? A folder in Hugging Face form, with eval.txt and calibration.txt' >&2; exit 64; }
model=$1
shift
page=Docs/Quality.md
report=Bench/results/quality-$(basename "$model").json

swift build -c release --product quality
tables=$(mktemp)
trap 'rm -f "$tables"' EXIT
"$(swift build -c release --show-bin-path)/quality" "$model" --json "$report" --plot Docs/quality.svg --tables "$@" >"$tables"

# The tables take the place of what stands between the two comments.
awk -v tables="$tables" '
    /^<!-- end -->$/ { inside = 0 }
    !inside { print }
    /^<!-- quality --tables -->$/ { inside = 1; print ""; while ((getline line < tables) > 0) print line; print "" }
' "$page" >"$page.new"
mv "$page.new" "$page"
echo "$page, Docs/quality.svg and $report are written"
