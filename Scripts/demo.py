#!/usr/bin/env python3
"""Runs a model in several forms and prints a table; writes a picture of perplexity against bytes.

    Scripts/demo.py TESSERA MODEL [--text FILE] [--windows N] [--tokens N] [--plot FILE.svg]
"""

import argparse
import json
import math
import re
import subprocess
import sys

PROMPT = "Explain in one sentence why the sky is blue."
LICENCE = "/usr/share/common-licenses/GPL-3"
REPORT = re.compile(r"(\d+) tokens read in ([\d.]+) ms, (\d+) written, ([\d.]+) tokens/s")

# The head is the largest matrix of a model as small as this one.
FORMS = [
    ("dense bf16", []),
    ("8-bit", "--weights bitmap-int8 --sparsity 0 --head bitmap-int8".split()),
    ("RaZeR g128", "--weights razer-g128 --head bitmap-int8".split()),
    ("RaZeR g16, int8 cache", "--weights razer-g16 --head bitmap-int8 --cache int8".split()),
    ("50% sparse, 4-bit", "--weights bitmap-razer-g128 --sparsity 0.5 --head bitmap-int8".split()),
]


def run(command):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"demo: {' '.join(map(str, command))}: {result.stderr.strip()}")
    return result


def measure(arguments, options):
    base = [arguments.model] + options
    generated = run([arguments.tessera, "generate", *base, "--chat", "-p", PROMPT, "-n", arguments.tokens])
    _, first, _, rate = REPORT.search(generated.stderr).groups()
    report = json.loads(run(
        [arguments.tessera, "perplexity", *base, "-f", arguments.text, "--window", 512, "--windows", arguments.windows, "--json"]
    ).stdout)
    return {
        "bytes": report["weight_bytes_per_token"], "first": float(first), "rate": float(rate), "text": generated.stdout.strip(),
        "perplexity": report["perplexity"],
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tessera")
    parser.add_argument("model")
    parser.add_argument("--text", default=LICENCE, help=f"what perplexity is measured on; default: {LICENCE}")
    parser.add_argument("--windows", type=int, default=4, help="windows of 512 tokens; default: 4")
    parser.add_argument("--tokens", type=int, default=48, help="tokens that are written; default: 48")
    parser.add_argument("--plot", default="demo.svg", help="default: demo.svg")
    arguments = parser.parse_args()

    rows = []
    header = f"{'form':24} {'MB/token':>9} {'tokens/s':>9} {'first, ms':>10} {'perplexity':>11}"
    print(header, "-" * len(header), sep="\n")
    for name, options in FORMS:
        row = measure(arguments, options)
        rows.append((name, row))
        figures = f"{row['bytes'] / 1e6:9.1f} {row['rate']:9.1f} {row['first']:10.0f} {row['perplexity']:11.3f}"
        print(f"{name:24} {figures}", flush=True)
    print(f"\n{PROMPT}")
    for name, row in rows:
        print(f"\n{name}:\n  {row['text'][:400]}")
    with open(arguments.plot, "w", encoding="utf-8") as file:
        file.write(picture(rows))
    print(f"""
{arguments.plot} shows perplexity against bytes. These weights were 4-bit before, and dense bf16 is what they stand for: they
tell little about what a format loses. Docs/Quality.md has that, measured on a model that was never quantised.""")


main()
