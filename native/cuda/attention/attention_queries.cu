/* krn_cuda_attention_queries: a thread block puts eight rows of queries, token and head, into shared memory as f32, finds
 * their products with the means of keys, and rotates them. */
#include "cuda/attention/attention_params.h"
#include "cuda/hadamard/transform.cuh"
#include "cuda/kv_cache/kv_page.cuh"
#include "cuda/ptx/warp.h"

namespace {

using namespace kernels;

KRN_DEVICE float load_query(const krn_cuda_attention_queries_params &p, const void *row, int32_t c) {
    switch (p.query_type) {
    case KRN_TYPE_F32: return load_element<KRN_TYPE_F32>(row, c);
    case KRN_TYPE_F16: return load_element<KRN_TYPE_F16>(row, c);
    default: return load_element<KRN_TYPE_BF16>(row, c);
    }
}

KRN_DEVICE double add_of_lane(double sum, int32_t other) {
    const auto bits = ptx::bits_as<ptx::U32x2>(sum);
    return sum + ptx::bits_as<double>(ptx::U32x2{ptx::shuffle_xor(bits.x, other), ptx::shuffle_xor(bits.y, other)});
}

/* q . mean of a row of the tile in binary64, in which products are exact: eight sums, of which lanes have one each, are
 * added as on the CPU. */
KRN_DEVICE double dot_mean(const Tile &tile, int32_t first, const float *mean, int32_t dim) {
    double sum = 0;
    for (int32_t c = ptx::lane() % 8; c < dim; c += 8)
        sum += static_cast<double>(tile.load<1>({first + c, 0, 0}).at[0]) *
               static_cast<double>(ptx::load_global_nc(mean + c));
    return add_of_lane(add_of_lane(add_of_lane(sum, 4), 2), 1);
}

} // namespace

KRN_KERNEL(krn_cuda_attention_queries, krn_cuda_attention_queries_params, KRN_CUDA_ATTENTION_THREADS, 4) {
    const KvEntry entry = kv_entry(p.cache, p.batch, ptx::block_z(), p.device_flags);
    const int32_t dim = p.cache.head_dim, first = ptx::block_x() * KRN_CUDA_ATTENTION_QUERY_ROWS;
    const int32_t rest = entry.rows * p.heads - first;
    if (rest <= 0)
        return;
    const int32_t rows = rest < KRN_CUDA_ATTENTION_QUERY_ROWS ? rest : KRN_CUDA_ATTENTION_QUERY_ROWS;
    const Tile tile = {ptx::shared_base(), rows * dim, ptx::thread_x(), ptx::block_threads()};
    const int64_t row_bytes = static_cast<int64_t>(dim) * (p.query_type == KRN_TYPE_F32 ? 4 : 2);
    for (int32_t i = tile.rank; i < (tile.elems + 31) / 32 * 32; i += tile.threads) {
        const int32_t row = first + i / dim, token = entry.first_row + row / p.heads;
        float x = 0;
        if (i < tile.elems)
            x = load_query(p,
                           static_cast<const uint8_t *>(p.query) + token * p.query_ld_bytes + row % p.heads * row_bytes,
                           i % dim);
        if ((ptx::bits_as<uint32_t>(x) & 0x7FFFFFFF) >= 0x7F800000u)
            raise_flag(p.device_flags, KRN_CUDA_FLAG_NON_FINITE);
        tile.store(Place{i, 0, 0}, Values<1>{{x}});
    }
    ptx::sync_threads();
    /* A row is token * heads + head also of the whole batch. */
    const int64_t from = static_cast<int64_t>(entry.first_row) * p.heads + first;
    if (p.bias != nullptr) {
        for (int32_t row = ptx::warp(); row < rows; row += KRN_CUDA_ATTENTION_THREADS / 32) {
            const float *const mean = kv_mean(p.cache, entry.sequence, (first + row) % p.heads / p.group);
            const double dot = dot_mean(tile, row * dim, mean, dim);
            if (ptx::lane() == 0)
                ptx::store_global(p.bias + from + row, ptx::mul_rn(p.scale, static_cast<float>(dot)));
        }
    }
    if (p.rotation.n != 0)
        transform_in_place(tile, p.rotation);
    for (int32_t i = tile.rank; i < tile.elems; i += tile.threads)
        ptx::store_global(p.rotated + from * dim + i, tile.load<1>({i, 0, 0}).at[0]);
}
