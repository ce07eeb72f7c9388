#!/usr/bin/env python3
"""Writes gguf-golden.gguf: random blocks of every type that Tessera dequantises, with the values of the PyPI package `gguf`.

Each tensor NAME is followed by NAME.expected, the same weights in float32. The metadata has a key of every value type.
Run with: pip install gguf==0.19.0 numpy; python3 make_gguf_golden.py
"""

import pathlib

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T, GGUFValueType as V

ROWS = 2
TYPES = [T.F32, T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q4_K, T.Q5_K, T.Q6_K, T.MXFP4, T.NVFP4]


def random_tensor(type, rng):
    """Blocks of random bits: scales may be subnormal, infinite or NaN."""
    weights, size = GGML_QUANT_SIZES[type]
    blocks = max(256 // weights, 2)
    return rng.integers(0, 256, (ROWS, blocks * size), dtype=np.uint8)


def main():
    path = pathlib.Path(__file__).with_name("gguf-golden.gguf")
    rng = np.random.default_rng(20)
    writer = gguf.GGUFWriter(path, "golden")
    for value_type, value in [
        (V.UINT8, 200), (V.INT8, -100), (V.UINT16, 60000), (V.INT16, -30000), (V.UINT32, 4000000000), (V.INT32, -2000000000),
        (V.UINT64, 2**63), (V.INT64, -(2**62)), (V.FLOAT32, 0.1), (V.FLOAT64, 0.1), (V.BOOL, True), (V.STRING, "Grüße"),
    ]:
        writer.add_key_value(f"golden.{value_type.name.lower()}", value, value_type)
    writer.add_array("golden.strings", ["", "a", "zwei", "三"])
    writer.add_array("golden.integers", [1, -2, 3])
    writer.add_array("golden.numbers", [0.5, -1.5])
    writer.add_array("golden.bools", [True, False, True])
    with np.errstate(all="ignore"):
        for type in TYPES:
            data = random_tensor(type, rng)
            writer.add_tensor(type.name, data.view(np.float32) if type is T.F32 else data, raw_dtype=type)
            expected = data.view(np.float32) if type is T.F32 else gguf.dequantize(data, type)
            writer.add_tensor(f"{type.name}.expected", expected.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(path.name, path.stat().st_size, "bytes")


main()
