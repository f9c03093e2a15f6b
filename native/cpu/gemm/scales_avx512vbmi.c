/* Double-quantized scales for AVX-512 VBMI: the map as four planes of 256 bytes in 16 registers, in which 12 lookups
 * and blends find the bytes of 64 scales, and 8 unpacks put them together. As floats the map takes 16 registers too,
 * and 64 scales 60 lookups and blends. */
#include "common/simd_avx512.h"
#include "gemm/scales_variants.h"
#include "gemm/widen_nested.h"

enum {
    PLANES = sizeof(float),
    PLANE_REGISTERS = KRN_SCALE_MAP_SIZE / 64,
    /* Groups that a register of codes holds. */
    PAIR = 64 / KRN_PANEL_CHANNELS,
};

/* planes[b]: byte b of every entry of the map. */
KRN_ALWAYS_INLINE void split_map(zmm_i planes[PLANES][PLANE_REGISTERS], const float *map) {
    uint8_t bytes[64];
    for (int i = 0; i < 64; i++)
        bytes[i] = (uint8_t)(i % 16 * PLANES + i / 16);
    const zmm_i lane_per_byte = load_i(bytes);
    KRN_UNROLL
    for (int i = 0; i < PLANE_REGISTERS; i++) {
        zmm_i part[4];
        KRN_UNROLL
        for (int j = 0; j < 4; j++)
            part[j] = permute_u8(load_i(map + 64 * i + 16 * j), lane_per_byte);
        const zmm_i low01 = low_lanes(part[0], part[1]), high01 = high_lanes(part[0], part[1]);
        const zmm_i low23 = low_lanes(part[2], part[3]), high23 = high_lanes(part[2], part[3]);
        planes[0][i] = even_lanes(low01, low23);
        planes[1][i] = odd_lanes(low01, low23);
        planes[2][i] = even_lanes(high01, high23);
        planes[3][i] = odd_lanes(high01, high23);
    }
}

/* entries[j] = map[code] for codes 16 * j..16 * j + 15. */
KRN_ALWAYS_INLINE void look_up(zmm_f entries[4], zmm_i planes[PLANES][PLANE_REGISTERS], zmm_i codes) {
    /* What unpacking takes from lane l for entries[j] is the four codes of that lane there. */
    const zmm_i index = permute_i32(codes, _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    zmm_i bytes[PLANES];
    KRN_UNROLL
    for (int b = 0; b < PLANES; b++)
        bytes[b] = lookup_u8x4(planes[b], index);
    const zmm_i low01 = unpack_low_i8(bytes[0], bytes[1]), high01 = unpack_high_i8(bytes[0], bytes[1]);
    const zmm_i low23 = unpack_low_i8(bytes[2], bytes[3]), high23 = unpack_high_i8(bytes[2], bytes[3]);
    entries[0] = as_f32(unpack_low_i16(low01, low23));
    entries[1] = as_f32(unpack_high_i16(low01, low23));
    entries[2] = as_f32(unpack_low_i16(high01, high23));
    entries[3] = as_f32(unpack_high_i16(high01, high23));
}

KRN_ALWAYS_INLINE void widen_groups(float *scales, zmm_i planes[PLANES][PLANE_REGISTERS], zmm_i codes,
                                    const float *nested, zmm_f offset, int groups) {
    zmm_f entries[2 * PAIR];
    look_up(entries, planes, codes);
    KRN_UNROLL
    for (int i = 0; i < 2 * groups; i++) {
        const zmm_f product = mul_f(entries[i], load_f(nested + i % 2 * 16));
        store_f(scales + 16 * i, add_f(product, offset));
    }
}

void krn_scales_avx512vbmi_widen(const krn_scales_job *job) {
    const uint8_t *codes = krn_nested_codes(job);
    const zmm_f offset = broadcast_f32(krn_nested_offset(job->layout, job->packed));
    float *scales = job->scales;
    const uint8_t *ahead = job->ahead;
    zmm_i planes[PLANES][PLANE_REGISTERS];
    split_map(planes, krn_scale_map(job->layout, job->packed));
    for (int64_t g = 0; g < job->num_groups;) {
        float nested[KRN_PANEL_CHANNELS];
        const int64_t same = krn_load_nested(job, job->group + g, nested);
        const int64_t end = same < job->num_groups - g ? g + same : job->num_groups;
        for (; g + PAIR <= end; g += PAIR, codes += 64, scales += 64) {
            for (int i = 0; ahead != NULL && i < 2 * PAIR; i++, ahead += KRN_LINE_BYTES)
                KRN_PREFETCH(ahead);
            widen_groups(scales, planes, load_i(codes), nested, offset, PAIR);
        }
        for (; g < end; g++, codes += KRN_PANEL_CHANNELS, scales += KRN_PANEL_CHANNELS)
            widen_groups(scales, planes, load_first_i32(codes, KRN_PANEL_CHANNELS / 4), nested, offset, 1);
    }
}

void krn_scales_avx512vbmi_start(const krn_start_job *job) { krn_scales_avx512_start(job); }
