/* The transform of kernels/hadamard.h over a tile of f32, with the order of additions that is fixed there: levels,
 * h = 1, 2, 4 .., then bases.
 *
 * A thread takes 32 elements through several levels in registers; between passes the tile is exchanged through shared
 * memory. That moves 8 bytes of every element for up to five levels, where shuffles move 4 for each level:
 *
 *   first pass    32 consecutive elements: h = 1 to 16
 *   two others    2^levels elements that are h apart, of up to four columns: h = 32, then h = 32 * 2^levels
 *   bases         4 rows of a base for 8 columns, all is read before anything is written; or all rows of a column
 *
 * so n = 32768 takes three passes and two exchanges. In shared memory four floats of nothing follow 32 of the tile:
 * eight lanes that read 32 consecutive elements each meet eight different groups of banks, and lanes that read along
 * them do not notice. Addresses stay sums, of which a thread needs a few registers for all of its 32.
 *
 * A rotation is krn_cuda_rotation or krn_cuda_head_rotation.
 *
 * Loads are told as load(tile, i, x), 32 elements from i on, zeros behind the last; where memory has them one by one,
 * they go through the thread's own part of shared memory. Stores are told as store(place, Values<C>), C elements. */
#ifndef KRN_CUDA_TRANSFORM_H
#define KRN_CUDA_TRANSFORM_H

#include "cuda/common/elements.cuh"
#include "cuda/hadamard/rotation_params.h"
#include "cuda/ptx/arithmetic.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/bits.h"

namespace kernels {

template <int32_t count> struct alignas(4 * count) Values { float at[count]; };

/* Element first + row * 2^shift of a tile. When shift is 5 at least, or the place within the 32 elements of `first`,
 * its address is the sum of two as well. */
struct Place {
    int32_t first, row, shift;

    KRN_DEVICE_MEMBER int32_t index() const { return first + (row << shift); }
};

/* A tile and the thread's place in its block; `elems` is a multiple of n. */
struct Tile {
    ptx::SharedAddress memory;
    int32_t elems, rank, threads;

    KRN_DEVICE_MEMBER ptx::SharedAddress address(int32_t i) const {
        return memory + static_cast<uint32_t>(4 * i + (i >> 5) * (KRN_CUDA_ROTATION_ROW_BYTES - 128));
    }

    KRN_DEVICE_MEMBER ptx::SharedAddress address(const Place &at) const {
        const int32_t step = at.shift < 5 ? 4 << at.shift : KRN_CUDA_ROTATION_ROW_BYTES << (at.shift - 5);
        return address(at.first) + static_cast<uint32_t>(at.row * step);
    }

    /* Of `count` elements, 1, 2 or 4, the first of which is a multiple of that. */
    template <int32_t count> KRN_DEVICE_MEMBER Values<count> load(const Place &at) const {
        return ptx::load_shared<Values<count>>(address(at));
    }

