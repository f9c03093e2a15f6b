/* What a thread block of attention works on, and the rows of its queries in shared memory. */
#ifndef KRN_CUDA_ATTENTION_ROWS_H
#define KRN_CUDA_ATTENTION_ROWS_H

#include "cuda/attention/attention_params.h"
#include "cuda/kv_cache/kv_page.cuh"
#include "cuda/ptx/warp.h"

namespace kernels {

constexpr int32_t ROWS = KRN_CUDA_ATTENTION_ROWS, BLOCK = KRN_CUDA_ATTENTION_BLOCK, UNIT = KRN_CUDA_KV_BLOCK;

KRN_DEVICE float minus_infinity() { return ptx::bits_as<float>(0xFF800000u); }

constexpr bool is_integer(int32_t type) { return type == KRN_TYPE_S8 || type == KRN_TYPE_S4; }
/* Whether products are those of mma.sync on bf16. */
constexpr bool is_half(int32_t type) { return type == KRN_TYPE_BF16 || type == KRN_TYPE_F8E4M3; }
constexpr int32_t bits_of_type(int32_t type) {
    return type == KRN_TYPE_F32 ? 32 : type == KRN_TYPE_BF16 ? 16 : type == KRN_TYPE_S4 ? 4 : 8;
}

/* exp(a) of a <= 0, or 0 below -87: common/exp.h of kernels_cpu, operation by operation. */
KRN_DEVICE float exp_weight(float a) {
    if (a < -87.0f)
        return 0;
    const float rounded = ptx::fma_rn(a, 0x1.715476p+0f, 0x1.8p+23f);
    const float n = ptx::sub_rn(rounded, 0x1.8p+23f);
    const float r = ptx::fma_rn(n, -0x1.7f7d1cp-20f, ptx::fma_rn(n, -0x1.62e4p-1f, a));
    float p = 0x1.6a23c6p-10f;
    p = ptx::fma_rn(p, r, 0x1.1239e2p-7f);
    p = ptx::fma_rn(p, r, 0x1.5558f2p-5f);
    p = ptx::fma_rn(p, r, 0x1.555492p-3f);
    p = ptx::fma_rn(p, r, 0x1.fffffcp-2f);
    p = ptx::add_rn(1.0f, ptx::fma_rn(p, ptx::mul_rn(r, r), r));
    return ptx::mul_rn(p, ptx::bits_as<float>((ptx::bits_as<uint32_t>(rounded) << 23) + 0x3F800000u));
}

/* Words of a row in shared memory. */
enum RowWord { Q_SCALE, Q_OFFSET, Q_SUM, Q_BIAS, ALPHA, W_STEP, W_OFFSET, POSITION, SLOPE };

/* A tile of 16 rows of one KV head of an entry. Row r is query token r / group, head r % group of the KV head. */
struct Tile {
    KvEntry entry;
    int32_t kv_head, first_row, rows;
    ptx::SharedAddress queries, words, scores, weights;

