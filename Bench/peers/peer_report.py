"""What every Python peer shares: shapes, the machine, the read-bandwidth probe, the timing loop and the report."""

import ctypes
import json
import math
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SHAPES = HERE.parent / "shapes"
CPU_TREE = pathlib.Path("/sys/devices/system/cpu")


class UsageError(Exception):
    """A request that cannot be met; the message names the culprit."""


def parse_shapes(text):
    """`14336x4096,llama-3.1-8b` -> distinct (N, K) pairs in the order of their first mention."""
    pairs = {}
    for item in text.split(","):
        for pair in preset_shapes(item) if (SHAPES / f"{item}.txt").is_file() else [parse_pair(item)]:
            pairs[pair] = None
    return list(pairs)


def parse_pair(item):
    n, x, k = item.partition("x")
    if not (x and n.isdigit() and k.isdigit() and int(n) and int(k)):
        known = ", ".join(sorted(path.stem for path in SHAPES.glob("*.txt"))) or f"none in {SHAPES}"
        raise UsageError(f"--shape {item}: neither NxK nor a preset ({known})")
    return int(n), int(k)


def preset_shapes(name):
    lines = (line.partition("#")[0].split() for line in (SHAPES / f"{name}.txt").read_text().splitlines())
    return [(int(n), int(k)) for _, n, k in (fields for fields in lines if fields)]


def parse_counts(option, text):
    if not all(item.isdigit() and int(item) for item in text.split(",")):
        raise UsageError(f"{option} {text}: a list of whole numbers above 0, separated by commas")
    return [int(item) for item in text.split(",")]


def read_list(path):
    """A kernel CPU list such as `0-3,8` as a set."""
    cpus = set()
    for item in path.read_text().strip().split(","):
        first, _, last = item.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


