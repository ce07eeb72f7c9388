#!/usr/bin/env python3
"""Times PyTorch's scaled_dot_product_attention over bf16 caches on the CPU, cold, in kbench's JSON form.

    python3 torch_attention.py --context 1024,4096,16384,65536 --m 1 --budget 300 --json torch-attention.json

Needs PyTorch 2.5 or later and nothing else; README.md beside this file says what each row measures.
"""

import argparse
import statistics
import sys
import time

import peer_report as report
import torch_peer

BF16_UNIT = 2.0**-8


def options():
    parser = argparse.ArgumentParser(
        description="Times PyTorch's scaled_dot_product_attention over bf16 caches on the CPU, cold, in kbench's JSON form.")
    parser.add_argument("--heads", default="32/8x128", help="QUERY/KEY-VALUExDIMENSION: 32/8x128, as Llama-3.1-8B has them")
    parser.add_argument("--context", default="1024,4096,16384,65536", help="tokens in the cache, separated by commas")
    parser.add_argument("--m", default="1", help="query tokens, the last ones of the cache, separated by commas")
    parser.add_argument("--only", default="", help=f"variants to run, separated by commas: {', '.join(c.variant for c in FORMS)}")
    return torch_peer.add_options(parser)


class Heads:
    def __init__(self, text):
        counts, x, dimension = text.partition("x")
        queries, slash, shared = counts.partition("/")
        if not (x and slash and all(t.isdigit() and int(t) for t in (queries, shared, dimension))):
            raise report.UsageError(f"--heads {text}: not of the form 32/8x128")
        self.queries, self.shared, self.dimension = int(queries), int(shared), int(dimension)
        if self.queries % self.shared:
            raise report.UsageError(f"--heads {text}: {self.shared} does not divide {self.queries}")

    def shape(self, context):
        tokens = f"{context // 1024}K" if context % 1024 == 0 else str(context)
        return f"{self.queries}/{self.shared}x{self.dimension}@{tokens}"


# --- The forms ------------------------------------------------------------------------------------------------------
#
# q is [1, query heads, M, dimension], a cache a pair of [1, key-value heads, tokens, dimension]; a mask, of more than one query,
# is [M, tokens] of bools.


class EnableGQA:
    """The call as models make it."""

    variant = "sdpa-enable-gqa"

    def __init__(self, torch, heads):
        self.torch, self.heads, self.attend = torch, heads, torch.nn.functional.scaled_dot_product_attention

    def can_run(self, m):
        return True

    def run(self, q, cache, mask):
        return self.attend(q, *cache, attn_mask=mask, enable_gqa=True)


class Repeated(EnableGQA):
    """Keys and values repeated for each query head before the call, as models did before enable_gqa."""

    variant = "sdpa-repeated"

    def run(self, q, cache, mask):
        group = self.heads.queries // self.heads.shared
        return self.attend(q, *(t.repeat_interleave(group, 1) for t in cache), attn_mask=mask)


class QueriesAsRows(EnableGQA):
    """The query heads that share a cache as rows of one head: what a careful caller can do for a single token."""

    variant = "sdpa-rows"

    def can_run(self, m):
        return m == 1

    def run(self, q, cache, mask):
        rows = q.view(1, self.heads.shared, -1, self.heads.dimension)
        return self.attend(rows, *cache).view(q.shape)


FORMS = (EnableGQA, Repeated, QueriesAsRows)


# --- The run --------------------------------------------------------------------------------------------------------


