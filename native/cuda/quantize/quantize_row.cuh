/* A team quantizes a row. What the row is, is told by a `Source`:
 *
 *   Quad quad(int32_t i)        values i..i+3, i a multiple of 4; those behind the row mean nothing
 *   float element(int32_t i)    one of them
 *
 * It is asked for every value twice, once for the range and once for the code, by any member. */
#ifndef KRN_CUDA_QUANTIZE_ROW_H
#define KRN_CUDA_QUANTIZE_ROW_H

#include "cuda/common/row_team.cuh"
#include "cuda/quantize/codes.cuh"

namespace kernels {

/* A row that is not finite: codes of the zero point (0 of a codebook), and scales that no GEMM takes for a result. */
KRN_DEVICE void write_bad_row(const Team &team, const krn_cuda_codes &p, uint8_t *codes, int32_t cols) {
    const int32_t zero = p.is_static ? p.static_zero_point : p.scheme.zero;
    const Scale scale = {p.is_static ? p.static_scale : ptx::bits_as<float>(0x7FC00000u), zero};
    for (int32_t b = team.rank; b < p.blocks_per_row; b += team.threads)
        store_scale(p, team.row * p.scales_per_row + b, scale);
    for (int32_t i = QUAD * team.rank; i < cols; i += QUAD * team.threads)
        store_codes(p, codes, i, cols - i, static_cast<uint32_t>(zero & 0xFF) * 0x01010101u);
    if (team.rank == 0)
        flag_non_finite(p);
}

/* The largest magnitude, or the range, of values from `first` to `end` that this lane has: every `stride`-th quad. */
template <class Source>
KRN_DEVICE Range range_of(const Source &source, bool is_asymmetric, int32_t first, int32_t end, int32_t stride) {
    Range range = {0, 0};
    if (!is_asymmetric) {
        KRN_UNROLL_NONE
        for (int32_t i = first; i < end; i += stride) {
            const Quad x = source.quad(i);
            KRN_UNROLL_ALL
            for (int32_t e = 0; e < QUAD; e++)
                range.above = i + e < end ? largest(range.above, magnitude_bits(x.at[e])) : range.above;
        }
        return range;
    }
    KRN_UNROLL_NONE
    for (int32_t i = first; i < end; i += stride) {
        const Quad x = source.quad(i);
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < QUAD; e++)
            if (i + e < end)
                extend(range, x.at[e]);
    }
    return range;
}

/* One scale for the row. */
template <class Source>
KRN_DEVICE void quantize_whole(const Team &team, const krn_cuda_codes &p, uint8_t *codes, int32_t cols,
                               const Source &source) {
    Range range = range_of(source, p.scheme.asymmetric != 0, QUAD * team.rank, cols, QUAD * team.threads);
    range.above = team.max(range.above, 0);
    if (p.scheme.asymmetric)
        range.below = team.max(range.below, 1);
    if (!is_finite(range.magnitude())) {
        write_bad_row(team, p, codes, cols);
        return;
    }
    const Scale scale = derive(p, range);
    if (team.rank == 0 && (p.scales_per_row > 0 || team.row == 0))
        store_scale(p, team.row * p.scales_per_row, scale);
    const Encoder encoder = encoder_of(p.scheme, scale);
    KRN_UNROLL_NONE
    for (int32_t i = QUAD * team.rank; i < cols; i += QUAD * team.threads)
        store_codes(p, codes, i, cols - i, encode_quad(p.scheme, encoder, source.quad(i)));
}

/* Scales of groups: `block_lanes` lanes to a group, so that no lane of a warp is idle in groups below 128. Groups of
 * whole quads are encoded on the spot. Returns the bits of the largest magnitude that this thread saw. */
template <class Source>
KRN_DEVICE uint32_t quantize_groups(const Team &team, const krn_cuda_codes &p, uint8_t *codes, int32_t cols,
                                    const Source &source) {
    const bool has_quads = p.block % QUAD == 0;
    const int32_t unit = has_quads ? QUAD : 1;
    const int32_t lanes = p.block_lanes, groups = 32 / lanes;
    const int32_t lane = (team.rank & 31) & (lanes - 1), own = (team.rank & 31) / lanes;
    uint32_t largest_seen = 0;
    for (int32_t b = team.rank / 32 * groups; b < p.blocks_per_row; b += team.threads / 32 * groups) {
        const int32_t group = b + own;
        const int32_t start = group < p.blocks_per_row ? group * p.block : cols;
        const int32_t end = cols - start < p.block ? cols : start + p.block;
        Range range = {0, 0};
        if (has_quads) {
            range = range_of(source, p.scheme.asymmetric != 0, start + unit * lane, end, unit * lanes);
        } else {
            for (int32_t i = start + lane; i < end; i += lanes)
                extend(range, source.element(i));
        }
        for (int32_t other = lanes / 2; other > 0; other /= 2) {
            range.above = largest(range.above, ptx::shuffle_xor(range.above, other));
            range.below = largest(range.below, ptx::shuffle_xor(range.below, other));
        }
        largest_seen = largest(largest_seen, range.magnitude());
        const Scale scale = derive(p, range);
        if (lane == 0 && group < p.blocks_per_row)
            store_scale(p, team.row * p.scales_per_row + group, scale);
        if (has_quads) {
            const Encoder encoder = encoder_of(p.scheme, scale);
            for (int32_t i = start + unit * lane; i < end; i += unit * lanes)
                store_codes(p, codes, i, end - i, encode_quad(p.scheme, encoder, source.quad(i)));
        }
    }
    return largest_seen;
}

/* The scale that stands at `index`, which this block wrote. */
KRN_DEVICE Scale stored_scale(const krn_cuda_codes &p, int64_t index) {
    if (p.is_static)
        return {p.static_scale, p.static_zero_point};
    return {ptx::load_global(p.scales + index),
            p.scheme.asymmetric ? ptx::load_global(p.zero_points + index) : p.scheme.zero};
}

/* Groups whose size is no multiple of four have quads, and bytes of 4-bit codes, in common. */
template <class Source>
KRN_DEVICE void encode_by_element(const Team &team, const krn_cuda_codes &p, uint8_t *codes, int32_t cols,
                                  const Source &source) {
    for (int32_t i = QUAD * team.rank; i < cols; i += QUAD * team.threads) {
        const Quad x = source.quad(i);
        uint32_t packed = 0;
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < QUAD; e++) {
            if (i + e < cols) {
                const Scale scale = stored_scale(p, team.row * p.scales_per_row + block_of(p, i + e));
                packed |= (encode(p.scheme, encoder_of(p.scheme, scale), x.at[e]) & 0xFF) << 8 * e;
            }
        }
        store_codes(p, codes, i, cols - i, packed);
    }
}

/* `is_lost`: the row ran into infinity on the way to the source, which may not show it. */
template <class Source>
KRN_DEVICE void quantize_row(const Team &team, const krn_cuda_codes &p, int32_t cols, bool is_lost,
                             const Source &source) {
    uint8_t *const codes = p.codes + team.row * p.codes_ld_bytes;
    if (is_lost) {
        write_bad_row(team, p, codes, cols);
        return;
    }
    if (p.blocks_per_row == 1) {
        quantize_whole(team, p, codes, cols, source);
        return;
    }
    const uint32_t magnitude = team.max(quantize_groups(team, p, codes, cols, source), 0);
    /* Scales and codes above were written before those that follow. */
    team.sync();
    if (!is_finite(magnitude))
        write_bad_row(team, p, codes, cols);
    else if (p.block % QUAD != 0)
        encode_by_element(team, p, codes, cols, source);
}

} // namespace kernels

#endif
