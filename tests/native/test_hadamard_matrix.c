/* Hadamard matrices: H H^T = n I in exact integers for every order, and the orders that models need. */
#include "check.h"

#include "hadamard/hadamard_plan.h"

#include <stdlib.h>
#include <string.h>

/* Rows as bits, so that a scalar product is a population count. */
enum { MAX_MATRIX = 1024, WORDS = MAX_MATRIX / 64 };
static uint64_t rows_as_bits[MAX_MATRIX][WORDS];

static int count_bits(uint64_t x) {
    int count = 0;
    for (; x != 0; x &= x - 1)
        count++;
    return count;
}

static void check_orthogonal(int64_t n, const int8_t *matrix) {
    memset(rows_as_bits, 0, sizeof rows_as_bits);
    for (int64_t i = 0; i < n * n; i++) {
        CHECK(matrix[i] == 1 || matrix[i] == -1, "entry %lld of H_%lld is %d", (long long)i, (long long)n, matrix[i]);
        if (matrix[i] < 0)
            rows_as_bits[i / n][i % n / 64] |= UINT64_C(1) << (i % n % 64);
    }
    for (int64_t a = 0; a < n; a++) {
        for (int64_t b = 0; b < a; b++) {
            int64_t different = 0;
            for (int64_t w = 0; w < (n + 63) / 64; w++)
                different += count_bits(rows_as_bits[a][w] ^ rows_as_bits[b][w]);
            CHECK(n - 2 * different == 0, "rows %lld and %lld of H_%lld have the product %lld", (long long)a,
                  (long long)b, (long long)n, (long long)(n - 2 * different));
        }
    }
}

/* Up to 1024 a single base is enough, and bases exist for all odd numbers up to 63 but two. */
static int is_expected(int64_t n) {
    int64_t odd = n;
    while (odd % 2 == 0)
        odd /= 2;
    return odd == 1 || (n % 4 == 0 && odd <= 63 && odd != 47 && odd != 59);
}

/* Every order up to 1024 either has an orthogonal matrix or is refused. */
static void every_matrix_is_orthogonal(void) {
    int8_t *matrix = malloc(MAX_MATRIX * MAX_MATRIX);
    CHECK(matrix != NULL, "out of memory");
    for (int64_t n = 1; n <= MAX_MATRIX; n++) {
        const krn_status status = krn_hadamard_supported(n);
        CHECK(status == (is_expected(n) ? KRN_OK : KRN_ERROR_UNSUPPORTED), "order %lld: %s", (long long)n,
              krn_status_name(status));
        memset(matrix, 0, (size_t)(n * n));
        CHECK_STATUS(krn_hadamard_matrix(n, matrix), status);
        if (status != KRN_OK) {
            CHECK(matrix[0] == 0, "a matrix of order %lld was written", (long long)n);
            continue;
        }
        check_orthogonal(n, matrix);
    }
    free(matrix);
}

int main(void) {
    every_matrix_is_orthogonal();
    puts("hadamard matrices: ok");
    return 0;
}
