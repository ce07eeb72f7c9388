#!/usr/bin/env python3
"""Sets tessera beside llama.cpp on the same files: greedy text, tokens per second, prompts per second. Writes Markdown.

    python3 Bench/peers/llama_compare.py text  --llama FOLDER --tessera PROGRAM --model BF16.gguf --also F32.gguf
    python3 Bench/peers/llama_compare.py speed --llama FOLDER --tessera PROGRAM --row NAME=FILE.gguf[=TESSERA OPTIONS]...

FOLDER holds llama.cpp's llama-bench and the llama_generate of Bench/peers/build.sh. A row of `speed` without tessera's options is
run by llama.cpp alone. Rounds are interleaved: each runs every row once, and medians are quoted.
"""

import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys

PROMPTS = [
    "The capital of France is",
    "Photosynthesis is the process by which",
    "Once upon a time there was a lighthouse keeper who",
    "The three most important inventions of the nineteenth century are",
    "To make a good cup of tea, first",
    "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n",
]
REPORT = re.compile(r"(\d+) tokens read in ([\d.]+) ms, (\d+) written, ([\d.]+) tokens/s")


def run(command):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{command[0]}: {result.stderr.strip().splitlines()[-1:]}")
    return result


def bytes_text(path):
    return f"{pathlib.Path(path).stat().st_size / 1e6:.1f} MB"


def table(header, rows):
    lines = [header, ["---"] * len(header)] + rows
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def llama_text(arguments, model, prompt):
    program = pathlib.Path(arguments.llama) / "llama_generate"
    return json.loads(run([program, model, arguments.tokens, arguments.threads, prompt]).stdout)


def first_difference(one, other):
    """The number of equal characters at the beginning, or None where both are equal."""
    if one == other:
        return None
    return next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))


def gap_at(answer, position, pieces):
    """The gap of the first token that reaches beyond a position; pieces are found by generating fewer tokens."""
    low, high = 1, len(answer["tokens"])
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if pieces(middle) > position else (middle + 1, high)
    return low, answer["gaps"][low - 1]


def compare_text(arguments):
    rows = []
    for prompt in PROMPTS:
        ours = run([
            arguments.tessera, "generate", arguments.model, "-p", prompt, "-n", arguments.tokens, "--threads", arguments.threads,
        ]).stdout.removesuffix("\n")
        row = [prompt.replace("\n", "\\n").replace("|", "\\|")[:48]]
        for model in [arguments.model] + arguments.also:
            theirs = llama_text(arguments, model, prompt)
            position = first_difference(ours, theirs["text"])
            if position is None:
                row.append(f"equal, {len(theirs['tokens'])} tokens")
                continue

            def length(tokens, model=model):
                fewer = argparse.Namespace(**{**vars(arguments), "tokens": tokens})
                return len(llama_text(fewer, model, prompt)["text"])

            token, gap = gap_at(theirs, position, length)
            row.append(f"differs from token {token} on, whose logit is {gap:.3f} above the next")
        rows.append(row)
    print(table(["prompt"] + [f"llama.cpp, {pathlib.Path(model).name}" for model in [arguments.model] + arguments.also], rows))


class Row:
    def __init__(self, text):
        name, file, *options = text.split("=", 2)
        self.name, self.file, self.options = name, file, options[0].split() if options else None
        self.times = {"llama": ([], []), "tessera": ([], [])}

    def run_llama(self, arguments):
        bench = [
            pathlib.Path(arguments.llama) / "llama-bench", "-m", self.file, "-t", arguments.threads, "-p", arguments.prompt, "-n",
            arguments.tokens, "-r", 1, "-o", "json",
        ]
        for test in json.loads(run(bench).stdout):
            self.times["llama"][0 if test["n_prompt"] else 1].append(test["avg_ts"])

    def run_tessera(self, arguments):
        base = [arguments.tessera, "generate", self.file, "--threads", arguments.threads] + self.options
        # "a a a ...": each word is a token.
        prefill = REPORT.search(run(base + ["-n", 1, "-p", "a" + " a" * (arguments.prompt - 1)]).stderr)
        decode = REPORT.search(run(base + ["-n", arguments.tokens, "-p", PROMPTS[2]]).stderr)
        if int(prefill[1]) != arguments.prompt or int(decode[3]) != arguments.tokens:
            sys.exit(f"tessera read {prefill[1]} tokens and wrote {decode[3]}")
        self.times["tessera"][0].append(arguments.prompt / float(prefill[2]) * 1e3)
        self.times["tessera"][1].append(float(decode[4]))


def compare_speed(arguments):
    rows = [Row(text) for text in arguments.row]
    for _ in range(arguments.rounds):
        for row in rows:
            row.run_llama(arguments)
            if row.options is not None:
                row.run_tessera(arguments)
    lines = []
    for row in rows:
        for engine, (prefill, decode) in row.times.items():
            if decode:
                form = " ".join(row.options) if engine == "tessera" else ""
                lines.append([
                    row.name, f"{engine} {form}".strip(), bytes_text(row.file) if engine == "llama" else "",
                    f"{statistics.median(decode):.1f}", f"{statistics.median(prefill):.0f}",
                ])
    print(table(["file", "program", "bytes", "tokens/s, decoding", f"tokens/s, {arguments.prompt} of a prompt"], lines))
    best = [max(statistics.median(row.times["llama"][part]) for row in rows) for part in (1, 0)]
    ours = [max(statistics.median(row.times["tessera"][part]) for row in rows if row.options is not None) for part in (1, 0)]
    for what, theirs, mine in zip(["decoding", "prompt"], best, ours):
        faster = "tessera" if mine >= theirs else "llama.cpp"
        print(f"- {what}: the fastest of tessera {mine:.1f}, of llama.cpp {theirs:.1f} tokens/s; {faster} is faster, "
              f"{mine / theirs:.2f}x")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["text", "speed"])
    parser.add_argument("--llama", required=True, help="the folder of llama-bench and llama_generate")
    parser.add_argument("--tessera", required=True, help="the program")
    parser.add_argument("--model", help="of text: the file that both read")
    parser.add_argument("--also", action="append", default=[], help="of text: another file for llama.cpp")
    parser.add_argument("--row", action="append", default=[], help="of speed")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt whose reading is timed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    compare_text(arguments) if arguments.what == "text" else compare_speed(arguments)


main()
