// CALL(rows) with the count of rows of x known to the compiler, so that accumulators live in registers.
#pragma once

#define CK_FOR_ROWS_4(rows, CALL)                                                                                                \
    switch (rows) {                                                                                                              \
    case 1: CALL(1); break;                                                                                                      \
    case 2: CALL(2); break;                                                                                                      \
    case 3: CALL(3); break;                                                                                                      \
    case 4: CALL(4); break;                                                                                                      \
    }

#define CK_FOR_ROWS_8(rows, CALL)                                                                                                \
    switch (rows) {                                                                                                              \
    case 1: CALL(1); break;                                                                                                      \
    case 2: CALL(2); break;                                                                                                      \
    case 3: CALL(3); break;                                                                                                      \
    case 4: CALL(4); break;                                                                                                      \
    case 5: CALL(5); break;                                                                                                      \
    case 6: CALL(6); break;                                                                                                      \
    case 7: CALL(7); break;                                                                                                      \
    case 8: CALL(8); break;                                                                                                      \
    }

#define CK_FOR_ROWS_12(rows, CALL)                                                                                               \
    switch (rows) {                                                                                                              \
    case 1: CALL(1); break;                                                                                                      \
    case 2: CALL(2); break;                                                                                                      \
    case 3: CALL(3); break;                                                                                                      \
    case 4: CALL(4); break;                                                                                                      \
    case 5: CALL(5); break;                                                                                                      \
    case 6: CALL(6); break;                                                                                                      \
    case 7: CALL(7); break;                                                                                                      \
    case 8: CALL(8); break;                                                                                                      \
    case 9: CALL(9); break;                                                                                                      \
    case 10: CALL(10); break;                                                                                                    \
    case 11: CALL(11); break;                                                                                                    \
    case 12: CALL(12); break;                                                                                                    \
    }
