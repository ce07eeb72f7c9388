#!/usr/bin/env python3
"""Sets our kernels beside other people's: one line per shape and M, the ratios, and who is faster. Attention over our caches
stands beside their attention over bf16 ones.

    python3 compare.py kbench.json torch.json onednn.json ggml.json
    python3 compare.py --markdown kbench.json torch.json >> ../results/page.md

Ratios are the other's time over ours: above 1 we are faster. Rows are compared at equal shape, M and threads only.
"""

import argparse
import json
import pathlib
import sys

FOUR_BIT = ("int4", "q4", "iq4", "razer", "fp4", "nvfp4", "mxfp4", "nf4")
NO_GEMM = ("read_bandwidth", "fork_join", "attention")


def family(fmt):
    """Formats that store about the same bits per weight, so that like is compared with like."""
    if fmt.startswith("bitmap-"):
        return "sparse " + family(fmt.removeprefix("bitmap-"))
    if fmt.startswith(FOUR_BIT):
        return "4-bit"
    return "8-bit" if fmt in ("int8", "q8_0") else fmt


class Report:
    """The rows of one file by (N, K, M, threads); of several equal ones the fastest counts."""

    def __init__(self, path, name=None):
        try:
            content = json.loads(pathlib.Path(path).read_text())
            self.machine, rows = content["machine"], content["results"]
            self.rows = [r for r in rows if r["op"] not in NO_GEMM and r.get("seconds_median")]
            self.attention = [r for r in rows if r["op"] == "attention" and r.get("seconds_median")]
            self.keys = {key(r) for r in self.rows}
            self.attention_keys = {attention_key(r) for r in self.attention}
        except (OSError, ValueError, KeyError, TypeError) as problem:
            sys.exit(f"compare.py: {path}: no report of the form {{machine, results}}: {problem!r}")
        self.name = name or self.machine.get("implementation", pathlib.Path(path).stem)

    def families(self):
        return dict.fromkeys(family(r["format"]) for r in self.rows)

    def sections(self):
        """(family, format): one section per family, and one per format where 4-bit formats differ in accuracy and size."""
        formats = dict.fromkeys(r["format"] for r in self.rows)
        return list(dict.fromkeys((family(f), f if family(f) == "4-bit" else None) for f in formats))

    def best(self, wanted, of_family=None, of_format=None):
        rows = [r for r in self.rows if key(r) == wanted and of_family in (None, family(r["format"]))
                and of_format in (None, r["format"])]
        return min(rows, key=lambda r: r["seconds_median"], default=None)


def key(row):
    return row["n"], row["k"], row["m"], row["threads"]


def attention_key(row):
    """Heads and tokens, query tokens, threads; shapes sort by tokens."""
    return row["context"], row["shape"], row["m"], row["threads"]


def microseconds(row):
    return f"{row['seconds_median'] * 1e6:.1f}"


def label(row):
    return f"{row['format']} {row.get('variant') or row['isa']}"


def columns_for(of_family, peers):
    """The peers' columns of a section: like against like, and their dense bf16 as what compression must beat."""
    wanted = [of_family] if of_family in (None, "bf16") else [of_family, "bf16"]
    return [(peer, f) for f in wanted for peer in peers if f is None or f in peer.families()]


def section(title, of_family, of_format, ours, peers, losses):
    columns = [(p, f) for p, f in columns_for(of_family, peers) if any(p.best(wanted, f) for wanted in ours.keys)]
    header = ["shape", "M", "threads", "ours, us"] + [f"{p.name} {f or 'best'}, us (ratio)" for p, f in columns] + ["faster"]
    lines = []
    for wanted in sorted(ours.keys):
        mine = ours.best(wanted, of_family, of_format)
        others = [peer.best(wanted, f) for peer, f in columns]
        if not mine or not any(others):
            continue
        cells = [f"{microseconds(o)} ({o['seconds_median'] / mine['seconds_median']:.2f})" if o else "-" for o in others]
        like = [(o, p) for o, (p, f) in zip(others, columns) if o and f == of_family]
        rivals = like or [(o, p) for o, (p, _) in zip(others, columns) if o]
        rival, peer = min(rivals, key=lambda pair: pair[0]["seconds_median"])
        ratio = rival["seconds_median"] / mine["seconds_median"]
        verdict = f"ours, {ratio:.2f}x" if ratio >= 1 else f"{peer.name} ({label(rival)}), {1 / ratio:.2f}x"
        n, k, m, threads = wanted
        if ratio < 1:
            losses.append(f"{title}, {n}x{k}, M={m}, {threads} threads: {verdict} faster than our {mine['format']} {mine['isa']}")
        lines.append([f"{n}x{k}", str(m), str(threads), f"{microseconds(mine)} {mine['format']} {mine['isa']}", *cells, verdict])
    return header, lines


