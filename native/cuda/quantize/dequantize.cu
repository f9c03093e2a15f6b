/* krn_cuda_dequantize: eight codes at a time. */
#include "cuda/ptx/arithmetic.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/bits.h"
#include "cuda/quantize/flat.cuh"

namespace {

using namespace kernels;

struct Decoder {
    float scale;
    /* 2^23 + the zero point, biased as codes are. */
    float origin;
};

KRN_DEVICE Decoder decoder_of(const krn_cuda_flat_params &p, int64_t row, int32_t i) {
    const krn_cuda_codes &c = p.codes;
    const int64_t index = row * c.scales_per_row + (c.blocks_per_row == 1 ? 0
                                                    : c.block_shift >= 0  ? i >> c.block_shift
                                                                          : i / c.block);
    const int32_t zero = p.has_zero_points ? ptx::load_global_nc(c.zero_points + index) : c.scheme.zero;
    return {ptx::load_global_nc(c.scales + index), ptx::add_rn(0x1p+23f, ptx::f32_from_s32_rn(zero + c.scheme.flip))};
}

/* Code `e` of four biased ones under the exponent of 2^23 is 2^23 + code: exact, and without a conversion. */
template <int32_t e> KRN_DEVICE float decode(const Decoder &d, uint32_t codes) {
    const float lifted = ptx::bits_as<float>(ptx::prmt(codes, 0x4B000000u, 0x7540 | e));
    return ptx::mul_rn(ptx::sub_rn(lifted, d.origin), d.scale);
}

KRN_DEVICE float entry(ptx::SharedAddress codebook, const Decoder &d, uint32_t codes, int32_t e) {
    return ptx::mul_rn(ptx::load_shared<float>(codebook + (codes >> 8 * e & 15) * 4), d.scale);
}

KRN_DEVICE Quad decode_quad(const krn_cuda_scheme &s, const Decoder &d, uint32_t codes) {
    if (s.is_codebook) {
        const ptx::SharedAddress book = ptx::shared_base();
        return {
            {entry(book, d, codes, 0), entry(book, d, codes, 1), entry(book, d, codes, 2), entry(book, d, codes, 3)}};
    }
    return {{decode<0>(d, codes), decode<1>(d, codes), decode<2>(d, codes), decode<3>(d, codes)}};
}

/* Groups that end within the quad. */
KRN_DEVICE Quad decode_by_element(const krn_cuda_flat_params &p, int64_t row, int32_t i, int32_t count,
                                  uint32_t codes) {
    Quad q = {{0, 0, 0, 0}};
    KRN_UNROLL_ALL
    for (int32_t e = 0; e < QUAD; e++)
        if (e < count)
            q.at[e] = decode_quad(p.codes.scheme, decoder_of(p, row, i + e), codes).at[e];
    return q;
}

/* Eight codes of a row, one to a byte and unsigned, of which `count` are there. */
KRN_DEVICE ptx::U32x2 load_codes(const krn_cuda_codes &c, const uint8_t *row, int32_t i, int32_t count) {
    const uint32_t flip = static_cast<uint32_t>(c.scheme.flip) * 0x01010101u;
    ptx::U32x2 codes = {0, 0};
    if (c.scheme.bits == 8) {
        if (c.is_aligned && count >= 8) {
            codes = ptx::load_global_nc(reinterpret_cast<const ptx::U32x2 *>(row + i));
        } else {
            KRN_UNROLL_ALL
            for (int32_t e = 0; e < QUAD; e++) {
                codes.x |= e < count ? static_cast<uint32_t>(ptx::load_global_nc(row + i + e)) << 8 * e : 0;
                codes.y |=
                    e + QUAD < count ? static_cast<uint32_t>(ptx::load_global_nc(row + i + QUAD + e)) << 8 * e : 0;
            }
        }
        return {codes.x ^ flip, codes.y ^ flip};
    }
    uint32_t packed = 0;
    if (c.is_aligned && count >= 8) {
        packed = ptx::load_global_nc(reinterpret_cast<const uint32_t *>(row + i / 2));
    } else {
        KRN_UNROLL_ALL
        for (int32_t e = 0; e < QUAD; e++)
            packed |= 2 * e < count ? static_cast<uint32_t>(ptx::load_global_nc(row + i / 2 + e)) << 8 * e : 0;
    }
    const uint32_t even = packed & 0x0F0F0F0Fu, odd = packed >> 4 & 0x0F0F0F0Fu;
    return {ptx::prmt(even, odd, 0x5140) ^ flip, ptx::prmt(even, odd, 0x7362) ^ flip};
}

template <int32_t type> KRN_DEVICE void dequantize(const krn_cuda_flat_params &p) {
    if (p.codes.scheme.is_codebook) {
        /* Lanes look for different entries: shared memory gives them all at once, parameters one after the other. */
        if (ptx::thread_x() < 16)
            ptx::store_shared(ptx::shared_base() + 4 * static_cast<uint32_t>(ptx::thread_x()),
                              p.codes.scheme.table[ptx::thread_x()]);
        ptx::sync_threads();
    }
    const bool has_octets = p.codes.blocks_per_row == 1 || p.codes.block % KRN_CUDA_FLAT_ELEMS == 0;
    walk(p.plan, [&](int64_t row, int32_t i) {
        const int32_t count = p.plan.cols - i;
        const ptx::U32x2 codes = load_codes(p.codes, p.codes.codes + row * p.codes.codes_ld_bytes, i, count);
        void *const target = static_cast<uint8_t *>(p.floats) + row * p.floats_ld_bytes;
        Quad low, high;
        if (has_octets) {
            const Decoder decoder = decoder_of(p, row, i);
            low = decode_quad(p.codes.scheme, decoder, codes.x);
            high = decode_quad(p.codes.scheme, decoder, codes.y);
        } else {
            low = decode_by_element(p, row, i, count, codes.x);
            high = decode_by_element(p, row, i + QUAD, count - QUAD, codes.y);
        }
        store_octet<type>(target, i, count, p.is_aligned != 0, low, high);
    });
}

} // namespace

KRN_KERNEL(krn_cuda_dequantize_f32, krn_cuda_flat_params, KRN_CUDA_FLAT_THREADS, 5) { dequantize<KRN_TYPE_F32>(p); }
KRN_KERNEL(krn_cuda_dequantize_f16, krn_cuda_flat_params, KRN_CUDA_FLAT_THREADS, 5) { dequantize<KRN_TYPE_F16>(p); }
KRN_KERNEL(krn_cuda_dequantize_bf16, krn_cuda_flat_params, KRN_CUDA_FLAT_THREADS, 5) { dequantize<KRN_TYPE_BF16>(p); }