    template <int32_t count> KRN_DEVICE_MEMBER void store(const Place &at, const Values<count> &values) const {
        ptx::store_shared(address(at), values);
    }
};

/* `levels` levels over rows of `columns` elements each. */
template <int32_t rows, int32_t columns> KRN_DEVICE void butterflies(float (&x)[rows * columns], int32_t levels) {
    KRN_UNROLL_ALL
    for (int32_t level = 0; 1 << level < rows; level++) {
        if (level >= levels)
            break;
        const int32_t half = columns << level;
        KRN_UNROLL_ALL
        for (int32_t i = 0; i < rows * columns; i++) {
            if ((i & half) == 0) {
                const float a = x[i], b = x[i + half];
                x[i] = ptx::add_rn(a, b);
                x[i + half] = ptx::sub_rn(a, b);
            }
        }
    }
}

KRN_DEVICE float negate_if(float x, uint32_t bit) { return ptx::bits_as<float>(ptx::bits_as<uint32_t>(x) ^ bit << 31); }

/* Signs of elements i..i+31, one to a bit, i a multiple of 32; those from `elems` on mean nothing. */
KRN_DEVICE uint32_t signs_of_32(const uint8_t *signs, int32_t n, int32_t i, int32_t elems) {
    if (n % 32 == 0)
        return ptx::load_global_nc(reinterpret_cast<const uint32_t *>(signs) + i % n / 32);
    uint32_t bits = 0;
    KRN_UNROLL_NONE
    for (int32_t e = 0; e < 32 && i + e < elems; e++) {
        const int32_t at = (i + e) % n;
        bits |= static_cast<uint32_t>(ptx::load_global_nc(signs + at / 8) >> at % 8 & 1) << e;
    }
    return bits;
}

/* Elements of the tile that this thread wrote. */
KRN_DEVICE void load_own_32(const Tile &t, int32_t i, float (&x)[32]) {
    KRN_UNROLL_ALL
    for (int32_t e = 0; e < KRN_CUDA_ROTATION_ELEMS; e += QUAD) {
        const Values<QUAD> values = t.load<QUAD>({i, e, 0});
        KRN_UNROLL_ALL
        for (int32_t j = 0; j < QUAD; j++)
            x[e + j] = values.at[j];
    }
}

/* What remains to be done behind all passes. The elements of a place are those of one block, and their signs of one byte,
 * but in blocks of one or two, whose signs repeat. */
template <int32_t count, class Rotation>
KRN_DEVICE void finish_values(const Rotation &r, const Place &place, Values<count> &values) {
    KRN_UNROLL_ALL
    for (int32_t e = 0; e < count; e++)
        values.at[e] = ptx::mul_rn(values.at[e], r.scale);
    if (r.signs_after == nullptr)
        return;
    const int32_t at = place.first % r.n + (place.row << place.shift);
    uint32_t signs = static_cast<uint32_t>(ptx::load_global_nc(r.signs_after + at / 8)) >> at % 8;
    if (r.n < QUAD)
        signs = r.n == 1 ? (signs & 1) * 15 : (signs & 3) * 5;
    KRN_UNROLL_ALL
    for (int32_t e = 0; e < count; e++)
        values.at[e] = negate_if(values.at[e], signs >> e & 1);
}

/* A load of first_pass, from global memory. */
template <int32_t type>
KRN_DEVICE void load_32(const Tile &t, const void *source, int32_t i, bool is_aligned, float (&x)[32]) {
    if (is_aligned && i + KRN_CUDA_ROTATION_ELEMS <= t.elems) {
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < KRN_CUDA_ROTATION_ELEMS; e += 2 * QUAD) {
            Quad low, high;
            load_octet<type>(source, i + e, 2 * QUAD, true, low, high);
            KRN_UNROLL_ALL
            for (int32_t j = 0; j < QUAD; j++) {
                x[e + j] = low.at[j];
                x[e + QUAD + j] = high.at[j];
            }
        }
        return;
    }
    KRN_UNROLL_NONE
    for (int32_t e = 0; e < KRN_CUDA_ROTATION_ELEMS; e++)
        t.store(Place{i, e, 0}, Values<1>{{i + e < t.elems ? load_element<type>(source, i + e) : 0.0f}});
    load_own_32(t, i, x);
}

template <class Rotation, class Load> KRN_DEVICE void first_pass(const Tile &t, const Rotation &r, Load load) {
    for (int32_t i = KRN_CUDA_ROTATION_ELEMS * t.rank; i < t.elems; i += KRN_CUDA_ROTATION_ELEMS * t.threads) {
        float x[KRN_CUDA_ROTATION_ELEMS];
        load(t, i, x);
        if (r.signs_before != nullptr) {
            const uint32_t signs = signs_of_32(r.signs_before, r.n, i, t.elems);
            KRN_UNROLL_ALL
            for (int32_t e = 0; e < KRN_CUDA_ROTATION_ELEMS; e++)
                x[e] = negate_if(x[e], signs >> e & 1);
        }
        butterflies<KRN_CUDA_ROTATION_ELEMS, 1>(x, r.first_levels);
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < KRN_CUDA_ROTATION_ELEMS; e += QUAD)
            t.store(Place{i, e, 0}, Values<QUAD>{{x[e], x[e + 1], x[e + 2], x[e + 3]}});
    }
}

