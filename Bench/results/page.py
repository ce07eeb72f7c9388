#!/usr/bin/env python3
"""Writes a results page from reports of kbench: what was run, every row, and the goals beside what was reached.

    python3 Bench/results/page.py Bench/results/NAME.json... > Bench/results/NAME.md

Each report keeps its own section; nothing is averaged over reports. A.json+B.json makes one section of two reports that were
taken one after the other.
"""

import json
import pathlib
import sys

LARGE, TALL, SMALL, SQUARE = (14336, 4096), (4096, 14336), (1024, 4096), (4096, 4096)


class Report:
    def __init__(self, paths):
        contents = [json.loads(pathlib.Path(path).read_text()) for path in paths.split("+")]
        self.paths = [pathlib.Path(path).name for path in paths.split("+")]
        self.path, self.machine = self.paths[0], contents[0]["machine"]
        self.commands = [content["machine"].get("command") for content in contents]
        self.rows = [row for content in contents for row in content["results"]]

    def find(self, fmt, shape, m, sparsity=None, op=None, x=None):
        """The fastest row of a format (with rows of x of that type), or None."""
        rows = [
            row
            for row in self.rows
            if row["format"] == fmt and (row["n"], row["k"]) == shape and row["m"] == m and op in (None, row["op"])
            and x in (None, row.get("activations"))
            and (sparsity is None or row.get("sparsity") is not None and abs(row["sparsity"] - sparsity) < 1e-6)
        ]
        return min(rows, key=lambda row: row["seconds_median"], default=None)

    def cache(self, fmt, context, m=1):
        """The fastest row of attention over a cache of that format and length, or None."""
        rows = [row for row in self.rows
                if row["op"] == "attention" and (row["format"], row.get("context"), row["m"]) == (fmt, context, m)]
        return min(rows, key=lambda row: row["seconds_median"], default=None)

    def model(self, fmt, m=1):
        """The fastest row of a whole model in that format, or None."""
        rows = [row for row in self.rows if (row["op"], row["format"], row["m"]) == ("model", fmt, m)]
        return min(rows, key=lambda row: row["seconds_median"], default=None)

    def chains(self):
        return [row for row in self.rows if "chain" in str(row.get("shape", "")) or row["op"] == "chain"]


def ratio(numerator, denominator):
    return numerator["seconds_median"] / denominator["seconds_median"] if numerator and denominator else None


