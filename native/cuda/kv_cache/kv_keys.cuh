/* Keys to which something is done on their way in, in this order: RoPE, the mean is subtracted, the head is rotated. A
 * thread block holds up to 16 tokens of a head as f32 in the tile of transform.cuh, one behind the other. */
#ifndef KRN_CUDA_KV_KEYS_H
#define KRN_CUDA_KV_KEYS_H

#include "cuda/hadamard/transform.cuh"
#include "cuda/kv_cache/kv_store.cuh"

namespace kernels {

/* Where a tile lies: behind an encoder for each token, or each channel. */
constexpr int32_t KEY_ENCODER_BYTES = 16 * KRN_CUDA_KV_MAX_HEAD_DIM;

struct TileSource {
    const Tile &tile;
    int32_t head_dim;

    KRN_DEVICE_MEMBER Quad quad(int32_t row, int32_t c) const {
        const Values<QUAD> values = tile.load<QUAD>({row * head_dim + c, 0, 0});
        return {{values.at[0], values.at[1], values.at[2], values.at[3]}};
    }
    KRN_DEVICE_MEMBER float element(int32_t row, int32_t c) const {
        return tile.load<1>({row * head_dim + c, 0, 0}).at[0];
    }
    KRN_DEVICE_MEMBER void set(int32_t row, int32_t c, float x) const {
        tile.store(Place{row * head_dim + c, 0, 0}, Values<1>{{x}});
    }
};

KRN_DEVICE Tile key_tile(int32_t count, int32_t head_dim) {
    return {ptx::shared_base() + KEY_ENCODER_BYTES, count * head_dim, ptx::thread_x(), ptx::block_threads()};
}

/* A transform reads whole 32 elements: what lies behind the tile mixes with nothing. */
KRN_DEVICE void fill_rest(const Tile &tile) {
    for (int32_t i = tile.elems + tile.rank; i < (tile.elems + 31) / 32 * 32; i += tile.threads)
        tile.store(Place{i, 0, 0}, Values<1>{{0}});
}

/* Pair i of a key: the elements that RoPE turns together, and behind them neighbours. */
struct KeyPair {
    int32_t first, second;
    bool turns;
};

KRN_DEVICE KeyPair key_pair(const krn_cuda_kv_rope &rope, int32_t i) {
    const int32_t half = rope.rotary_dim / 2;
    const bool turns = i < half;
    return turns && rope.is_half ? KeyPair{i, i + half, turns} : KeyPair{2 * i, 2 * i + 1, turns};
}

/* Cosines of a token, and behind them its sines; nullptr when the table lacks its position. `row` is the token's in the
 * batch, `token` its number in its sequence. */
KRN_DEVICE const float *angles_of(const krn_cuda_kv_rope &rope, int64_t row, int32_t token) {
    const int32_t position = rope.positions != nullptr ? ptx::load_global_nc(rope.positions + row) : token;
    const bool is_known = position >= rope.first_position && position - rope.first_position < rope.position_count;
    return is_known ? rope.cos_sin + static_cast<int64_t>(position - rope.first_position) * rope.rotary_dim : nullptr;
}

/* The first of the pair, in the order of operations of kernels/rope.h, then the second. */
struct Turned {
    float first, second;
};

KRN_DEVICE Turned turn(const krn_cuda_kv_rope &rope, const float *angles, int32_t i, float a, float b) {
    const float cosine = ptx::load_global_nc(angles + i), sine = ptx::load_global_nc(angles + rope.rotary_dim / 2 + i);
    return {ptx::sub_rn(ptx::mul_rn(a, cosine), ptx::mul_rn(b, sine)),
            ptx::add_rn(ptx::mul_rn(a, sine), ptx::mul_rn(b, cosine))};
}

/* Where the key of a token of the batch lies. */
template <int32_t type> KRN_DEVICE const uint8_t *key_row(const krn_cuda_kv_keys_params &p, int64_t row, int32_t head) {
    return static_cast<const uint8_t *>(p.source) + row * p.ld_bytes +
           static_cast<int64_t>(head) * p.cache.head_dim * ELEMENT_BYTES<type>;
}

/* Fills the tile with keys as they are stored: tokens from `token` on of an entry, which are rows from `row` on. Begins
 * and ends with a barrier. */
template <int32_t type>
KRN_DEVICE void change_keys(const krn_cuda_kv_keys_params &p, const Tile &tile, const KvEntry &entry, int32_t head,
                            int32_t token, int64_t row) {
    const int32_t dim = p.cache.head_dim, pairs = dim / 2, count = tile.elems / dim;
    const TileSource keys = {tile, dim};
    const float *const mean = p.cache.means != nullptr ? kv_mean(p.cache, entry.sequence, head) : nullptr;
    ptx::sync_threads();
    KRN_UNROLL_NONE
    for (int32_t i = tile.rank; i < count * pairs; i += tile.threads) {
        const int32_t r = i / pairs, index = i % pairs;
        const KeyPair pair = key_pair(p.rope, index);
        const uint8_t *const source = key_row<type>(p, row + r, head);
        Turned x = {load_element<type>(source, pair.first), load_element<type>(source, pair.second)};
        if (pair.turns) {
            const float *const angles = angles_of(p.rope, row + r, token + r);
            if (angles != nullptr)
                x = turn(p.rope, angles, index, x.first, x.second);
            else if (index == 0)
                raise_flag(p.device_flags, KRN_CUDA_FLAG_POSITIONS);
        }
        if (mean != nullptr) {
            x.first = ptx::sub_rn(x.first, ptx::load_global_nc(mean + pair.first));
            x.second = ptx::sub_rn(x.second, ptx::load_global_nc(mean + pair.second));
        }
        keys.set(r, pair.first, x.first);
        keys.set(r, pair.second, x.second);
    }
    fill_rest(tile);
    if (p.rotation.n != 0)
        transform_in_place(tile, p.rotation);
    else
        ptx::sync_threads();
}

} // namespace kernels

#endif
