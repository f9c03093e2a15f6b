/* Hadamard rotation of rows: what spreads outliers over all channels before a tensor is quantized (QuaRot, Ashkboos et
 * al. 2024; QuIP#, Tseng et al. 2024).
 *
 * A row is cut into blocks of n elements, and every block x becomes y = c D2 H D1 x: per token with n = the width, per
 * head with n = the head dimension. H is a Hadamard matrix of order n, entries +1 and -1 with H H^T = n I; D1 and D2
 * are diagonals of signs, the identity where no signs are given; c is 1 / sqrt(n) when normalized, which makes the
 * rotation orthogonal, else 1. The inverse with the same options is y = c D1 H^T D2 x; without normalization it inverts
 * up to the factor n.
 *
 * The matrix. n = 2^t o with o odd. Every odd number above 1 needs a Hadamard matrix of its own, a base, of order 4 u
 * for an odd factor u of o:
 *
 *   H_n = B_r x ... x B_1 x S_k      x is the Kronecker product; S_k is Sylvester's matrix of order 2^k, k = t - 2 r
 *
 * so that element i = (..(b_2 m_1 + b_1) 2^k + s is transformed along s by S_k, along b_1 by B_1 of order m_1 and so
 * on. o is split into the fewest factors u for which bases exist; of several such splits the one with the smallest sum
 * is taken, then the one with the smallest factor; and bases are in ascending order. Of a base of order m = 4 u, 12 to
 * 252, is taken the first that exists of
 *
 *   Paley I       q = m - 1 a prime:            I + S, S the bordered matrix of quadratic residues x_j - x_i of GF(q)
 *   Paley II      q = m / 2 - 1 a prime or      C x (1 1; 1 -1) + I x (1 -1; -1 -1), C likewise but symmetric
 *                 the square of one:
 *   Williamson    m = 92, 116, 156 and 172:     four symmetric circulants of order u
 *
 * and its rows and columns are negated until the first row and the first column are +1. 188 and 236 have none here. So
 * every width of Llama, Qwen, Mistral, Gemma and Phi has its matrix, such as 11008 = 172 * 64, 13824 = 108 * 128,
 * 14336 = 28 * 512 and 29568 = 12 * 28 * 44 * 2. krn_hadamard_matrix writes it out.
 *
 * The arithmetic, in binary32 with one rounding per operation; every variant gives these bits at any thread count:
 *
 *   1  x is widened to f32 exactly, and negated where D1 says so
 *   2  for h = 1, 2, 4 .. 2^(k-1):  (x[s], x[s + h]) becomes (x[s] + x[s + h], x[s] - x[s + h]) where bit h of s is 0
 *   3  for B_1, B_2 ..:  y[i] = ((t_0 + t_1) + t_2) + ..  with one term for every four elements x[j], j = 4 q .. 4 q + 3,
 *      and row i's signs g of them: t_q = g_0 ((x[j] + g_0 g_1 x[j+1]) + g_0 g_2 (x[j+2] + g_2 g_3 x[j+3]))
 *   4  y is multiplied by c, rounded to f32 from binary64, negated where D2 says so, and rounded to the type to nearest
 *      even
 *
 * A NaN makes a block NaN; its payload is not defined. Infinity and NaN are no errors here.
 */
#ifndef KERNELS_HADAMARD_H
#define KERNELS_HADAMARD_H

#include "kernels/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/** The longest block. */
#define KRN_HADAMARD_MAX_N 16777216

/** Which rotation. */
typedef struct krn_hadamard_options {
    /** sizeof(krn_hadamard_options). */
    uint32_t struct_size;
    /** 1: times 1 / sqrt(n), an orthogonal rotation. 0: the sums themselves. */
    int32_t normalized;
    /** Elements of a block, 1 to KRN_HADAMARD_MAX_N, with a matrix (krn_hadamard_supported). */
    int64_t n;
    /** 0, or 1 for the inverse: the transposed matrix, and the signs in the other order. */
    int32_t inverse;
    /** 0. krn_cuda_hadamard also takes KRN_CUDA_HADAMARD_TENSOR_CORES. */
    int32_t flags;
    /** n bits, those of every block: element i is negated before the transform where bit i % 8 of byte i / 8 is set.
     *  NULL for none. */
    const uint8_t *signs_before;
    /** The same after the transform. With `inverse` these are undone first, and signs_before last. */
    const uint8_t *signs_after;
} krn_hadamard_options;

