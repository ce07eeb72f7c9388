#!/usr/bin/env python3
"""Times PyTorch's linear layers on the CPU, cold, in kbench's JSON form.

    python3 torch_linear.py --shape 14336x4096,4096x14336,1024x4096 --m 1,4,8,16,32,512 --budget 300 --json torch.json

Needs PyTorch 2.3 or later and nothing else; README.md beside this file says what each row measures.
"""

import argparse
import sys
import time

import peer_report as report
import torch_peer


def options():
    parser = argparse.ArgumentParser(description="Times PyTorch's linear layers on the CPU, cold, in kbench's JSON form.")
    parser.add_argument("--shape", default="llama-3.1-8b", help="NxK or a preset of Bench/shapes, separated by commas")
    parser.add_argument("--m", default="1,4,8,16,32,512", help="rows of activations, separated by commas")
    parser.add_argument("--only", default="", help="variants to run, separated by commas; --list names them")
    parser.add_argument("--list", action="store_true", help="name the variants and whether this PyTorch has them")
    return torch_peer.add_options(parser)


# --- The contenders -------------------------------------------------------------------------------------------------
#
# Each packs one source matrix, runs on one packed copy, and names the weights that its copy stands for, so that the
# check measures the kernel's arithmetic and not the loss of the format. u(bf16) = 2^-8, u(fp32) = 2^-24.

BF16_UNIT, FP32_UNIT = 2.0**-8, 2.0**-24


class Contender:
    op, format, variant, operators, packed_per_m = "dense_gemm", "bf16", "", (), False

    def __init__(self, torch):
        self.torch = torch
        self.nbytes = 0

    def absent(self):
        """The first operator that this PyTorch lacks, or None."""
        for operator in self.operators:
            space, name = operator.split("::")
            if not hasattr(getattr(self.torch.ops, space), name):
                return operator
        return None

    def inputs(self, x):
        """The activations in the form that `run` takes; not timed."""
        return x

    def clone(self, packed):
        return packed.clone()

    def slack(self, x, weights, magnitude, y):
        """How far a correct kernel may be from the fp32 reference, element by element: sums of K products in fp32 on
        both sides, and one rounding of the result to bf16."""
        return 2 * x.shape[1] * FP32_UNIT * magnitude + BF16_UNIT * y.abs()

    def error(self, x, inputs, packed, rows, weights):
        """The largest error in units of sum |x||w|, and the bound of that element; raises if any exceeds its bound."""
        y = self.run(packed, inputs)[:, rows].float()
        seen = self.activations(x, inputs)
        reference, magnitude = seen @ weights.t(), seen.abs() @ weights.abs().t()
        bound = self.slack(seen, weights, magnitude, y) + 1e-30
        worst = ((y - reference).abs().nan_to_num(nan=float("inf")) / bound).argmax()
        scale = magnitude.flatten()[worst].item() + 1e-30
        error, limit = (y - reference).abs().flatten()[worst].item() / scale, bound.flatten()[worst].item() / scale
        if not error <= limit:
            raise ArithmeticError(f"error {error:.3g} of sum |x||w| is above its bound {limit:.3g}")
        return error, limit

    def activations(self, x, inputs):
        """The values that the kernel multiplies, in fp32."""
        return x.float()


class Bf16Linear(Contender):
    variant, operators = "linear", ("aten::linear",)

    def pack(self, source, m):
        self.nbytes = 2 * source.numel()
        return source.clone()

    def weights(self, source, rows):
        return source[rows].float()

    def run(self, packed, x):
        return self.torch.nn.functional.linear(x, packed)


