/* Merges the chunks of every row in ascending order, a warp for each row, and writes output and lse. */
#include "cuda/attention/attention_rows.cuh"

namespace {

using namespace kernels;

KRN_DEVICE void store_output(const krn_cuda_attention_params &p, void *row, int32_t c, float value) {
    switch (p.output_type) {
    case KRN_TYPE_F32: store_element<KRN_TYPE_F32>(row, c, value); break;
    case KRN_TYPE_F16: store_element<KRN_TYPE_F16>(row, c, value); break;
    default: store_element<KRN_TYPE_BF16>(row, c, value); break;
    }
}

} // namespace

KRN_KERNEL(krn_cuda_attention_finish, krn_cuda_attention_params, KRN_CUDA_ATTENTION_THREADS, 8) {
    const KvEntry entry = kv_entry(p.cache, p.batch, ptx::block_z(), p.device_flags);
    const int64_t index = static_cast<int64_t>(ptx::block_x()) * (KRN_CUDA_ATTENTION_THREADS / 32) + ptx::warp();
    if (index >= static_cast<int64_t>(entry.rows) * p.heads)
        return;
    const int32_t head = static_cast<int32_t>(index % p.heads), dim = p.cache.values.stored_dim;
    const int64_t token = entry.first_row + index / p.heads, state = token * p.heads + head;
    const bool is_decode = entry.rows <= KRN_CUDA_ATTENTION_DECODE_ROWS;
    const int32_t chunks = is_decode ? (entry.length - 1) / KRN_CUDA_ATTENTION_CHUNK + 1 : 1;
    const float sink = p.sink_logits != nullptr ? ptx::load_global_nc(p.sink_logits + head) : minus_infinity();
    float highest = sink;
    for (int32_t i = 0; i < chunks; i++)
        highest = ptx::max_f32(highest, ptx::load_global_nc(p.m + i * p.states + state));
    const bool is_single = chunks == 1;
    float sum = 0;
    for (int32_t i = 0; i < chunks; i++) {
        const float m = ptx::load_global_nc(p.m + i * p.states + state);
        if (m == minus_infinity())
            continue;
        const float weight = exp_weight(ptx::sub_rn(m, highest));
        sum = ptx::fma_rn(ptx::load_global_nc(p.l + i * p.states + state), weight, sum);
    }
    /* One state is not summed: its weight becomes a part of the last factor. */
    const float own = ptx::load_global_nc(p.m + state);
    const float factor = !is_single ? 1.0f : own == minus_infinity() ? 0.0f : exp_weight(ptx::sub_rn(own, highest));
    if (sink != minus_infinity())
        sum = ptx::add_rn(sum, exp_weight(ptx::sub_rn(sink, highest)));
    const float last = sum > 0 ? ptx::div_rn(factor, sum) : 0.0f;
    uint8_t *const output = static_cast<uint8_t *>(p.output) + token * p.output_ld_bytes +
                            static_cast<int64_t>(head) * p.cache.head_dim * element_bytes(p.output_type);
    for (int32_t c = ptx::lane(); c < p.cache.head_dim; c += 32) {
        float merged = is_single ? ptx::load_global_nc(p.acc + state * dim + c) : 0.0f;
        for (int32_t i = 0; i < chunks && !is_single; i++) {
            const float m = ptx::load_global_nc(p.m + i * p.states + state);
            if (m != minus_infinity())
                merged = ptx::fma_rn(ptx::load_global_nc(p.acc + (i * p.states + state) * dim + c),
                                     exp_weight(ptx::sub_rn(m, highest)), merged);
        }
        store_output(p, output, c, ptx::mul_rn(merged, last));
    }
    if (p.lse != nullptr && ptx::lane() == 0)
        ptx::store_global(p.lse + state, sum > 0
                                             ? ptx::add_rn(highest, ptx::mul_rn(ptx::lg2_approx(sum), 0x1.62e430p-1f))
                                             : minus_infinity());
}
