// The CPUs that this process may run on.
#include "ck_cpu.h"

#if defined(__linux__)

#include <dirent.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CPUS = 8192, WORDS = MOST_CPUS / (8 * sizeof(unsigned long)) };

// Adds one thread's mask to `set`; thread 0 is the caller.
static void add_affinity(pid_t thread, unsigned long set[WORDS]) {
    unsigned long mask[WORDS];
    memset(mask, 0, sizeof mask);
    if (sched_getaffinity(thread, sizeof mask, (cpu_set_t *)(void *)mask) != 0) return;
    for (size_t i = 0; i < WORDS; i++) set[i] |= mask[i];
}

size_t ck_cpu_allowed(int32_t *cpus, size_t capacity) {
    unsigned long set[WORDS];
    memset(set, 0, sizeof set);
    add_affinity(0, set);
    DIR *threads = opendir("/proc/self/task");
    if (threads) {
        for (struct dirent *entry; (entry = readdir(threads));) {
            const long thread = strtol(entry->d_name, NULL, 10);
            if (thread > 0) add_affinity((pid_t)thread, set);
        }
        closedir(threads);
    }

    const size_t bits = 8 * sizeof set[0];
    size_t count = 0;
    for (size_t cpu = 0; cpu < MOST_CPUS; cpu++) {
        if (!(set[cpu / bits] >> (cpu % bits) & 1)) continue;
        if (count < capacity) cpus[count] = (int32_t)cpu;
        count++;
    }
    return count;
}

#else

size_t ck_cpu_allowed(int32_t *cpus, size_t capacity) {
    (void)cpus;
    (void)capacity;
    return 0;
}

#endif
