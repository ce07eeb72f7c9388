// How far ahead of the loads kernels ask for weights. One long stream per thread is what the hardware prefetcher likes best;
// asking 4 KB ahead adds 2 to 12% on top (Docs/Benchmarks.md). A prefetch beyond the array is no access.
#pragma once
#ifndef CK_PREFETCH_BYTES
#define CK_PREFETCH_BYTES 4096
#endif
