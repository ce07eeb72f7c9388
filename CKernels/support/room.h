// Hands out scratch piece by piece; without memory it only counts, for the functions that say how much a kernel needs.
#pragma once
#include <stddef.h>

typedef struct {
    char *base;
    size_t bytes;
} ck_room;

// NULL where there is no memory: nothing is added to a null pointer.
static inline void *ck_room_take(ck_room *room, size_t bytes) {
    void *taken = room->base ? room->base + room->bytes : NULL;
    room->bytes += bytes;
    return taken;
}
