/* From options to a plan: all checks of options, and how n is split into bases. */
#include "hadamard/hadamard_plan.h"

#include "common/status.h"

#include <math.h>
#include <stddef.h>

/* The orders of bases, ascending. */
typedef struct {
    int32_t count;
    int32_t orders[KRN_HADAMARD_MAX_BASES];
} split;

static int64_t sum_of(const split *s) {
    int64_t sum = 0;
    for (int32_t i = 0; i < s->count; i++)
        sum += s->orders[i];
    return sum;
}

/* Splits `odd` > 1 into exactly `count` factors that are at least `lowest` and have bases: into `best` when it has none
 * yet or a larger sum. `so_far` holds the factors found before. */
static void find_split(int64_t odd, int64_t lowest, int32_t count, split so_far, split *best) {
    if (count == 1) {
        if (odd < lowest || !krn_hadamard_has_base(4 * odd))
            return;
        so_far.orders[so_far.count++] = (int32_t)(4 * odd);
        if (best->count == 0 || sum_of(&so_far) < sum_of(best))
            *best = so_far;
        return;
    }
    for (int64_t factor = lowest; factor <= KRN_HADAMARD_MAX_ORDER / 4 && factor * factor <= odd; factor += 2) {
        if (odd % factor != 0 || !krn_hadamard_has_base(4 * factor))
            continue;
        split next = so_far;
        next.orders[next.count++] = (int32_t)(4 * factor);
        find_split(odd / factor, factor, count - 1, next, best);
    }
}

static krn_status split_order(int64_t n, int32_t *levels, split *bases) {
    if (n < 1 || n > KRN_HADAMARD_MAX_N)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "n is %lld, not in 1..%d", (long long)n, KRN_HADAMARD_MAX_N);
    int32_t twos = 0;
    int64_t odd = n;
    for (; odd % 2 == 0; odd /= 2)
        twos++;
    *bases = (split){0};
    for (int32_t count = 1; count <= KRN_HADAMARD_MAX_BASES && 2 * count <= twos && odd > 1 && bases->count == 0;
         count++)
        find_split(odd, 3, count, (split){0}, bases);
    if (odd > 1 && bases->count == 0)
        return krn_fail(KRN_ERROR_UNSUPPORTED,
                        "n is %lld = 2^%d * %lld, for whose odd part there are no Hadamard matrices here", (long long)n,
                        twos, (long long)odd);
    *levels = twos - 2 * bases->count;
    return KRN_OK;
}

static void put_bases(const split *orders, int32_t transposed, krn_hadamard_plan *plan) {
    plan->num_bases = orders->count;
    for (int32_t b = 0; b < orders->count; b++)
        plan->bases[b] = krn_hadamard_base_of(orders->orders[b], transposed);
}

krn_status krn_hadamard_supported(int64_t n) {
    int32_t levels;
    split bases;
    return split_order(n, &levels, &bases);
}

krn_status krn_hadamard_make_plan(const krn_hadamard_options *options, krn_hadamard_plan *plan) {
    if (options == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "options is NULL");
    if (options->struct_size != sizeof(krn_hadamard_options))
        return krn_fail(KRN_ERROR_STRUCT_SIZE, "options->struct_size is %u, this library knows %u",
                        options->struct_size, (unsigned)sizeof(krn_hadamard_options));
    if (options->normalized != 0 && options->normalized != 1)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->normalized is %d, neither 0 nor 1", options->normalized);
    if (options->inverse != 0 && options->inverse != 1)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->inverse is %d, neither 0 nor 1", options->inverse);
    if (options->flags != 0)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "options->flags is %d, must be 0", options->flags);
    split bases;
    krn_hadamard_plan made = {.n = options->n};
    const krn_status status = split_order(options->n, &made.levels, &bases);
    if (status != KRN_OK)
        return status;
    put_bases(&bases, options->inverse, &made);
    made.scale = options->normalized ? (float)(1 / sqrt((double)options->n)) : 1;
    made.signs_before = options->inverse ? options->signs_after : options->signs_before;
    made.signs_after = options->inverse ? options->signs_before : options->signs_after;
    *plan = made;
    return KRN_OK;
}

krn_status krn_hadamard_random_signs(uint64_t seed, int64_t n, uint8_t *signs) {
    if (n < 1 || n > KRN_HADAMARD_MAX_N)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "n is %lld, not in 1..%d", (long long)n, KRN_HADAMARD_MAX_N);
    if (signs == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "signs is NULL");
    for (int64_t i = 0; i < (n + 7) / 8; i++) {
        uint64_t z = seed + ((uint64_t)i / 8 + 1) * UINT64_C(0x9E3779B97F4A7C15);
        z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
        z ^= z >> 31;
        const unsigned used = n - 8 * i >= 8 ? 0xFF : (1u << (n - 8 * i)) - 1;
        signs[i] = (uint8_t)((z >> (i % 8 * 8)) & used);
    }
    return KRN_OK;
}

krn_status krn_hadamard_matrix(int64_t n, int8_t *matrix) {
    int32_t levels;
    split orders;
    const krn_status status = split_order(n, &levels, &orders);
    if (status != KRN_OK)
        return status;
    if (n > 32768)
        return krn_fail(KRN_ERROR_INVALID_ARGUMENT, "n is %lld, above 32768", (long long)n);
    if (matrix == NULL)
        return krn_fail(KRN_ERROR_NULL_ARGUMENT, "matrix is NULL");
    krn_hadamard_plan plan = {0};
    put_bases(&orders, 0, &plan);
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < n; j++) {
            /* Sylvester: -1 where i and j have an odd number of common bits. */
            int64_t row = i >> levels, col = j >> levels, common = i & j & (((int64_t)1 << levels) - 1);
            int negative = 0;
            for (; common != 0; common &= common - 1)
                negative ^= 1;
            for (int32_t b = 0; b < plan.num_bases; b++) {
                const int32_t m = plan.bases[b].order;
                negative ^= plan.bases[b].signs[row % m * (m / 4) + col % m / 4] >> (4 + col % m % 4) & 1;
                row /= m;
                col /= m;
            }
            matrix[i * n + j] = negative ? -1 : 1;
        }
    }
    return KRN_OK;
}