def allowed_cores():
    """One CPU of each physical core that this process may use."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    cores, seen = [], set()
    for cpu in sorted(os.sched_getaffinity(0)):
        siblings = CPU_TREE / f"cpu{cpu}/topology/thread_siblings_list"
        if cpu not in seen:
            cores.append(cpu)
            seen |= read_list(siblings) if siblings.is_file() else {cpu}
    return cores


def last_level_cache_bytes(cpus):
    """The last-level caches of all these CPUs together, or 0 if the system does not say."""
    units, total, counted = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}, 0, set()
    for cpu in cpus:
        caches = [c for c in (CPU_TREE / f"cpu{cpu}/cache").glob("index*") if (c / "size").is_file()]
        if cpu in counted or not caches:
            continue
        last = max(caches, key=lambda c: int((c / "level").read_text()))
        size = (last / "size").read_text().strip()
        total += int(size.rstrip("KMG")) * units.get(size[-1], 1)
        counted |= read_list(last / "shared_cpu_list") if (last / "shared_cpu_list").is_file() else {cpu}
    return total


def cpu_flags():
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return set(next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), []))


def machine(cores):
    """The machine as the report names it; the peer adds its own name and version."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    pages = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "cpu": next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()),
        "architecture": platform.machine(),
        "allowed_cores": len(cores),
        "last_level_cache_bytes": last_level_cache_bytes(cores),
        "features": sorted(cpu_flags() & {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_bf16", "amx_int8"}),
        "transparent_hugepages": pages.read_text().strip() if pages.is_file() else "unknown",
        "date": time.strftime("%Y-%m-%d"),
    }


class ReadBandwidth:
    """Sums one large buffer with pinned threads: a C loop if a compiler is there, else the fallback that the peer gives."""

    def __init__(self, address, nbytes, cpus, fallback):
        self.address, self.nbytes, self.cpus, self.fallback = address, nbytes, cpus, fallback
        self.seconds, self.function = [], self.compiled()
        self.method = "c-loop" if self.function else "library-sum"

    @staticmethod
    def compiled():
        compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
        if not compiler or not (HERE / "read_bandwidth.c").is_file():
            return None
        folder = tempfile.mkdtemp(prefix="read_bandwidth")
        try:
            library = os.path.join(folder, "read_bandwidth.so")
            command = [compiler, "-O2", "-shared", "-fPIC", "-pthread", str(HERE / "read_bandwidth.c"), "-o", library]
            built = subprocess.run(command, capture_output=True, check=False).returncode == 0
            return ctypes.CDLL(library).read_bandwidth_passes if built else None
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def measure(self, passes=5):
        """The best bandwidth of a few passes, in bytes per second; the passes are kept for the report's own row."""
        seconds = (ctypes.c_double * passes)()
        cpus = (ctypes.c_int * len(self.cpus))(*self.cpus)
        failed = self.function is None or self.function(
            ctypes.c_void_p(self.address), ctypes.c_size_t(self.nbytes), len(self.cpus), cpus, passes, seconds)
        if failed:
            for index in range(passes):
                start = time.perf_counter()
                self.fallback()
                seconds[index] = time.perf_counter() - start
        self.seconds += list(seconds)
        return self.nbytes / min(seconds)

    def row(self, isa, threads):
        median, best = statistics.median(self.seconds), min(self.seconds)
        return {
            "op": "read_bandwidth", "format": "bytes", "isa": isa, "variant": self.method,
            "shape": str(self.nbytes), "n": 0, "k": 0, "m": 0, "threads": threads,
            "seconds_median": median, "seconds_min": best, "runs": len(self.seconds), "bytes": self.nbytes, "flops": 0,
            "gbps": self.nbytes / median / 1e9, "roofline_seconds": best, "roofline_fraction": best / median,
            "speedup_vs_dense_bf16": None, "max_rel_error": None, "error_bound": None,
        }


def time_interleaved(calls, min_runs, min_seconds, stop_at=math.inf, ended=lambda: False):
    """Times the calls in turn, so that a drift of the machine meets all of them alike.

    Each is a function of the run's number and has run before. Returns each one's list of seconds, once it has
    `min_runs` runs and `min_seconds` in all; past `stop_at` three runs are enough, and once `ended()`
    is true one or none.
    """
    seconds, run = [[] for _ in calls], 0

    def wants_more(taken):
        if ended():
            return False
        if len(taken) < 3:
            return True
        return time.perf_counter() < stop_at and (len(taken) < min_runs or sum(taken) < min_seconds)

    while any(map(wants_more, seconds)):
        for call, taken in zip(calls, seconds):
            if wants_more(taken):
                start = time.perf_counter()
                call(run)
                taken.append(time.perf_counter() - start)
        run += 1
    return seconds


def gemm_row(contender, isa, n, k, m, threads, seconds, bandwidth, error, bound):
    """One row of the contract; `bytes` counts the packed weights alone, and the roofline is reading them once."""
    median, roofline = statistics.median(seconds), contender.nbytes / bandwidth
    return {
        "op": contender.op, "format": contender.format, "isa": isa, "variant": contender.variant,
        "shape": f"{n}x{k}", "n": n, "k": k, "m": m, "threads": threads,
        "seconds_median": median, "seconds_min": min(seconds), "runs": len(seconds),
        "bytes": contender.nbytes, "flops": 2 * m * n * k, "gbps": contender.nbytes / median / 1e9,
        "roofline_seconds": roofline, "roofline_fraction": roofline / median,
        "speedup_vs_dense_bf16": None, "max_rel_error": error, "error_bound": bound,
    }


def fill_speedups(rows):
    """Every row against the library's own best dense bf16 of the same shape, M and threads."""
    best = {}
    for row in rows:
        if row["format"] == "bf16":
            key = (row["shape"], row["m"], row["threads"])
            best[key] = min(best.get(key, row["seconds_median"]), row["seconds_median"])
    for row in rows:
        base = best.get((row["shape"], row["m"], row["threads"]))
        if base and row["op"] != "read_bandwidth":
            row["speedup_vs_dense_bf16"] = base / row["seconds_median"]


def write_report(path, machine_part, rows):
    """Writes the report whole or not at all; `-` is standard output."""
    fill_speedups(rows)
    text = json.dumps({"machine": machine_part, "results": rows}, indent=1) + "\n"
    if path == "-":
        sys.stdout.write(text)
        return
    target = pathlib.Path(path)
    draft = target.with_name(target.name + ".part")
    draft.write_text(text)
    draft.replace(target)
