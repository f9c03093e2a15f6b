/* The pass over a base by mma.sync: a base of order m times a matrix of m rows, an element's place along the base, and
 * all columns of the tile. Entries of the base are +-1, exact; elements are f32 sums, in two pieces of bf16
 * (matrix_levels.cuh).
 *
 * A warp takes 16 neighbouring columns and up to 48 rows of the base, and reads all m elements of its columns for them:
 *
 *   operand a   16 rows of the base, made of the signs in the parameters
 *   operand b   column g of tile i is column 2 g + i, so that a lane loads two columns at once; in d it then has
 *               columns 4 t .. 4 t + 3, and a row's 16 columns are written as 32 bytes by four lanes
 *
 * Rows and k behind the order are zeros. What is made goes to the target, never to the tile: warps need not wait.
 *
 * The four t of a load have elements of other rows, 2^shift elements and more apart, which from 2^6 on are in the
 * same banks. So elements are kept where shuffled() says: groups of eight change places within 32, another way for
 * each t. */
#ifndef KRN_CUDA_MATRIX_BASE_H
#define KRN_CUDA_MATRIX_BASE_H

#include "cuda/hadamard/matrix_levels.cuh"

namespace kernels {

constexpr int32_t BASE_TILES = 3, BASE_COLUMNS = 16;

/* Where element i is, if bases are read from what the first pass wrote. */
KRN_DEVICE int32_t shuffled(const krn_cuda_rotation &r, int32_t i) {
    if (r.num_bases == 0 || r.pass_levels[0] > 0 || r.first_levels < 6)
        return i;
    return i ^ (i >> (r.first_levels + 1) & 3) << 3;
}

/* The signs of rows `rows` .. `rows` + 3 and k .. k + 3, both multiples of 4, as ones of bf16: this lane's two of
 * them. */
KRN_DEVICE uint32_t base_pair(const krn_cuda_rotation &r, int32_t rows, int32_t k) {
    const int32_t quads = r.orders[0] / 4, lane = ptx::lane();
    if (rows / 4 >= quads || k / 4 >= quads)
        return 0;
    const uint32_t signs = r.signs[r.first_words[0] + rows / 4 * quads + k / 4];
    return Pieces16::ONES ^ sign_pair(signs >> (lane / 4 % 4 * 4 + lane % 2 * 2));
}

/* Columns 4 t .. of row g of d: the pairs of two tiles, of which each has every second column. */
KRN_DEVICE Values<QUAD> columns_of(const float (&d)[2][4], int32_t half) {
    return {{d[0][2 * half], d[1][2 * half], d[0][2 * half + 1], d[1][2 * half + 1]}};
}

/* Elements of a column lie 2^shift apart, shift 5 at least. */
template <class Store>
KRN_DEVICE void matrix_base_pass(const Tile &t, const krn_cuda_rotation &r, int32_t shift, Store store) {
    const int32_t order = r.orders[0], row_tiles = (order + 15) / 16, groups = t.elems / order / BASE_COLUMNS;
    const int32_t items = groups * ((row_tiles + BASE_TILES - 1) / BASE_TILES);
    const int32_t g = ptx::lane() / 4, pair = ptx::lane() % 4;
    KRN_UNROLL_NONE
    for (int32_t item = t.rank / 32; item < items; item += t.threads / 32) {
        const int32_t first = first_of(item % groups * BASE_COLUMNS, shift, order);
        const int32_t first_row = item / groups * (16 * BASE_TILES);
        float sums[BASE_TILES][2][4] = {};
        KRN_UNROLL_NONE
        for (int32_t k = 0; k < order; k += 16) {
            uint32_t high[2][2] = {}, low[2][2] = {};
            KRN_UNROLL_ALL
            for (int32_t b = 0; b < 2; b++) {
                const int32_t at = k + 8 * b + 2 * pair;
                if (at >= order)
                    continue;
                const int32_t i = first + 2 * g + (at << shift);
                const auto even = t.load<2>({shuffled(r, i), 0, 0});
                const auto odd = t.load<2>({shuffled(r, i + (1 << shift)), 0, 0});
                KRN_UNROLL_ALL
                for (int32_t c = 0; c < 2; c++)
                    split(even.at[c], odd.at[c], high[c][b], low[c][b]);
            }
            KRN_UNROLL_ALL
            for (int32_t m = 0; m < BASE_TILES; m++) {
                const int32_t rows = first_row + 16 * m;
                if (rows >= order)
                    break;
                uint32_t a[4];
                KRN_UNROLL_ALL
                for (int32_t i = 0; i < 4; i++)
                    a[i] = base_pair(r, rows + i % 2 * 8 + g / 4 * 4, k + i / 2 * 8 + pair / 2 * 4);
                KRN_UNROLL_ALL
                for (int32_t i = 0; i < 2; i++)
                    multiply_pieces(sums[m][i], a, high[i], low[i]);
            }
        }
        KRN_UNROLL_ALL
        for (int32_t m = 0; m < BASE_TILES; m++)
            KRN_UNROLL_ALL
            for (int32_t half = 0; half < 2; half++) {
                const int32_t row = first_row + 16 * m + 8 * half + g;
                if (row < order)
                    store(Place{first + 4 * pair, row, shift}, columns_of(sums[m], half));
            }
    }
}

} // namespace kernels

#endif