/* Levels h = 2^shift and on; with none, what there is goes on to the store. */
template <int32_t levels, class Store> KRN_DEVICE void strided_pass(const Tile &t, int32_t shift, Store store) {
    constexpr int32_t rows = 1 << levels, columns = rows <= 8 ? QUAD : KRN_CUDA_ROTATION_ELEMS / rows;
    const int32_t groups = (t.elems + rows * columns - 1) / (rows * columns);
    for (int32_t g = t.rank; g < groups; g += t.threads) {
        const int32_t column = g * columns;
        const int32_t first = column >> shift << (shift + levels) | (column & ((1 << shift) - 1));
        float x[rows * columns];
        /* One address that moves on: 32 of them beside 32 elements would not fit the registers. */
        int32_t next = first;
        KRN_UNROLL_ALL
        for (int32_t row = 0; row < rows; row++) {
            const auto values = t.load<columns>({next, 0, 0});
            next = ptx::renewed(next + (1 << shift));
            KRN_UNROLL_ALL
            for (int32_t c = 0; c < columns; c++)
                x[row * columns + c] = values.at[c];
        }
        butterflies<rows, columns>(x, levels);
        const int32_t first_again = ptx::renewed(first);
        KRN_UNROLL_ALL
        for (int32_t row = 0; row < rows; row++) {
            Values<columns> values;
            KRN_UNROLL_ALL
            for (int32_t c = 0; c < columns; c++)
                values.at[c] = x[row * columns + c];
            store(Place{first_again, row, shift}, values);
        }
    }
}

template <class Store> KRN_DEVICE void strided_pass_of(const Tile &t, int32_t levels, int32_t shift, Store store) {
    switch (levels) {
    case 0: strided_pass<0>(t, shift, store); break;
    case 1: strided_pass<1>(t, shift, store); break;
    case 2: strided_pass<2>(t, shift, store); break;
    case 3: strided_pass<3>(t, shift, store); break;
    case 4: strided_pass<4>(t, shift, store); break;
    default: strided_pass<5>(t, shift, store); break;
    }
}

/* The sum of four elements with the signs that the lowest bits of `signs` are, the first sign taken out of it. */
KRN_DEVICE float signed_sum(const float (&x)[4], uint32_t signs) {
    const float low = ptx::add_rn(x[0], negate_if(x[1], signs ^ signs >> 1));
    const float high = ptx::add_rn(x[2], negate_if(x[3], signs >> 2 ^ signs >> 3));
    return negate_if(ptx::add_rn(low, negate_if(high, signs ^ signs >> 2)), signs);
}

/* Base b over elements `stride` apart. An item is four rows of it for one column; a thread keeps the sums of all of its
 * items until the whole block has read. Blocks have threads enough (rotation.h). */