def attention_section(ours, peers, losses):
    """A line for each of our caches, the fastest kernels of each, beside each peer's fastest form."""
    peers = [p for p in peers if p.attention_keys & ours.attention_keys]
    header = ["heads and tokens", "M", "threads", "ours, us"] + [f"{p.name}, us (ratio)" for p in peers] + ["faster"]
    lines = []
    for wanted in sorted(ours.attention_keys):
        others = [fastest(p.attention, wanted) for p in peers]
        if not any(others):
            continue
        rival, peer = min(((o, p) for o, p in zip(others, peers) if o), key=lambda pair: pair[0]["seconds_median"])
        for fmt in dict.fromkeys(r["format"] for r in ours.attention if attention_key(r) == wanted):
            mine = fastest([r for r in ours.attention if r["format"] == fmt], wanted)
            cells = [f"{microseconds(o)} ({o['seconds_median'] / mine['seconds_median']:.2f}) {o['variant']}" if o else "-"
                     for o in others]
            ratio = rival["seconds_median"] / mine["seconds_median"]
            verdict = f"ours, {ratio:.2f}x" if ratio >= 1 else f"{peer.name}, {1 / ratio:.2f}x"
            _, shape, m, threads = wanted
            if ratio < 1:
                losses.append(f"attention, {shape}, M={m}, {threads} threads: {verdict} faster than our {fmt} {mine['isa']}")
            lines.append([shape, str(m), str(threads), f"{microseconds(mine)} {fmt} {mine['isa']}", *cells, verdict])
    return header, lines


def fastest(rows, wanted):
    return min((r for r in rows if attention_key(r) == wanted), key=lambda r: r["seconds_median"], default=None)


def show(title, header, lines, markdown):
    if markdown:
        print(f"### {title}\n\n| {' | '.join(header)} |\n|{'---|' * len(header)}")
        print("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
        return
    widths = [max(map(len, column)) for column in zip(header, *lines)]
    print(title)
    for line in [header, *lines]:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    print()


def print_reports(ours, peers, markdown):
    bullet = "- " if markdown else ""
    for report in [ours, *peers]:
        machine = report.machine
        facts = (machine.get("version"), machine.get("cpu"), machine.get("date"))
        rows = len(report.rows) + len(report.attention)
        print(f"{bullet}{report.name}: {', '.join(str(f) for f in facts if f) or 'no machine named'}; {rows} rows")
        unmatched = report.keys - ours.keys
        if unmatched:
            print(f"{bullet}{report.name}: {len(unmatched)} of {len(report.keys)} (shape, M, threads) were not measured by us")
    cpus = {r.machine["cpu"] for r in [ours, *peers] if r.machine.get("cpu")}
    if len(cpus) > 1:
        print(f"{bullet}WARNING: the reports are of different machines ({'; '.join(sorted(cpus))}): the ratios mean little")
    print()


def main():
    parser = argparse.ArgumentParser(description="Sets kbench's report beside other people's.")
    parser.add_argument("ours", help="kbench's report")
    parser.add_argument("peers", nargs="+", help="reports of Bench/peers")
    parser.add_argument("--markdown", action="store_true", help="tables for a results page")
    opts = parser.parse_args()
    ours, peers = Report(opts.ours, "Tessera"), [Report(path) for path in opts.peers]
    if opts.markdown:
        print("## Beside other people's kernels\n")
    print_reports(ours, peers, opts.markdown)
    losses, compared = [], 0
    for of_family, of_format in [*ours.sections(), (None, None)]:
        title = f"Our {of_format or of_family} weights" if of_family else "Whatever the format: each one's fastest"
        header, lines = section(title, of_family, of_format, ours, peers, losses)
        compared += len(lines)
        if lines:
            show(title, header, lines, opts.markdown)
    header, lines = attention_section(ours, peers, losses)
    compared += len(lines)
    if lines:
        show("Attention over our caches", header, lines, opts.markdown)
    if not compared:
        sys.exit("compare.py: no shape, M and thread count stands in both reports")
    print(f"The other is faster in {len(losses)} of {compared} rows" + (":" if losses else "."))
    for loss in losses:
        print(f"- {loss}")


if __name__ == "__main__":
    main()
