// Rotary position embedding of one head: plain loops that the compiler turns into vector code for every machine.
#include "ck_attention.h"

void ck_rotate_halves(float *restrict row, size_t pairs, const float *cosines, const float *sines) {
    for (size_t i = 0; i < pairs; i++) {
        const float u = row[i], v = row[i + pairs];
        row[i] = u * cosines[i] - v * sines[i];
        row[i + pairs] = v * cosines[i] + u * sines[i];
    }
}

void ck_rotate_interleaved(float *restrict row, size_t pairs, const float *cosines, const float *sines) {
    for (size_t i = 0; i < pairs; i++) {
        const float u = row[2 * i], v = row[2 * i + 1];
        row[2 * i] = u * cosines[i] - v * sines[i];
        row[2 * i + 1] = v * cosines[i] + u * sines[i];
    }
}