template <class Rotation, class Store>
KRN_DEVICE void base_pass(const Tile &t, const Rotation &r, int32_t b, int32_t stride, Store store) {
    constexpr int32_t ITEMS = KRN_CUDA_ROTATION_BASE_ITEMS;
    const int32_t order = r.orders[b], quads = order / 4, columns = t.elems / order;
    float sums[ITEMS][4];
    KRN_UNROLL_ALL
    for (int32_t u = 0; u < ITEMS; u++) {
        const int32_t item = t.rank + u * t.threads, column = item % columns, rows = item / columns;
        if (rows >= quads)
            break;
        const int32_t first = column / stride * stride * order + column % stride;
        KRN_UNROLL_NONE
        for (int32_t q = 0; q < quads; q++) {
            float x[4];
            KRN_UNROLL_ALL
            for (int32_t e = 0; e < 4; e++)
                x[e] = t.load<1>({first + (4 * q + e) * stride, 0, 0}).at[0];
            const uint32_t signs = r.signs[r.first_words[b] + rows * quads + q];
            KRN_UNROLL_ALL
            for (int32_t row = 0; row < 4; row++) {
                const float term = signed_sum(x, signs >> 4 * row);
                sums[u][row] = q == 0 ? term : ptx::add_rn(sums[u][row], term);
            }
        }
    }
    ptx::sync_threads();
    /* Places are found again, rather than kept beside the sums. */
    const int32_t rank = ptx::renewed(t.rank);
    KRN_UNROLL_ALL
    for (int32_t u = 0; u < ITEMS; u++) {
        const int32_t item = rank + u * t.threads, column = item % columns, rows = item / columns;
        if (rows >= quads)
            break;
        const int32_t first = column / stride * stride * order + column % stride;
        KRN_UNROLL_ALL
        for (int32_t row = 0; row < 4; row++)
            store(Place{first + (4 * rows + row) * stride, 0, 0}, Values<1>{{sums[u][row]}});
    }
}

} // namespace kernels

#include "cuda/hadamard/constant_base.cuh"

namespace kernels {

/* The order of the base whose signs are constants, or 0: heads are too short for one to pay. */
KRN_DEVICE int32_t constant_order(const krn_cuda_rotation &r) { return r.constant_order; }
KRN_DEVICE int32_t constant_order(const krn_cuda_head_rotation &) { return 0; }

/* All passes; what the last one makes goes to `finish`, which is not told to scale. A block transforms one tile. */
template <class Rotation, class Load, class Finish>
KRN_DEVICE void transform(const Tile &t, const Rotation &r, Load load, Finish finish) {
    const auto keep = [&](const Place &at, const auto &values) { t.store(at, values); };
    first_pass(t, r, load);
    /* What a pass has to know is in the parameters: nothing but its number takes a register beside 32 elements. Without
     * bases there is a second pass, if only to write. */
    KRN_UNROLL_NONE
    for (int32_t pass = 0; pass < 2; pass++) {
        if (r.pass_levels[pass] == 0 && (pass > 0 || r.num_bases > 0))
            break;
        ptx::sync_threads();
        const int32_t shift = r.first_levels + (pass == 0 ? 0 : r.pass_levels[0]);
        if (r.num_bases > 0 || (pass == 0 && r.pass_levels[1] > 0))
            strided_pass_of(t, r.pass_levels[pass], shift, keep);
        else
            strided_pass_of(t, r.pass_levels[pass], shift, finish);
    }
    /* Apart from the loop, so that nothing of it is kept beside the sums of the others. */
    if (const int32_t order = constant_order(r); order != 0) {
        ptx::sync_threads();
        constant_base_pass_of(t, order, r.first_levels + r.pass_levels[0] + r.pass_levels[1], finish);
        return;
    }
    KRN_UNROLL_NONE
    for (int32_t b = 0; b < r.num_bases; b++) {
        ptx::sync_threads();
        int32_t stride = 1 << (r.first_levels + r.pass_levels[0] + r.pass_levels[1]);
        for (int32_t before = 0; before < b; before++)
            stride *= r.orders[before];
        if (b + 1 < r.num_bases)
            base_pass(t, r, b, stride, keep);
        else
            base_pass(t, r, b, stride, finish);
    }
}

/* Transforms what lies in the tile, up to a multiple of 32 elements, and leaves it there. Begins and ends with a
 * barrier. The kernels of a file share it: it is most of their instructions. */
template <class Rotation> KRN_DEVICE_CALLED void transform_in_place(Tile t, const Rotation &r) {
    ptx::sync_threads();
    transform(
        t, r, [](const Tile &tile, int32_t i, float(&x)[32]) { load_own_32(tile, i, x); },
        [&](const Place &at, auto values) {
            finish_values(r, at, values);
            t.store(at, values);
        });
    ptx::sync_threads();
}

} // namespace kernels

#endif
