#!/usr/bin/env python3
"""Ids of the PyPI package `tokenizers`, for comparing Tessera's tokenizer with it.

make_tokenizer_golden.py                    writes tokenizer-golden.txt: hashes of the ids of 12,000 made-up lines
make_tokenizer_golden.py --corpus DIR FILE...
                                            writes DIR/records, the lines of the files and every tenth file as a whole, each
                                            ended by NUL, and DIR/NAME.ids, one line of ids per record; the test
                                            TokenizerCorpusTests compares them when TESSERA_TOKENIZER_CORPUS=DIR

The lines are made by the same generator as in TokenizerGoldenTests.swift: words of many scripts, and text that tokenizers stumble
over. The vocabularies are those of models/SmolLM2-135M-Instruct.Q4_1.gguf, with its own pre-tokenizer and with others, and of
models/docs-28m if it is there. Run with: pip install gguf==0.19.0 tokenizers==0.23.3
"""

import argparse
import pathlib

from gguf import GGUFReader
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINES, BLOCK = 12_000, 100
MASK = (1 << 64) - 1

RANGES = [
    (0x61, 0x7A), (0x41, 0x5A), (0x30, 0x39), (0x21, 0x7E), (0x00, 0xFF), (0xC0, 0x24F), (0x300, 0x36F), (0x370, 0x3FF),
    (0x400, 0x4FF), (0x531, 0x556), (0x5D0, 0x5EA), (0x621, 0x669), (0x900, 0x96F), (0xE01, 0xE59), (0x10A0, 0x10FF),
    (0x1100, 0x11FF), (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x2150, 0x218B), (0x2460, 0x24FF), (0x3000, 0x30FF),
    (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xFF01, 0xFF5E), (0x1F600, 0x1F64F), (0x10000, 0x1005D), (0x1D7CE, 0x1D7FF),
]
SPICE = [
    " ", " ", " ", "  ", "    ", "\n", "\n\n", "\t", "\r\n", " \n ", "\u00a0", "\u3000",
    "\u0085", "\u2028", "\u200b", "\ufeff", "'s",
    "'S", "'re", "'RE", "'ll", "'Ll", "'\u017f", "'d", "'x", "don't", " I'VE", "don’t",
    "12345", " 3.14", "²½Ⅷ", "٣٤٥", "...", " ==", "```\n",
    "<|im_end|>", "<|endoftext|>", "<|im_", "e\u0301", "👩‍👩‍👧", "🇩🇪", "    return x;\n",
    "if (a[i] != 0) {", "ß", "İ", "ﬁ", "ǅ", "\x00", "\x04",
]


class Random:
    """splitmix64."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
        return z ^ z >> 31

    def below(self, count):
        return self.next() % count


def made_up_lines():
    random = Random(2026)
    for _ in range(LINES):
        line = ""
        for _ in range(1 + random.below(12)):
            if random.below(3) == 0:
                line += SPICE[random.below(len(SPICE))]
            else:
                first, last = RANGES[random.below(len(RANGES))]
                line += "".join(chr(first + random.below(last - first + 1)) for _ in range(1 + random.below(8)))
        yield line


def fnv1a(lists):
    hash = 0xCBF29CE484222325
    for ids in lists:
        for value in [*ids, 0xFFFFFFFF]:
            for byte in value.to_bytes(4, "little"):
                hash = ((hash ^ byte) * 0x100000001B3) & MASK
    return hash


def smollm2(pre_tokenizer, ignore_merges=False):
    fields = GGUFReader(ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf").fields
    tokens, merges, types = (fields[f"tokenizer.ggml.{key}"].contents() for key in ["tokens", "merges", "token_type"])
    tokenizer = Tokenizer(models.BPE(
        vocab={token: id for id, token in enumerate(tokens)}, merges=[tuple(merge.split(" ")) for merge in merges],
        ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, type in zip(tokens, types) if type == 3])
    return tokenizer


def split(numbers):
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + numbers
               + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def tokenizers():
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2])
    found = {
        "smollm": smollm2(digits), "smollm-special": smollm2(digits), "gpt-2": smollm2(gpt2),
        "llama-bpe": smollm2(split(r"\p{N}{1,3}"), ignore_merges=True), "qwen2": smollm2(split(r"\p{N}")),
    }
    documentation = ROOT / "models/docs-28m/tokenizer.json"
    if documentation.exists():
        found["docs-28m"] = Tokenizer.from_file(str(documentation))
    for name, tokenizer in found.items():
        # True: the text of a special token is text like any other.
        tokenizer.encode_special_tokens = not name.endswith("-special")
    return found


def write_golden():
    path = pathlib.Path(__file__).with_name("tokenizer-golden.txt")
    lines = list(made_up_lines())
    with path.open("w") as file:
        for name, tokenizer in tokenizers().items():
            encodings = [encoding.ids for encoding in tokenizer.encode_batch(lines)]
            for start in range(0, LINES, BLOCK):
                print(name, start, f"{fnv1a(encodings[start:start + BLOCK]):016x}", file=file)
    print(path.name, path.stat().st_size, "bytes")


def write_corpus(folder, files):
    records = []
    for position, file in enumerate(files):
        try:
            text = pathlib.Path(file).read_bytes().decode().replace("\0", "")
        except (OSError, UnicodeDecodeError):
            continue
        records += list(dict.fromkeys(text.split("\n")))
        if position % 10 == 0:
            records.append(text)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "records").write_bytes("".join(record + "\0" for record in records).encode())
    for name, tokenizer in tokenizers().items():
        with (folder / f"{name}.ids").open("w") as file:
            for encoding in tokenizer.encode_batch(records):
                print(*encoding.ids, file=file)
    print(len(records), "records,", (folder / "records").stat().st_size, "bytes")


parser = argparse.ArgumentParser()
parser.add_argument("--corpus", type=pathlib.Path)
parser.add_argument("files", nargs="*")
options = parser.parse_args()
if options.corpus:
    write_corpus(options.corpus, options.files)
else:
    write_golden()
