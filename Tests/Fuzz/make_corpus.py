#!/usr/bin/env python3
"""Writes the seed corpus: small valid files and files with one fault each. Usage: make_corpus.py FOLDER"""
import json
import os
import struct
import sys


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def packed(tensors, metadata=None):
    """tensors: name -> (format, rows, columns, nonzeros, {part: (dtype, item bytes, bytes)}). Checksums are left wrong."""
    about = {"tessera.version": "1", "tessera.checksum": "0" * 16}
    header, data, paddings = {"__metadata__": about}, b"", 0
    for name, (form, rows, columns, nonzeros, parts) in tensors.items():
        about["tessera.tensor." + name] = json.dumps(
            {"format": form, "rows": rows, "columns": columns, "nonzeros": nonzeros,
             "checksums": {part: "0" * 16 for part in parts}}, separators=(",", ":"))
        for part, (dtype, size, contents) in parts.items():
            header[f"{name}.{part}"] = tensor(dtype, [len(contents) // size], len(data), len(data) + len(contents))
            data += contents
            gap = -len(data) % 64
            if gap:
                header[f"tessera.padding.{paddings}"] = tensor("U8", [gap], len(data), len(data) + gap)
                data += bytes(gap)
                paddings += 1
    about.update(metadata or {})
    return safetensors(header, data)


def packed_files():
    bf16 = lambda *values: b"".join(struct.pack("<f", v)[2:] for v in values)
    dense = ("dense-bf16", 1, 2, 2, {"values": ("BF16", 2, bf16(1, 2) + bytes(1020))})
    # One row of four columns, the first and the third stored.
    sparse = ("bitmap-bf16", 1, 4, 2, {
        "values": ("BF16", 2, bf16(1, -2) + bytes(124)),
        "bitmap": ("U32", 4, struct.pack("<II", 1, 1) + bytes(56)),
        "offsets": ("U64", 8, struct.pack("<QQ", 0, 2))})
    quantised = ("bitmap-int8", 1, 4, 2, {
        "values": ("I8", 1, struct.pack("bb", 3, -1) + bytes(126)),
        "bitmap": ("U64", 8, struct.pack("<Q", 0b101) + bytes(120)),
        "offsets": ("U64", 8, struct.pack("<QQ", 0, 2)),
        "row_scale": ("F32", 4, struct.pack("<f", 0.5)),
        "row_sum": ("I32", 4, struct.pack("<i", 2)),
        "bias": ("F32", 4, struct.pack("<f", 1))})
    plain = ("plain-f32", 1, 2, 2, {"values": ("F32", 4, struct.pack("<ff", 1, 2))})
    yield "empty", packed({})
    yield "dense", packed({"w": dense})
    yield "sparse", packed({"w": sparse})
    yield "quantised", packed({"w": quantised})
    yield "all", packed({"d": dense, "s": sparse, "q": quantised, "p": plain}, {"model": "m"})
    huge = ("bitmap-bf16", 1 << 32, 1 << 31, 2, sparse[4])
    yield "huge", packed({"w": huge})


def safetensors_files():
    good = tensor("U8", [4], 0, 4)
    yield "empty", safetensors({})
    yield "one", safetensors({"__metadata__": {"format": "pt"}, "a": good}, b"abcd")
    yield "two", safetensors({"b": tensor("BF16", [1, 2], 4, 8), "a": good}, b"abcdefgh")
    yield "scalar", safetensors({"s": tensor("F64", [], 0, 8)}, bytes(8))
    yield "hole", safetensors({"a": tensor("U8", [3], 1, 4)}, b"abcd")
    yield "overlap", safetensors({"a": good, "b": good}, b"abcd")
    yield "wraps", safetensors({"a": tensor("F64", [1 << 61], 0, 0)})
    yield "escapes", safetensors(b'{"\\u00e9\\ud83d\\ude00\\n":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}', b"x")
    yield "length", struct.pack("<Q", (1 << 64) - 1) + b"{}"


def index_files():
    yield "index", json.dumps({"metadata": {"total_size": 1.5e3, "x": [None, True, {"y": []}]},
                               "weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}).encode()
    yield "traversal", b'{"weight_map":{"a":"../x"}}'
    yield "deep", b"[" * 64


def main(folder):
    for target, files in (("Safetensors", safetensors_files()), ("PackedFile", packed_files()), ("SafetensorsIndex", index_files())):
        os.makedirs(os.path.join(folder, target), exist_ok=True)
        for name, contents in files:
            with open(os.path.join(folder, target, name), "wb") as out:
                out.write(contents)


main(sys.argv[1])
