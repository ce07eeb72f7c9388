// Bitmap expansion without an expand instruction: one byte of the mask selects a byte shuffle. Include inside an ISA region.
//
// Loads 16 bytes at a value; packed values end in 64 bytes of zeros, so the last load stays inside.
#pragma once

// The shuffle that puts the next values into the set positions of a mask of 8 words; 0x80 gives zero.
#define EXPAND_WORD(mask, bit)                                                                                                   \
    ((mask) >> (bit) & 1 ? 2 * __builtin_popcount((mask) & ((1 << (bit)) - 1)) : 0x80),                                          \
        ((mask) >> (bit) & 1 ? 2 * __builtin_popcount((mask) & ((1 << (bit)) - 1)) + 1 : 0x80)
#define EXPAND_WORDS(mask)                                                                                                       \
    {EXPAND_WORD(mask, 0), EXPAND_WORD(mask, 1), EXPAND_WORD(mask, 2), EXPAND_WORD(mask, 3),                                     \
     EXPAND_WORD(mask, 4), EXPAND_WORD(mask, 5), EXPAND_WORD(mask, 6), EXPAND_WORD(mask, 7)}
// The same for a mask of 8 bytes.
#define EXPAND_BYTE(mask, bit) ((mask) >> (bit) & 1 ? __builtin_popcount((mask) & ((1 << (bit)) - 1)) : 0x80)
#define EXPAND_BYTES(mask)                                                                                                       \
    {EXPAND_BYTE(mask, 0), EXPAND_BYTE(mask, 1), EXPAND_BYTE(mask, 2), EXPAND_BYTE(mask, 3),                                     \
     EXPAND_BYTE(mask, 4), EXPAND_BYTE(mask, 5), EXPAND_BYTE(mask, 6), EXPAND_BYTE(mask, 7)}

#define MASKS_4(ROW, m)  ROW(m), ROW((m) + 1), ROW((m) + 2), ROW((m) + 3)
#define MASKS_16(ROW, m) MASKS_4(ROW, m), MASKS_4(ROW, (m) + 4), MASKS_4(ROW, (m) + 8), MASKS_4(ROW, (m) + 12)
#define MASKS_64(ROW, m) MASKS_16(ROW, m), MASKS_16(ROW, (m) + 16), MASKS_16(ROW, (m) + 32), MASKS_16(ROW, (m) + 48)
#define MASKS_256(ROW)   MASKS_64(ROW, 0), MASKS_64(ROW, 64), MASKS_64(ROW, 128), MASKS_64(ROW, 192)
