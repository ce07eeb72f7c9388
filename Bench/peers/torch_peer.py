"""What the peers that run PyTorch share: the environment, the machine, the clock, and the program around a run."""

import os
import signal
import statistics
import sys
import time
import warnings

import peer_report as report


def settle_environment(threads, huge_pages):
    """Starts this program once more with what must be known before PyTorch and the C library load: the thread count,
    one pinned thread per core, and huge pages for large allocations."""
    wanted = {
        "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "TESSERA_PEER_SETTLED": "1",
        "OMP_PROC_BIND": os.environ.get("OMP_PROC_BIND", "close"), "OMP_PLACES": os.environ.get("OMP_PLACES", "cores"),
    }
    if huge_pages:
        wanted |= {"THP_MEM_ALLOC_ENABLE": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    if "TESSERA_PEER_SETTLED" not in os.environ:
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | wanted)


class Stopped(Exception):
    """The budget is spent, or somebody asked for the end: what is measured so far is the report."""


class Bench:
    """A run's machine, clock, read bandwidth and rows; `opts` has threads, bytes, budget, no_huge_pages and json."""

    def __init__(self, torch, opts, cores, out):
        self.torch, self.opts, self.threads, self.out = torch, opts, opts.threads or len(cores), out
        self.deadline = time.perf_counter() + opts.budget
        self.isa = "torch-" + ".".join(torch.__version__.split("+")[0].split(".")[:2])
        self.machine = report.machine(cores) | self.library()
        cold = max(3 * self.machine["last_level_cache_bytes"], 256 << 20)
        self.target = opts.bytes or cold
        self.rows, self.failed, self.interrupted = [], False, False
        self.buffer = torch.ones(min(cold, 2 << 30) // 8, dtype=torch.int64)
        address, nbytes = self.buffer.data_ptr(), 8 * self.buffer.numel()
        self.bandwidth = report.ReadBandwidth(address, nbytes, cores[: self.threads], self.buffer.sum)

    def library(self):
        torch = self.torch
        capability = getattr(torch.backends.cpu, "get_cpu_capability", lambda: "unknown")()
        onednn = next((line.strip(" -") for line in torch.__config__.show().splitlines() if "MKL-DNN" in line), "none")
        return {"implementation": "pytorch", "version": torch.__version__, "capability": capability, "onednn": onednn,
                "threads": self.threads, "huge_pages_asked": not self.opts.no_huge_pages,
                "call_overhead_seconds": self.call_overhead()}

    def call_overhead(self):
        """What one call costs when there is next to nothing to compute; it is part of every row."""
        x, w = self.torch.ones(1, 16).bfloat16(), self.torch.ones(16, 16).bfloat16()
        linear = self.torch.nn.functional.linear
        return statistics.median(report.time_interleaved([lambda _: linear(x, w)], 200, 0)[0])

    def say(self, line):
        print(line, file=self.out, flush=True)

    def ended(self):
        return self.interrupted or time.perf_counter() > self.deadline

    def check_clock(self):
        if self.ended():
            raise Stopped("interrupted" if self.interrupted else f"the budget of {self.opts.budget:.0f} s is spent")

    def interrupt(self, number, frame):
        """A signal's handler: the run in progress ends as if the budget were spent, and its rows are kept."""
        self.interrupted = True

    def write(self):
        measured = [self.bandwidth.row(self.isa, self.threads)] if self.bandwidth.seconds else []
        report.write_report(self.opts.json, self.machine, measured + self.rows)

    def finish(self, work):
        """Does the work until it or the budget ends, writes the report, and returns the program's status."""
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self.interrupt)
            work()
        except Stopped as reason:
            self.say(f"stopped early: {reason}; {len(self.rows)} rows are measured")
        if self.opts.json:
            self.write()
        return 1 if self.failed else 0


def add_options(parser):
    """The options that every run has."""
    parser.add_argument("--threads", type=int, default=0, help="0: one per allowed core")
    parser.add_argument("--bytes", type=int, default=0, help="total of a variant's copies; 0: 3 x the last-level cache")
    parser.add_argument("--min-runs", type=int, default=30, help="runs of a row, unless the budget ends before")
    parser.add_argument("--min-time", type=float, default=0.3, help="seconds of a row, likewise")
    parser.add_argument("--budget", type=float, default=600, help="seconds for everything")
    parser.add_argument("--no-huge-pages", action="store_true", help="leave memory as PyTorch allocates it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", default="", help="the report's file; -: standard output, and nothing else there")
    return parser.parse_args()


def main(program, opts, run):
    """Calls `run(torch, opts, cores, out)` in a settled environment; returns its status."""
    try:
        cores = report.allowed_cores()
        if not 0 <= opts.threads <= len(cores):
            raise report.UsageError(f"--threads {opts.threads}: this process may use {len(cores)} cores")
        threads = opts.threads or len(cores)
        settle_environment(threads, not opts.no_huge_pages)
        warnings.simplefilter("ignore")  # PyTorch announces the age of some operators; the rows name them
        try:
            import torch
        except ImportError as problem:
            raise report.UsageError(f"PyTorch is not installed for {sys.executable}: {problem}") from None
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        return run(torch, opts, cores, sys.stderr if opts.json == "-" else sys.stdout)
    except report.UsageError as problem:
        return f"{program}: {problem}"