    KRN_DEVICE_MEMBER ptx::SharedAddress word(int32_t row, RowWord which) const {
        return words + 4 * static_cast<uint32_t>(row * KRN_CUDA_ATTENTION_ROW_WORDS + which);
    }
    template <class T> KRN_DEVICE_MEMBER T get(int32_t row, RowWord which) const {
        return ptx::load_shared<T>(word(row, which));
    }
    template <class T> KRN_DEVICE_MEMBER void set(int32_t row, RowWord which, T value) const {
        ptx::store_shared(word(row, which), value);
    }
    KRN_DEVICE_MEMBER ptx::SharedAddress score(int32_t row, int32_t token) const {
        return scores + 4 * static_cast<uint32_t>(row * KRN_CUDA_ATTENTION_SCORE_LD + token);
    }
};

/* Query token of a row, counted from the first of the batch, and its head. */
struct RowPlace {
    int32_t token, head;
};

KRN_DEVICE RowPlace place_of(const krn_cuda_attention_params &p, const Tile &tile, int32_t row) {
    const int32_t r = tile.first_row + row;
    return {tile.entry.first_row + r / p.group, tile.kv_head * p.group + r % p.group};
}

KRN_DEVICE int64_t state_of(const krn_cuda_attention_params &p, int32_t chunk, const RowPlace &place) {
    return chunk * p.states + static_cast<int64_t>(place.token) * p.heads + place.head;
}

KRN_DEVICE float load_query(int32_t type, const void *row, int32_t c) {
    switch (type) {
    case KRN_TYPE_F32: return load_element<KRN_TYPE_F32>(row, c);
    case KRN_TYPE_F16: return load_element<KRN_TYPE_F16>(row, c);
    default: return load_element<KRN_TYPE_BF16>(row, c);
    }
}

KRN_DEVICE uint32_t element_bytes(int32_t type) { return type == KRN_TYPE_F32 ? 4 : 2; }

/* The scale of a query to be quantized to s8, of the bits of its largest magnitude, and its codes. */
KRN_DEVICE float query_scale(uint32_t highest) {
    const float exact = ptx::div_rn(ptx::bits_as<float>(highest), 127.0f);
    return exact < 0x1p-126f ? 0.0f : exact;
}

KRN_DEVICE int32_t query_code(float x, float inverse) {
    return ptx::s32_from_f32_rn(ptx::min_f32(ptx::max_f32(ptx::mul_rn(x, inverse), -127.0f), 127.0f));
}

/* A warp puts one row of queries into shared memory, as the keys want it; channels behind head_dim are 0. */
template <int32_t key_type>
KRN_DEVICE void prepare_row(const krn_cuda_attention_params &p, const Tile &tile, int32_t row) {
    const int32_t dim = p.cache.head_dim, lane = ptx::lane();
    const bool is_row = row < tile.rows;
    const RowPlace place = place_of(p, tile, is_row ? row : 0);
    const uint8_t *const source = static_cast<const uint8_t *>(p.query) + place.token * p.query_ld_bytes +
                                  static_cast<int64_t>(place.head) * dim * element_bytes(p.query_type);
    const ptx::SharedAddress target = tile.queries + static_cast<uint32_t>(row * p.space.query_ld);
    uint32_t highest = 0;
    for (int32_t c = lane; c < dim && is_row; c += 32) {
        const uint32_t magnitude = ptx::bits_as<uint32_t>(load_query(p.query_type, source, c)) & 0x7FFFFFFF;
        highest = highest > magnitude ? highest : magnitude;
    }
    highest = ptx::reduce_max(highest);
    float scale = 1;
    int32_t sum = 0;
    if constexpr (is_integer(key_type)) {
        scale = query_scale(highest);
        const float inverse = scale == 0 ? 0.0f : ptx::div_rn(1.0f, scale);
        for (int32_t c = lane; c < (dim + 31) / 32 * 32; c += 32) {
            const int32_t code = query_code(is_row && c < dim ? load_query(p.query_type, source, c) : 0.0f, inverse);
            sum += code;
            ptx::store_shared(target + static_cast<uint32_t>(c), static_cast<int8_t>(code));
        }
        sum = ptx::reduce_add(sum);
    } else if constexpr (is_half(key_type)) {
        /* Whole steps of mma.sync. */
        for (int32_t c = lane; c < (dim + 15) / 16 * 16; c += 32) {
            const float x = is_row && c < dim ? load_query(p.query_type, source, c) : 0.0f;
            ptx::store_shared(target + 2 * static_cast<uint32_t>(c), ptx::bf16_from_f32_rn(x));
        }
    } else {
        for (int32_t c = lane; c < dim; c += 32)
            ptx::store_shared(target + 4 * static_cast<uint32_t>(c),
                              is_row ? load_query(p.query_type, source, c) : 0.0f);
    }
    if (lane != 0)
        return;
    if (highest >= 0x7F800000u)
        raise_flag(p.device_flags, KRN_CUDA_FLAG_NON_FINITE);
    const krn_cuda_kv_section &keys = p.cache.keys;
    const int32_t added = keys.type == KRN_TYPE_S8    ? 128
                          : keys.has_zero_points != 0 ? 0
                                                      : static_zero(keys, tile.kv_head);
    scale = ptx::mul_rn(scale, p.scale);
    if (keys.static_scales != nullptr)
        scale = ptx::mul_rn(scale, ptx::load_global_nc(keys.static_scales + tile.kv_head));
    tile.set(row, Q_SCALE, scale);
    tile.set(row, Q_OFFSET, added * sum);
    tile.set(row, Q_SUM, sum);
    tile.set(row, POSITION, tile.entry.length - tile.entry.rows + (tile.first_row + row) / p.group);
    tile.set(row, Q_BIAS,
             p.bias != nullptr && is_row
                 ? ptx::load_global_nc(p.bias + static_cast<int64_t>(place.token) * p.heads + place.head)
                 : 0.0f);
    tile.set(row, SLOPE, p.slopes != nullptr && is_row ? ptx::load_global_nc(p.slopes + place.head) : 0.0f);
}

/* --- Which tokens are seen ---------------------------------------------------------------------------------------- */

/* Whether a row at low..high sees any token of the block that begins at `first`. */
KRN_DEVICE bool is_any_visible(const krn_cuda_attention_params &p, int32_t low, int32_t high, int32_t first) {
    if (!p.full && first > high)
        return false;
    return p.window == 0 || first < p.sink_tokens ||
           (first + BLOCK - 1 > low - p.window && (!p.full || first - high < p.window));
}

/* The score of a token after softcap, slope and mask. */
KRN_DEVICE float adjust(const krn_cuda_attention_params &p, float s, int32_t position, float slope, int32_t token,
                        int32_t length) {
    const int32_t distance = position - token;
    const bool in_window = p.window == 0 || token < p.sink_tokens || (distance < p.window && -distance < p.window);
    if (token >= length || (!p.full && distance < 0) || !in_window)
        return minus_infinity();
    if (p.softcap > 0) {
        const float x = ptx::mul_rn(s, ptx::div_rn(1.0f, p.softcap));
        const float e = exp_weight(ptx::mul_rn(-2.0f, ptx::abs_f32(x)));
        const float tangent = ptx::div_rn(ptx::sub_rn(1.0f, e), ptx::add_rn(1.0f, e));
        s = ptx::mul_rn(p.softcap, x < 0 ? -tangent : tangent);
    }
    if (p.slopes != nullptr)
        s = ptx::fma_rn(-slope, ptx::f32_from_s32_rn(distance < 0 ? -distance : distance), s);
    return s;
}

} // namespace kernels

#endif
