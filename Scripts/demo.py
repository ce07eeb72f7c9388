#!/usr/bin/env python3
"""Compresses a model by recipes, runs what comes out, and prints a table; writes a picture of perplexity against bytes.

    Scripts/demo.py TESSERA MODEL [--text FILE] [--windows N] [--tokens N] [--folder FOLDER] [--plot FILE.svg]
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
import time

PROMPT = "Explain in one sentence why the sky is blue."
LICENCES = "/usr/share/common-licenses"
REPORT = re.compile(r"(\d+) tokens read in ([\d.]+) ms, (\d+) written, ([\d.]+) tokens/s")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Names in Examples/Recipes.
FORMS = [
    ("dense bf16", "bf16"),
    ("8-bit", "int8"),
    ("RaZeR g128", "razer-g128"),
    ("RaZeR g16, Palu cache", "razer-g16-palu"),
    ("50% sparse, 4-bit", "sparse-razer"),
]

# What recipes calibrate on: prose that perplexity is not measured on, so many characters of each.
CALIBRATION = [
    (f"{LICENCES}/GFDL-1.3", 4000), (f"{LICENCES}/MPL-2.0", 4000), (f"{LICENCES}/Apache-2.0", 3000),
    (f"{ROOT}/Docs/Architecture.md", 4000), (f"{ROOT}/README.md", 2000),
]


def run(command):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"demo: {' '.join(map(str, command))}: {result.stderr.strip()}")
    return result


def write_calibration(path):
    parts = []
    for source, characters in CALIBRATION:
        if os.path.exists(source):
            with open(source, encoding="utf-8") as file:
                parts.append(re.sub(r"[ \t]+", " ", file.read())[:characters])
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n\n".join(parts))


def measure(recipe, calibration, arguments):
    packed = os.path.join(arguments.folder, f"{recipe}.tessera")
    start = time.monotonic()
    run([
        arguments.tessera, "compress", arguments.model, "--recipe", f"{ROOT}/Examples/Recipes/{recipe}.json", "--calibration",
        calibration, "--output", packed, "--report", os.path.join(arguments.folder, recipe)
    ])
    seconds = time.monotonic() - start
    generated = run([arguments.tessera, "generate", packed, "--chat", "-p", PROMPT, "-n", arguments.tokens])
    _, first, _, rate = REPORT.search(generated.stderr).groups()
    report = json.loads(run(
        [arguments.tessera, "perplexity", packed, "-f", arguments.text, "--window", 512, "--windows", arguments.windows, "--json"]
    ).stdout)
    return {
        "seconds": seconds, "file": os.path.getsize(packed), "bytes": report["weight_bytes_per_token"], "first": float(first),
        "rate": float(rate), "text": generated.stdout.strip(), "perplexity": report["perplexity"],
    }


def picture(rows):
    """Perplexity, on a logarithmic axis, against megabytes that a token reads."""
    width, height, left, bottom = 640, 360, 60, 44
    most = max(row["bytes"] for _, row in rows) * 1.1
    low, high = min(row["perplexity"] for _, row in rows) * 0.97, max(row["perplexity"] for _, row in rows) * 1.05

    def x(count):
        return left + (width - left - 20) * count / most

    def y(value):
        return 20 + (height - bottom - 20) * (1 - math.log(value / low) / math.log(high / low))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ' font-family="Helvetica, Arial, sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>',
        f'<rect x="{left}" y="20" width="{width - left - 20}" height="{height - bottom - 20}" fill="none" stroke="#888888"/>',
        f'<text x="{(width + left) / 2}" y="{height - 8}" text-anchor="middle">MB of weights that a token reads</text>',
        f'<text x="{left}" y="14">perplexity</text>',
    ]
    for tick in range(0, int(most / 1e6), 50):
        parts.append(f'<text x="{x(tick * 1e6):.1f}" y="{height - bottom + 16}" text-anchor="middle">{tick}</text>')
    for name, row in rows:
        px, py = x(row["bytes"]), y(row["perplexity"])
        anchor, shift = ("end", -8) if px > width * 0.7 else ("start", 8)
        parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="4" fill="#1f4e79"/>')
        parts.append(f'<text x="{px + shift:.1f}" y="{py + 4:.1f}" text-anchor="{anchor}">{name}: {row["perplexity"]:.2f}</text>')
    return "\n".join(parts + ["</svg>"]) + "\n"


def notes(rows, arguments):
    """What the table does not say."""
    dense = rows[0][1]["perplexity"]
    lines = [
        "file: all that a form needs, on disk. MB/token: the weights that a token reads. The recipes stand in Examples/Recipes,",
        f"what they did to each layer in {arguments.folder}.",
        "These weights were 4-bit before, and dense bf16 is what they stand for: they tell little about what a format loses.",
        "Docs/Quality.md has that, measured on a model that was never quantised.",
    ]
    for name, row in rows:
        if row["perplexity"] > 2 * dense:
            times = row["perplexity"] / dense
            lines.append(f"{name}: {times:.1f} times dense's perplexity: of no use as text without training after compression.")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tessera")
    parser.add_argument("model")
    licence = f"{LICENCES}/GPL-3"
    parser.add_argument("--text", default=licence, help=f"what perplexity is measured on; default: {licence}")
    parser.add_argument("--windows", type=int, default=8, help="windows of 512 tokens; default: 8")
    parser.add_argument("--tokens", type=int, default=48, help="tokens that are written; default: 48")
    parser.add_argument("--folder", default="models/demo", help="where packed models go; default: models/demo")
    parser.add_argument("--plot", default="demo.svg", help="default: demo.svg")
    arguments = parser.parse_args()

    os.makedirs(arguments.folder, exist_ok=True)
    calibration = os.path.join(arguments.folder, "calibration.txt")
    write_calibration(calibration)
    rows = []
    header = f"{'form':22} {'made in':>8} {'file':>9} {'MB/token':>9} {'tokens/s':>9} {'first, ms':>10} {'perplexity':>11}"
    print(header, "-" * len(header), sep="\n", flush=True)
    for name, recipe in FORMS:
        row = measure(recipe, calibration, arguments)
        rows.append((name, row))
        sizes = f"{row['seconds']:6.0f} s {row['file'] / 1e6:6.1f} MB {row['bytes'] / 1e6:9.1f}"
        print(f"{name:22} {sizes} {row['rate']:9.1f} {row['first']:10.0f} {row['perplexity']:11.3f}", flush=True)
    print(f"\n{PROMPT}")
    for name, row in rows:
        print(f"\n{name}:\n  {row['text'][:400]}")
    with open(arguments.plot, "w", encoding="utf-8") as file:
        file.write(picture(rows))
    print("", *notes(rows, arguments), f"{arguments.plot} shows perplexity against bytes.", sep="\n")


main()