class Bench(torch_peer.Bench):
    def __init__(self, torch, opts, cores, out):
        super().__init__(torch, opts, cores, out)
        self.heads = Heads(opts.heads)
        wanted = set(filter(None, opts.only.split(",")))
        unknown = wanted - {form.variant for form in FORMS}
        if unknown:
            raise report.UsageError(f"--only {','.join(sorted(unknown))}: no such variant")
        self.forms = [form(torch, self.heads) for form in FORMS if not wanted or form.variant in wanted]

    def run(self, contexts, ms):
        groups_left = len(contexts) * len(ms)
        for context in contexts:
            self.torch.manual_seed(self.opts.seed)
            caches = self.caches(context)
            for m in ms:
                if m <= context:
                    self.group(caches, context, m, (self.deadline - time.perf_counter()) / groups_left)
                groups_left -= 1
                if self.opts.json and self.opts.json != "-":
                    self.write()

    def caches(self, context):
        shape = (1, self.heads.shared, context, self.heads.dimension)
        first = tuple(self.torch.randn(shape).bfloat16() for _ in range(2))
        caches = [first]
        while len(caches) * self.nbytes(context) < self.target:
            self.check_clock()
            caches.append(tuple(t.clone() for t in first))
        return caches

    def nbytes(self, context):
        """Of one cache, keys and values."""
        return 4 * self.heads.shared * context * self.heads.dimension

    def group(self, caches, context, m, slot):
        """All forms at one length and M, timed in turn."""
        stop_at = min(self.deadline, time.perf_counter() + slot)
        q = self.torch.randn(1, self.heads.queries, m, self.heads.dimension).bfloat16()
        mask = None if m == 1 else self.torch.ones(m, context, dtype=self.torch.bool).tril(context - m)
        bandwidth = self.bandwidth.measure()
        ready = []
        for form in self.forms:
            self.check_clock()
            if not form.can_run(m):
                continue
            try:
                ready.append((form, max(self.error(form, q, c, mask) for c in (caches[0], caches[-1]))))
            except ArithmeticError as problem:
                self.failed = True
                self.say(f"WRONG: {form.variant} {self.heads.shape(context)} M={m}: {problem}; not timed")
            except (RuntimeError, TypeError) as problem:
                self.say(f"cannot run: {form.variant} {self.heads.shape(context)} M={m}: {str(problem).splitlines()[0]}")
        calls = [lambda i, form=form: form.run(q, caches[i % len(caches)], mask) for form, _ in ready]
        timed = report.time_interleaved(calls, self.opts.min_runs, self.opts.min_time, stop_at, self.ended)
        for (form, verdict), seconds in zip(ready, timed):
            if seconds:
                self.add(self.row(form, context, m, seconds, bandwidth, verdict))

    def error(self, form, q, cache, mask):
        """The largest error in units of sum p|v|, and its bound, against attention in fp32 on the first and the last key-value
        head. Probabilities may be rounded to bf16 once, and so is the result; scores are fp32 sums of exact products."""
        torch, group = self.torch, self.heads.queries // self.heads.shared
        y = form.run(q, cache, mask).float()
        worst = (0.0, 1.0)
        for shared in {0, self.heads.shared - 1}:
            own = slice(shared * group, (shared + 1) * group)
            k, v = (t[0, shared].float() for t in cache)
            scores = q[0, own].float() @ k.t() / self.heads.dimension**0.5
            if mask is not None:
                scores = scores.masked_fill(~mask, float("-inf"))
            p = torch.softmax(scores, -1)
            scale = p @ v.abs()
            errors = ((y[0, own] - p @ v).abs() / scale).nan_to_num(nan=float("inf"))
            # The sums of scores and of softmax in fp32 come to less than a tenth of the second unit.
            bound = 2 * BF16_UNIT + BF16_UNIT * 0.1
            worst = max(worst, (errors.max().item(), bound))
            if not errors.max().item() <= bound:
                raise ArithmeticError(f"error {errors.max().item():.3g} of sum p|v| is above its bound {bound:.3g}")
        return worst

    def row(self, form, context, m, seconds, bandwidth, verdict):
        median, nbytes = statistics.median(seconds), self.nbytes(context)
        return {
            "op": "attention", "format": "bf16", "isa": self.isa, "variant": form.variant,
            "shape": self.heads.shape(context), "n": 0, "k": 0, "m": m, "threads": self.threads, "context": context,
            "seconds_median": median, "seconds_min": min(seconds), "runs": len(seconds), "bytes": nbytes,
            "flops": 4 * m * context * self.heads.queries * self.heads.dimension, "gbps": nbytes / median / 1e9,
            "roofline_seconds": nbytes / bandwidth, "roofline_fraction": nbytes / bandwidth / median,
            "speedup_vs_dense_bf16": None, "max_rel_error": verdict[0], "error_bound": verdict[1],
        }

    def add(self, row):
        self.rows.append(row)
        self.say(f"{row['shape']:>16} M={row['m']:<4} {row['variant']:<16}"
                 f"{row['seconds_median'] * 1e6:10.1f} us {row['gbps']:7.1f} GB/s {row['roofline_fraction']:6.2f} of the roofline"
                 f"  {row['runs']:4} runs  error {row['max_rel_error']:.1e} (bound {row['error_bound']:.1e})")


def run(torch, opts, cores, out):
    contexts, ms = report.parse_counts("--context", opts.context), report.parse_counts("--m", opts.m)
    bench = Bench(torch, opts, cores, out)
    return bench.finish(lambda: bench.run(contexts, ms))


if __name__ == "__main__":
    sys.exit(torch_peer.main("torch_attention.py", options(), run))