/** KRN_OK when there is a matrix of order n; KRN_ERROR_UNSUPPORTED, with a sentence that says why, when there is none,
 *  and KRN_ERROR_INVALID_ARGUMENT when n is not in 1..KRN_HADAMARD_MAX_N. */
KRN_API krn_status krn_hadamard_supported(int64_t n);

/** Writes the matrix of order n, n x n entries of +1 and -1, row after row: y = H x of unit vectors. n at most 32768.
 *  Errors: those of krn_hadamard_supported, KRN_ERROR_NULL_ARGUMENT. */
KRN_API krn_status krn_hadamard_matrix(int64_t n, int8_t *matrix);

/** Random signs for a randomized Hadamard transform: ceil(n / 8) bytes, of which those bits that n does not reach are
 *  0. Bit i % 64 of the word i / 64 is the sign of element i, where word w is the output number w, from 0, of
 *  splitmix64 started in state `seed`: z = seed + (w + 1) * 0x9E3779B97F4A7C15; z = (z ^ (z >> 30)) *
 *  0xBF58476D1CE4E5B9; z = (z ^ (z >> 27)) * 0x94D049BB133111EB; z ^ (z >> 31). Errors: those of the arguments. */
KRN_API krn_status krn_hadamard_random_signs(uint64_t seed, int64_t n, uint8_t *signs);

/** Bytes of workspace that krn_hadamard takes in this context, for any number of rows.
 *  Errors: those of options and arguments. */
KRN_API krn_status krn_hadamard_workspace_size(const krn_context *context, const krn_hadamard_options *options,
                                               int64_t *bytes);

/** Transforms source[rows, cols] into target[rows, cols], both f32, f16 or bf16 (`type`).
 *  cols              a multiple of options->n
 *  source            leading dimension `source_ld` >= cols
 *  target            leading dimension `target_ld` >= cols; elements beyond a row's width are not touched. Either
 *                    source itself, with source_ld, or without overlap
 *  workspace         krn_hadamard_workspace_size() bytes, aligned to 64
 *  Errors: those of the arguments. */
KRN_API krn_status krn_hadamard(krn_context *context, const krn_hadamard_options *options, int64_t rows, int64_t cols,
                                int32_t type, const void *source, int64_t source_ld, void *target, int64_t target_ld,
                                void *workspace, int64_t workspace_bytes);

/** Rotates the weights of a linear layer, W[n, k] with a row per output channel, offline: so that
 *  krn_hadamard(X, input) times the result gives X W^T rotated by `output`, to rounding, when both are normalized.
 *  Rows are transformed by `input`, then columns by `output`.
 *  input             what rotates the activations, k a multiple of input->n; NULL leaves rows alone
 *  output            what rotates the outputs, n a multiple of output->n; NULL leaves columns alone. Not both NULL
 *  use_float64       1: the arithmetic of the header in binary64, c too, rounded once at the end. 0: in binary32, with
 *                    the bits of krn_hadamard along rows and then along columns
 *  type              f32, f16 or bf16, of weights and target, which are the same with the same ld, or do not overlap
 *  Allocates input->n x output->n numbers and a little. Errors: KRN_ERROR_OUT_OF_MEMORY and those of the arguments. */
KRN_API krn_status krn_hadamard_weights(krn_context *context, const krn_hadamard_options *input,
                                        const krn_hadamard_options *output, int32_t use_float64, int64_t n, int64_t k,
                                        int32_t type, const void *weights, int64_t weights_ld, void *target,
                                        int64_t target_ld);

/** Name of the variant that runs in this context, such as "avx512"; NULL for a NULL context. */
KRN_API const char *krn_hadamard_variant(const krn_context *context);

#ifdef __cplusplus
}
#endif

#endif