def goals(report):
    """(what, goal, reached or None, whether more is better)."""
    def dense(shape, m):
        return report.find("bf16", shape, m)

    def half(shape, m, fmt="bitmap-bf16"):
        return report.find(fmt, shape, m, 0.5)

    def roof(row):
        return row and row["roofline_fraction"]

    yield "dense bf16, 14336x4096, M=1: fraction of the roofline", 0.95, roof(dense(LARGE, 1)), True
    yield "dense bf16, 14336x4096: M=8 over M=1", 1.1, ratio(dense(LARGE, 8), dense(LARGE, 1)), False
    yield "bitmap bf16 50%, 14336x4096, M=1: fraction of the roofline", 0.92, roof(half(LARGE, 1)), True
    yield "bitmap bf16 50%, 4096x14336, M=1: fraction of the roofline", 0.92, roof(half(TALL, 1)), True
    yield "bitmap bf16 50%, 1024x4096, M=1: fraction of the roofline", 0.75, roof(half(SMALL, 1)), True
    yield "bitmap bf16 50%, 14336x4096, M=1: times faster than dense", 1.7, ratio(dense(LARGE, 1), half(LARGE, 1)), True
    yield (
        "bitmap bf16 70%, 14336x4096, M=1: times faster than dense", 2.6,
        ratio(dense(LARGE, 1), report.find("bitmap-bf16", LARGE, 1, 0.7)), True,
    )
    yield "bitmap bf16 50%, 14336x4096: M=16 over M=1", 1.05, ratio(half(LARGE, 16), half(LARGE, 1)), False
    yield "bitmap bf16 50%, 14336x4096: M=32 over M=1", 1.15, ratio(half(LARGE, 32), half(LARGE, 1)), False
    yield "bitmap bf16 50%, 14336x4096, M=512: over dense", 1.1, ratio(half(LARGE, 512), dense(LARGE, 512)), False
    yield (
        "bitmap int8 50%, 14336x4096, M=1: times faster than dense bf16", 3.0,
        ratio(dense(LARGE, 1), half(LARGE, 1, "bitmap-int8")), True,
    )
    for fmt, speedup in (("razer-g128", 3.5), ("razer-g16", 3.3)):
        for x in ("bf16", "int16", "int8"):
            def row(m, shape=LARGE):
                return report.find(fmt, shape, m, x=x)
            name = f"{fmt}, {x} x, 14336x4096"
            yield f"{name}, M=1: fraction of the roofline", 0.92, roof(row(1)), True
            yield f"{fmt}, {x} x, 4096x4096, M=1: fraction of the roofline", 0.92, roof(row(1, SQUARE)), True
            yield f"{name}, M=1: times faster than dense bf16", speedup, ratio(dense(LARGE, 1), row(1)), True
            for m, most in ((8, 1.15), (16, 1.25), (32, 1.6)):
                yield f"{name}: M={m} over M=1", most, ratio(row(m), row(1)), False
            yield f"{name}, M=512: of dense bf16's rate", 0.8, ratio(dense(LARGE, 512), row(512)), True
    yield (
        "bitmap-razer-g128 50%, 14336x4096, M=1: times faster than dense bf16", 4.2,
        ratio(dense(LARGE, 1), half(LARGE, 1, "bitmap-razer-g128")), True,
    )
    for context in (16384, 65536):
        tokens = f"attention, {context // 1024}K tokens, M=1"
        # Until 2026-12-01 kbench called it dense-bf16.
        cache = report.cache("bf16", context) or report.cache("dense-bf16", context)
        yield f"{tokens}, bf16 cache: fraction of the roofline", 0.9, roof(cache), True
        for fmt, speedup in (("int8", 1.85), ("razer-g16", 3.2), ("sparse-50", 1.6)):
            yield f"{tokens}, {fmt} cache: times faster than bf16", speedup, ratio(cache, report.cache(fmt, context)), True
    for fmt, speedup in (("bitmap-bf16", 1.6), ("razer-g128", 3.0)):
        yield f"whole model, M=1, {fmt}: times faster than bf16", speedup, ratio(report.model("bf16"), report.model(fmt)), True
    fork = next((row for row in report.rows if row["op"] == "fork_join"), None)
    limit = 2e-6 if fork and fork["threads"] <= 2 else 5e-6
    yield "fork and join, us", limit * 1e6, fork and fork["seconds_median"] * 1e6, False


def number(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}"


def section(report):
    machine = report.machine
    description = machine.get("description", {})
    print(f"## {description.get('model', report.path)}, {report.rows[0]['threads'] if report.rows else '?'} threads\n")
    for key in ("date", "implementation", "version", "revision", "build", "compiler"):
        if machine.get(key):
            print(f"- {key}: `{machine[key]}`")
    for path, command in zip(report.paths, report.commands):
        command = " ".join(command) if isinstance(command, list) else command
        print(f"- report: [{path}]({path})" + (f", `{command}`" if command else ""))
    print()
    rows = [goal for goal in goals(report) if goal[2] is not None]
    if rows:
        print("| goal | wanted | reached | |\n|---|---|---|---|")
        for what, wanted, reached, more in rows:
            met = reached >= wanted if more else reached <= wanted
            limit = f"{'at least' if more else 'at most'} {wanted:g}"
            print(f"| {what} | {limit} | {number(reached)} | {'met' if met else 'missed'} |")
        print()
    print("| operation | format | zeros | x | kernel | shape | M | time, us | GB/s | of roofline | x dense bf16 |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for row in report.rows:
        sparsity = "-" if row.get("sparsity") is None else f"{100 * row['sparsity']:.0f}%"
        speedup = row.get("speedup_vs_dense_bf16")
        print(
            f"| {row['op']} | {row['format']} | {sparsity} | {row.get('activations') or '-'} | {row['isa']} "
            f"| {row['shape']} | {row['m'] or '-'} | {1e6 * row['seconds_median']:.1f} | {number(row.get('gbps'), 1)} "
            f"| {number(row.get('roofline_fraction'))} | {number(speedup)} |"
        )
    print()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    print(f"# {pathlib.Path(sys.argv[1].split('+')[0]).stem.rsplit('-', 1)[0]}\n")
    print("Written by page.py from the reports named below. Cold weights, medians; how it is measured: Docs/Benchmarks.md.\n")
    for path in sys.argv[1:]:
        section(Report(path))


main()
