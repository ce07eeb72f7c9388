// The routines of LAPACK and CBLAS that are used, as their definitions have them: OpenBLAS's own headers bring everything.
// Matrices are in column-major order; `ld` is the distance of columns.
#pragma once

// A = L L^T of a symmetric n x n matrix, in place; uplo 'L' reads and writes the lower triangle. With 'U', A = U^T U.
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);
// The inverse of a triangular matrix, in place; diag 'N': its diagonal is not all ones.
void dtrtri_(const char *uplo, const char *diag, const int *n, double *a, const int *lda, int *info);
// The eigenvalues of a symmetric matrix in ascending order; with jobz 'N' no vectors. Destroys A.
void dsyevd_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda, double *w, double *work,
             const int *lwork, int *iwork, const int *liwork, int *info);
// A = Q R; R replaces the upper triangle.
void dgeqrf_(const int *m, const int *n, double *a, const int *lda, double *tau, double *work, const int *lwork, int *info);
// A = U diag(s) V^T of an m x n matrix, s descending; jobz 'S' gives min(m, n) columns of U and rows of V^T. Destroys A.
void dgesdd_(const char *jobz, const int *m, const int *n, double *a, const int *lda, double *s, double *u, const int *ldu,
             double *vt, const int *ldvt, double *work, const int *lwork, int *iwork, int *info);

typedef enum CBLAS_ORDER { CblasRowMajor = 101, CblasColMajor = 102 } CBLAS_ORDER;
typedef enum CBLAS_TRANSPOSE { CblasNoTrans = 111, CblasTrans = 112 } CBLAS_TRANSPOSE;
typedef enum CBLAS_UPLO { CblasUpper = 121, CblasLower = 122 } CBLAS_UPLO;
typedef enum CBLAS_DIAG { CblasNonUnit = 131, CblasUnit = 132 } CBLAS_DIAG;
typedef enum CBLAS_SIDE { CblasLeft = 141, CblasRight = 142 } CBLAS_SIDE;

// C = alpha A B + beta C, C of m x n, A and B transposed first if asked for.
void cblas_dgemm(CBLAS_ORDER order, CBLAS_TRANSPOSE transA, CBLAS_TRANSPOSE transB, int m, int n, int k, double alpha,
                 const double *a, int lda, const double *b, int ldb, double beta, double *c, int ldc);
void cblas_sgemm(CBLAS_ORDER order, CBLAS_TRANSPOSE transA, CBLAS_TRANSPOSE transB, int m, int n, int k, float alpha,
                 const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
// B = alpha A B or, from the right, alpha B A, of m x n B and triangular A.
void cblas_dtrmm(CBLAS_ORDER order, CBLAS_SIDE side, CBLAS_UPLO uplo, CBLAS_TRANSPOSE transA, CBLAS_DIAG diag, int m, int n,
                 double alpha, const double *a, int lda, double *b, int ldb);
// The same with the inverse of A.
void cblas_dtrsm(CBLAS_ORDER order, CBLAS_SIDE side, CBLAS_UPLO uplo, CBLAS_TRANSPOSE transA, CBLAS_DIAG diag, int m, int n,
                 double alpha, const double *a, int lda, double *b, int ldb);
