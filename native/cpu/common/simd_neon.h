/* NEON of Armv8.0 in verbs, so that variants of different instruction sets read side by side. One instruction each. */
#ifndef KRN_SIMD_NEON_H
#define KRN_SIMD_NEON_H

#include "common/portability.h"

#include <arm_neon.h>
#include <stdint.h>

typedef int32x4_t neon_i;
typedef float32x4_t neon_f;

/* The names under which code that suits any width knows them. */
typedef neon_f vec_f;
enum { KRN_VEC_LANES = 4 };

KRN_ALWAYS_INLINE neon_i load_i(const void *p) { return vreinterpretq_s32_u8(vld1q_u8((const uint8_t *)p)); }
KRN_ALWAYS_INLINE void store_i(void *p, neon_i a) { vst1q_u8((uint8_t *)p, vreinterpretq_u8_s32(a)); }
KRN_ALWAYS_INLINE neon_f load_f(const void *p) { return vld1q_f32((const float *)p); }
KRN_ALWAYS_INLINE void store_f(void *p, neon_f a) { vst1q_f32((float *)p, a); }
/* NEON's intrinsics have no store past the caches. */
KRN_ALWAYS_INLINE void stream_f(void *p, neon_f a) { vst1q_f32((float *)p, a); }

KRN_ALWAYS_INLINE neon_i broadcast_i32(int32_t a) { return vdupq_n_s32(a); }
KRN_ALWAYS_INLINE neon_f broadcast_f32(float a) { return vdupq_n_f32(a); }
KRN_ALWAYS_INLINE neon_f zero_f(void) { return vdupq_n_f32(0); }

/* 4 consecutive s16 to s32. */
KRN_ALWAYS_INLINE neon_i widen_s16(const void *p) {
    return vmovl_s16(vreinterpret_s16_u8(vld1_u8((const uint8_t *)p)));
}
/* 4 consecutive f16 or bf16 to f32. */
KRN_ALWAYS_INLINE neon_f widen_f16(const void *p) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8((const uint8_t *)p)));
}
KRN_ALWAYS_INLINE neon_f widen_bf16(const void *p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8((const uint8_t *)p)), 16));
}

KRN_ALWAYS_INLINE neon_i and_i(neon_i a, neon_i b) { return vandq_s32(a, b); }
KRN_ALWAYS_INLINE neon_i or_i(neon_i a, neon_i b) { return vorrq_s32(a, b); }
KRN_ALWAYS_INLINE neon_i add_i32(neon_i a, neon_i b) { return vaddq_s32(a, b); }
KRN_ALWAYS_INLINE neon_i sub_i32(neon_i a, neon_i b) { return vsubq_s32(a, b); }
KRN_ALWAYS_INLINE neon_i mul_i32(neon_i a, neon_i b) { return vmulq_s32(a, b); }
KRN_ALWAYS_INLINE neon_f to_f32(neon_i a) { return vcvtq_f32_s32(a); }
KRN_ALWAYS_INLINE neon_f as_f32(neon_i a) { return vreinterpretq_f32_s32(a); }
KRN_ALWAYS_INLINE neon_i as_i32(neon_f a) { return vreinterpretq_s32_f32(a); }

KRN_ALWAYS_INLINE neon_f add_f(neon_f a, neon_f b) { return vaddq_f32(a, b); }
KRN_ALWAYS_INLINE neon_f sub_f(neon_f a, neon_f b) { return vsubq_f32(a, b); }
KRN_ALWAYS_INLINE neon_f mul_f(neon_f a, neon_f b) { return vmulq_f32(a, b); }
/* a * b + c, rounded once. */
KRN_ALWAYS_INLINE neon_f fma_f(neon_f a, neon_f b, neon_f c) { return vfmaq_f32(c, a, b); }

#endif