class Bf16Prepacked(Bf16Linear):
    """What a frozen torch.compile emits: oneDNN's blocked weights, ordered for this very M."""

    variant, packed_per_m = "linear-prepacked", True
    operators = ("mkldnn::_reorder_linear_weight", "mkldnn::_linear_pointwise")

    def absent(self):
        missing = super().absent()
        supported = getattr(self.torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
        return missing or ("bf16 in oneDNN on this CPU" if supported and not supported() else None)

    def pack(self, source, m):
        packed = self.torch.ops.mkldnn._reorder_linear_weight(source, m)
        sized = hasattr(self.torch.ops.mkldnn, "_nbytes")
        self.nbytes = self.torch.ops.mkldnn._nbytes(packed) if sized else 2 * source.numel()
        return packed

    def run(self, packed, x):
        return self.torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")


class Int8Contender(Contender):
    """Symmetric int8 weights with one scale per output."""

    format = "int8"

    def quantised(self, source):
        scales = source.abs().amax(1).float().clamp(min=1e-30).div(127).bfloat16().float()
        return (source.float() / scales[:, None]).round().clamp(-127, 127).to(self.torch.int8), scales

    def weights(self, source, rows):
        values, scales = self.quantised(source[rows])
        return values.float() * scales[:, None]

    def count_bytes(self, source):
        self.nbytes = source.numel() + 4 * source.shape[0]


class Int8WeightOnly(Int8Contender):
    variant, operators = "weight-int8pack-mm", ("aten::_weight_int8pack_mm",)

    def pack(self, source, m):
        self.count_bytes(source)
        values, scales = self.quantised(source)
        return values, scales.bfloat16()

    def clone(self, packed):
        return packed[0].clone(), packed[1]

    def run(self, packed, x):
        return self.torch.ops.aten._weight_int8pack_mm(x, packed[0], packed[1])


class Int8Dynamic(Int8Contender):
    """Quantises the activations per tensor inside the call; its input and output are fp32."""

    variant, operators = "linear-dynamic", ("quantized::linear_prepack", "quantized::linear_dynamic")

    def __init__(self, torch):
        super().__init__(torch)
        # Without VNNI the 16-bit products saturate unless the activations keep to 7 bits.
        self.levels = 255 if report.cpu_flags() & {"avx512_vnni", "avx_vnni"} else 127

    def pack(self, source, m):
        self.count_bytes(source)
        values, scales = self.quantised(source)
        zeros = self.torch.zeros(source.shape[0], dtype=self.torch.long)
        weight = self.torch._make_per_channel_quantized_tensor(values, scales.double(), zeros, 0)
        return weight, self.torch.ops.quantized.linear_prepack(weight, None)

    def clone(self, packed):
        return packed[0], self.torch.ops.quantized.linear_prepack(packed[0], None)

    def inputs(self, x):
        return x.float()

    def run(self, packed, x):
        return self.torch.ops.quantized.linear_dynamic(x, packed[1], self.levels == 127)

    def slack(self, x, weights, magnitude, y):
        step = (x.max().clamp(min=0) - x.min().clamp(max=0)) / self.levels
        return super().slack(x, weights, magnitude, y) + step * weights.abs().sum(1)


class Int8Prepacked(Int8Contender):
    """oneDNN's blocked int8 weights, ordered for this very M; the activations arrive as uint8."""

    variant, packed_per_m = "qlinear-prepacked", True
    operators = ("onednn::qlinear_prepack", "onednn::qlinear_pointwise")
    step, zero = 1 / 32, 128

    def pack(self, source, m):
        self.count_bytes(source)
        values, scales = self.quantised(source)
        return self.torch.ops.onednn.qlinear_prepack(values, [m, source.shape[1]]), scales, self.torch.zeros(
            source.shape[0], dtype=self.torch.int32)

    def clone(self, packed):
        return packed[0].clone(), packed[1], packed[2]

    def inputs(self, x):
        return (x.float() / self.step + self.zero).round().clamp(0, 255).to(self.torch.uint8)

    def activations(self, x, inputs):
        return (inputs.float() - self.zero) * self.step

    def run(self, packed, x):
        weight, scales, zeros = packed
        return self.torch.ops.onednn.qlinear_pointwise(
            x, self.step, self.zero, weight, scales, zeros, None, 1.0, 0, self.torch.bfloat16, "none", [], "")


class IntegerProduct(Int8Contender):
    """The integer product alone: int8 by int8 to int32, no scales, no quantisation."""

    variant, operators = "int-mm", ("aten::_int_mm",)

    def pack(self, source, m):
        self.count_bytes(source)
        return self.quantised(source)[0]

    def weights(self, source, rows):
        return self.quantised(source[rows])[0].float()

    def inputs(self, x):
        return (x.float() * 32).round().clamp(-127, 127).to(self.torch.int8)

    def activations(self, x, inputs):
        return inputs.float()

    def run(self, packed, x):
        return self.torch.ops.aten._int_mm(x, packed.t())


class Int4WeightOnly(Contender):
    """4-bit weights in groups with a bf16 scale and zero point each, bf16 activations."""

    op, format, variant, group = "code4_gemm", "int4-g128", "weight-int4pack-mm", 128
    operators = ("aten::_convert_weight_to_int4pack", "aten::_weight_int4pack_mm")
    pack_name, mm_name = "_convert_weight_to_int4pack", "_weight_int4pack_mm"

    def __init__(self, torch):
        super().__init__(torch)
        if hasattr(torch.ops.aten, "_weight_int4pack_mm_for_cpu"):  # 2.6 gave the CPU operators of its own
            self.operators = tuple(name + "_for_cpu" for name in self.operators)
            self.pack_name, self.mm_name = self.pack_name + "_for_cpu", self.mm_name + "_for_cpu"

    def quantised(self, source):
        groups = source.float().view(source.shape[0], -1, self.group)
        scales = (groups.abs().amax(2).clamp(min=1e-30) / 7).bfloat16()
        codes = (groups / scales.float()[:, :, None]).round().clamp(-8, 7).to(self.torch.int32) + 8
        return codes.view(source.shape), scales

    def weights(self, source, rows):
        codes, scales = self.quantised(source[rows])
        return (codes - 8).float() * scales.float().repeat_interleave(self.group, 1)

    def pack(self, source, m):
        n, k = source.shape
        if k % self.group:
            raise ValueError(f"K = {k} is no multiple of the group, {self.group}")
        codes, scales = self.quantised(source)
        scales_and_zeros = self.torch.zeros(k // self.group, n, 2, dtype=self.torch.bfloat16)
        scales_and_zeros[:, :, 0] = scales.t()
        self.nbytes = n * k // 2 + 2 * scales_and_zeros.numel()
        return self.pack_codes(codes), scales_and_zeros

    def pack_codes(self, codes):
        pack = getattr(self.torch.ops.aten, self.pack_name)
        try:
            return pack(codes, 2)
        except RuntimeError:  # 2.5 alone takes two codes to a byte
            codes = codes.to(self.torch.uint8)
            return pack(codes[:, ::2] << 4 | codes[:, 1::2], 2)

    def clone(self, packed):
        return packed[0].clone(), packed[1].clone()

    def run(self, packed, x):
        return getattr(self.torch.ops.aten, self.mm_name)(x, packed[0], self.group, packed[1])

    def slack(self, x, weights, magnitude, y):
        # Some of its kernels round the decoded weight to bf16 before they multiply.
        return super().slack(x, weights, magnitude, y) + BF16_UNIT * magnitude


class Int4SmallGroups(Int4WeightOnly):
    format, group = "int4-g32", 32


CONTENDERS = (Bf16Linear, Bf16Prepacked, Int8WeightOnly, Int8Dynamic, Int8Prepacked, IntegerProduct, Int4WeightOnly,
              Int4SmallGroups)


# --- The run --------------------------------------------------------------------------------------------------------


class Bench(torch_peer.Bench):
    def __init__(self, torch, opts, cores, out):
        super().__init__(torch, opts, cores, out)
        self.contenders = self.chosen()

    def chosen(self):
        wanted = set(filter(None, self.opts.only.split(",")))
        unknown = wanted - {c.variant for c in CONTENDERS}
        if unknown:
            raise report.UsageError(f"--only {','.join(sorted(unknown))}: no such variant; --list names them")
        present, self.machine["absent"] = [], []
        for contender in (c(self.torch) for c in CONTENDERS if not wanted or c.variant in wanted):
            missing = contender.absent()
            if missing:
                self.machine["absent"].append(contender.variant)
                self.say(f"absent: {contender.format} {contender.variant}: this PyTorch lacks {missing}")
            else:
                present.append(contender)
        return present

    def source(self, n, k):
        """An N x K bf16 matrix; one random block repeats along it with a length that no row length shares."""
        block = self.torch.randn((1 << 20) + 7)
        count = n * k
        return block.repeat(-(-count // block.numel()))[:count].mul_(0.02).bfloat16().view(n, k)

    def copies(self, contender, source, m):
        first = contender.pack(source, m)
        packed = [first]
        while len(packed) * contender.nbytes < self.target:
            self.check_clock()
            packed.append(contender.clone(first))
        return packed

    def run(self, shapes, ms):
        groups_left = len(shapes) * len(ms)
        for n, k in shapes:
            self.torch.manual_seed(self.opts.seed)
            source, kept = self.source(n, k), {}
            x_all = self.torch.randn(max(ms), k).bfloat16()
            for m in ms:
                slot = (self.deadline - time.perf_counter()) / groups_left
                self.group(source, kept, x_all[:m].contiguous(), slot)
                groups_left -= 1
                if self.opts.json and self.opts.json != "-":
                    self.write()

    def group(self, source, kept, x, slot):
        """All contenders at one shape and M, timed in turn."""
        stop_at = min(self.deadline, time.perf_counter() + slot)
        n, k, m = *source.shape, x.shape[0]
        rows = self.torch.linspace(0, n - 1, min(n, 2048)).long()
        bandwidth = self.bandwidth.measure()
        ready = []
        for contender in self.contenders:
            self.check_clock()
            try:
                if contender.packed_per_m or contender not in kept:
                    kept.pop(contender, None)
                    kept[contender] = self.copies(contender, source, m)
                packed, inputs = kept[contender], contender.inputs(x)
                weights = contender.weights(source, rows)
                verdict = max(contender.error(x, inputs, p, rows, weights) for p in (packed[0], packed[-1]))
                ready.append((contender, packed, inputs, verdict))
            except ArithmeticError as problem:
                self.failed = True
                self.say(f"WRONG: {contender.variant} {n}x{k} M={m}: {problem}; not timed")
            except (RuntimeError, NotImplementedError, ValueError) as problem:
                self.say(f"cannot run: {contender.variant} {n}x{k} M={m}: {str(problem).splitlines()[0]}")
        calls = [lambda i, c=c, p=p, x=x: c.run(p[i % len(p)], x) for c, p, x, _ in ready]
        timed = report.time_interleaved(calls, self.opts.min_runs, self.opts.min_time, stop_at, self.ended)
        for (contender, _, _, (error, bound)), seconds in zip(ready, timed):
            if seconds:
                self.add(report.gemm_row(contender, self.isa, n, k, m, self.threads, seconds, bandwidth, error, bound))

    def add(self, row):
        self.rows.append(row)
        self.say(f"{row['shape']:>12} M={row['m']:<4} {row['format']:<10} {row['variant']:<20}"
                 f"{row['seconds_median'] * 1e6:10.1f} us {row['gbps']:7.1f} GB/s {row['roofline_fraction']:6.2f} of the roofline"
                 f"  {row['runs']:4} runs  error {row['max_rel_error']:.1e} (bound {row['error_bound']:.1e})")


def run(torch, opts, cores, out):
    shapes, ms = report.parse_shapes(opts.shape), report.parse_counts("--m", opts.m)
    bench = Bench(torch, opts, cores, out)
    if not opts.list:
        return bench.finish(lambda: bench.run(shapes, ms))
    for contender in bench.contenders:
        bench.say(f"present: {contender.format} {contender.variant}: {', '.join(contender.operators)}")
    return 0


if __name__ == "__main__":
    sys.exit(torch_peer.main("torch_linear.py", options(), run))
