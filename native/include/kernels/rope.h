/* Rotary position embedding (RoPE, Su et al. 2021): queries and keys are rotated by angles that grow with their
 * position, so that a score depends on the distance of two tokens alone.
 *
 * A head of head_dim elements has rotary_dim / 2 pairs, which are rotated, and head_dim - rotary_dim elements behind
 * them, which are not. With half = rotary_dim / 2, pair i is
 *
 *   KRN_ROPE_HALF          x[i] and x[i + half]          GPT-NeoX, and Llama as Hugging Face keeps it
 *   KRN_ROPE_INTERLEAVED   x[2i] and x[2i + 1]           GPT-J, and Llama as it was published
 *
 * The angle of pair i at a position p is p * f(i), from
 *
 *   g(i) = theta_base ^ (-2i / rotary_dim)
 *   KRN_ROPE_SCALING_NONE     f = g
 *   KRN_ROPE_SCALING_LINEAR   f = g / factor             position interpolation, Chen et al. 2023
 *   KRN_ROPE_SCALING_LLAMA3   f = g * (s + (1 - s) / factor)
 *                             s = (original_context * g / (2 pi) - low_freq_factor) /
 *                                 (high_freq_factor - low_freq_factor), no less than 0 and no more than 1: pairs that
 *                             turn more than high_freq_factor times within the original context keep their frequency,
 *                             those that turn less than low_freq_factor times have it divided, and those between have
 *                             something between
 *
 * A table holds the cosines and sines. It is made once, krn_rope_table, and read by every call. Its row for a position
 * is
 *
 *   cos(p * f(0)) ... cos(p * f(half - 1))  sin(p * f(0)) ... sin(p * f(half - 1))
 *
 * computed in pairs of binary64 with no more than their + - * and /, so that every machine makes the same bits, and
 * rounded to binary32 once: an entry is within 0.5 + 2^-20 units in the last place of the exact value.
 *
 * A pair (a, b) becomes, in binary32 with one rounding per operation; every variant and thread count gives these bits:
 *
 *   a' = a * cos - b * sin
 *   b' = a * sin + b * cos
 *
 * Input of f16 and bf16 is widened to f32 exactly; output is rounded to nearest even. Infinities and NaN go the way of
 * arithmetic: a pair that holds one holds infinities or NaN afterwards.
 */
#ifndef KERNELS_ROPE_H
#define KERNELS_ROPE_H

#include "kernels/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Which elements form a pair. The numbers are pinned. */
enum krn_rope_layout {
    KRN_ROPE_HALF = 0,
    KRN_ROPE_INTERLEAVED = 1,
};

/** How frequencies are changed for contexts longer than a model was trained on. The numbers are pinned. */
enum krn_rope_scaling {
    KRN_ROPE_SCALING_NONE = 0,
    KRN_ROPE_SCALING_LINEAR = 1,
    KRN_ROPE_SCALING_LLAMA3 = 2,
};

/** The rotation of a model. */
typedef struct krn_rope_options {
    /** sizeof(krn_rope_options). */
    uint32_t struct_size;
    /** A krn_rope_layout. */
    int32_t layout;
    /** Elements of a head, 1 to 65536. */
    int64_t head_dim;
    /** Elements of a head that are rotated: even, at most head_dim. 0 means all, and head_dim has to be even. */
    int64_t rotary_dim;
    /** At least 1 and finite. 0 means 10000. */
    double theta_base;
    /** A krn_rope_scaling. */
    int32_t scaling;
    /** Must be 0. */
    int32_t reserved;
    /** 1 to 2^30; read only with a scaling. */
    double factor;
    /** Above 0; this and the two below are read only with KRN_ROPE_SCALING_LLAMA3. */
    double low_freq_factor;
    /** Above low_freq_factor, at most 2^30. */
    double high_freq_factor;
    /** The context length that the model was trained on first; at least 1. */
    int64_t original_context;
} krn_rope_options;

/** One more than the largest position. */
#define KRN_ROPE_MAX_POSITIONS 16777216

/** Makes the rows of positions first_position .. first_position + count - 1: `count` times rotary_dim floats.
 *  Errors: KRN_ERROR_NULL_ARGUMENT, KRN_ERROR_STRUCT_SIZE, KRN_ERROR_INVALID_ARGUMENT (an option, or positions outside
 *  0 .. KRN_ROPE_MAX_POSITIONS - 1), KRN_ERROR_SHAPE (negative count), KRN_ERROR_ALIGNMENT. */
KRN_API krn_status krn_rope_table(const krn_rope_options *options, int64_t first_position, int64_t count,
                                  float *cos_sin);

/** Rotates source[tokens, heads, head_dim] into target. Queries take one call and keys another.
 *  source, target    f32, f16 or bf16 (`source_type`, `target_type`); heads follow each other, and a leading dimension
 *                    of at least heads * head_dim leads from one token to the next. The target is the source, of the
 *                    same type and leading dimension, or does not overlap it.
 *  positions         of each token, in any order
 *  cos_sin           a table of these options with rows for positions first_position .. first_position +
 *                    position_count - 1; it must not overlap the target
 *  Errors: KRN_ERROR_NULL_ARGUMENT, KRN_ERROR_STRUCT_SIZE, KRN_ERROR_INVALID_ARGUMENT (an option or a type; a position
 *  that the table lacks; a target that is the source in another type), KRN_ERROR_SHAPE, KRN_ERROR_LEADING_DIMENSION,
 *  KRN_ERROR_ALIGNMENT. */
KRN_API krn_status krn_rope(krn_context *context, const krn_rope_options *options, int64_t tokens, int64_t heads,
                            int32_t source_type, const void *source, int64_t source_ld, const int32_t *positions,
                            const float *cos_sin, int64_t first_position, int64_t position_count, int32_t target_type,
                            void *target, int64_t target_ld);

/** Name of the variant that runs in a context, such as "avx512"; NULL for a NULL context. */
KRN_API const char *krn_rope_variant(const krn_context *context);

#ifdef __cplusplus
}
#endif

#endif
