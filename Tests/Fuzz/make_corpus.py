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
    dense = ("bf16", 1, 2, 2, {"values": ("BF16", 2, bf16(1, 2) + bytes(1020))})
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
    razer = ("razer-g16", 1, 4, 4, {
        "codes": ("U8", 1, bytes([0x21, 0x83, 0x08, 0x0F]) + bytes(508)),
        "scales": ("U8", 1, bytes([0x98]) + bytes(63)),
        "tensor_scale": ("F32", 4, struct.pack("<f", 0.5)),
        "special_values": ("F32", 4, struct.pack("<4f", 5, -5, 8, -8))})
    halves = ("int4-g128", 1, 4, 4, {
        "codes": ("U8", 1, bytes([0x21, 0x83, 0x08, 0x0F]) + bytes(508)),
        "scales": ("F16", 2, struct.pack("<H", 0x3C00) + bytes(30)),
        "tensor_scale": ("F32", 4, struct.pack("<f", 1))})
    # Codes 1, 0, 8, 15.
    left_out = ("bitmap-razer-g128", 1, 4, 3, {
        "codes": ("U8", 1, bytes([0x01, 0x08, 0x0F]) + bytes(125)),
        "bitmap": ("U64", 8, struct.pack("<Q", 0b1101) + bytes(120)),
        "offsets": ("U64", 8, struct.pack("<QQ", 0, 3)),
        "scales": ("F16", 2, struct.pack("<H", 0x3C01) + bytes(30)),
        "tensor_scale": ("F32", 4, struct.pack("<f", 0.5)),
        "special_values": ("F32", 4, struct.pack("<4f", 5, -5, 8, -8))})
    plain = ("plain-f32", 1, 2, 2, {"values": ("F32", 4, struct.pack("<ff", 1, 2))})
    yield "empty", packed({})
    yield "dense", packed({"w": dense})
    yield "sparse", packed({"w": sparse})
    yield "quantised", packed({"w": quantised})
    yield "razer", packed({"w": razer})
    yield "int4", packed({"w": halves})
    yield "bitmap-razer", packed({"w": left_out})
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


def gguf_string(text):
    return struct.pack("<Q", len(text)) + text


def gguf(metadata, tensors, alignment=32):
    """metadata: (key, value type, value) of bytes; tensors: (name, sizes, type, data)."""
    pad = lambda contents: contents + bytes(-len(contents) % alignment)
    header, data = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)), b""
    for key, kind, value in metadata:
        header += gguf_string(key) + struct.pack("<I", kind) + value
    for name, sizes, kind, contents in tensors:
        header += gguf_string(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, len(data))
        data += pad(contents)
    return pad(header) + data


def gguf_files():
    # Type id: weights and bytes of a block. 16 is IQ2_XXS, which opens and cannot be dequantised.
    blocks = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
              12: (256, 144), 13: (256, 176),
              14: (256, 210), 16: (256, 66), 30: (1, 2), 39: (32, 17), 40: (64, 36)}
    for kind, (weights, size) in blocks.items():
        yield f"type{kind}", gguf([], [(b"t", [weights], kind, bytes((37 * i + 11) % 256 for i in range(size)))])
    values = {0: b"\1", 1: b"\1", 2: bytes(2), 3: bytes(2), 4: bytes(4), 5: bytes(4), 6: bytes(4), 7: b"\1",
              8: gguf_string(b"text"),
              10: bytes(8), 11: bytes(8), 12: bytes(8)}
    metadata = [(b"general.alignment", 4, struct.pack("<I", 64))]
    metadata += [(b"v%d" % kind, kind, value) for kind, value in values.items()]
    metadata += [(b"a%d" % kind, 9, struct.pack("<IQ", kind, 2) + 2 * value) for kind, value in values.items()]
    yield "metadata", gguf(metadata, [(b"a", [4, 2], 0, bytes(32)), (b"b", [2, 2, 2, 1], 1, bytes(16))], alignment=64)
    yield "empty", gguf([], [])
    yield "twice", gguf([], [(b"t", [1], 0, bytes(4))] * 2)
    yield "wraps", gguf([], [(b"t", [1 << 32, 1 << 32], 0, bytes(4))])
    yield "nested", gguf([(b"a", 9, struct.pack("<IQIQ", 9, 1, 9, 0))], [])


def main(folder):
    for target, files in (
            ("Safetensors", safetensors_files()), ("PackedFile", packed_files()), ("SafetensorsIndex", index_files()),
            ("GGUF", gguf_files())):
        os.makedirs(os.path.join(folder, target), exist_ok=True)
        for name, contents in files:
            with open(os.path.join(folder, target, name), "wb") as out:
                out.write(contents)


main(sys.argv[1])
