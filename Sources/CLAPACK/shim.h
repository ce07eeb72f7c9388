// The two routines of LAPACK that are used, as Fortran has them: OpenBLAS brings them without a header of its own.
#pragma once

// A = L L^T of a symmetric n x n matrix in column-major order, in place; uplo 'L' reads and writes the lower triangle.
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);
// The inverse of A from its factor L, in place.
void dpotri_(const char *uplo, const int *n, double *a, const int *lda, int *info);
