// How far ahead of the loads kernels ask for weights. One long stream per thread is what the hardware prefetcher likes best;
// asking 1 to 8 KB ahead, into either cache, measured the same (Docs/Benchmarks.md). A prefetch beyond the array is no access.
#pragma once

enum { CK_PREFETCH_BYTES = 4096 };
