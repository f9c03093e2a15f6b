/* The GEMM of gemm.h on a device: Y[M,N] = X[M,K] . W[N,K]^T, with the same weights, activations, options and bits.
 *
 * Weights are packed on the CPU (weights.h) and brought to the device once, into a layout of its own that serves every
 * class of devices. Activations, output and what is added to it are device memory; the structs that name them are those
 * of gemm.h.
 *
 *   activations                        device arithmetic
 *   KRN_TYPE_S8 with scales            exact integer dot products on tensor cores
 *   KRN_TYPE_S4 with scales            the same; weights and activations of 4 bits are widened to 8 on their way
 *   KRN_TYPE_U8 with scales and zeros  the same; groups of at most 2^23 inputs
 *   KRN_TYPE_F16, BF16                 products of 16-bit floats on tensor cores, summed in binary32: codes are exact
 *                                      in both types, the entries of a codebook are rounded to that of X
 *   KRN_TYPE_F32, F16, BF16            with `compute`: X is quantized per token inside the call (cuda_quantize.h), then
 *                                      as KRN_TYPE_S8, S4 or U8
 *
 * KRN_TYPE_F32 without `compute` is KRN_ERROR_UNSUPPORTED: tensor cores have no products of binary32.
 *
 * Outlier columns (LLM.int8()), which the weights fix or which are searched for, go through binary32 in the epilogue.
 * What was searched for is looked up in the codes there, so it should be few columns.
 *
 * An adapter (krn_gemm_options.lora): the struct is host memory, A and B are device memory, aligned to 4 bytes; the
 * rank is at most 65536. Two small kernels project X by A, and turn B, into the workspace; the epilogue adds the products of
 * both. The side term has the bits of gemm.h, whatever the type of X.
 *
 * Weights: s8, s4, u4 with integer zero points, and those with float offsets, and with KRN_TYPE_F16 and BF16 codebooks;
 * groups of 16 and more inputs or one per channel; every type of scales; activation order; flattened groups.
 *
 * Numeric contract: that of gemm.h, bit for bit with kernels_cpu for integer activations, for every class, device, M
 * and place in a batch. Sums of long groups are exact for any K. With `compute`, a row that is not finite sets
 * KRN_CUDA_FLAG_NON_FINITE in `device_flags`, and its row of Y is undefined.
 *
 * Float activations: the blocks of 128 inputs of gemm.h, counted in the order in which weights are packed (of ordered
 * weights, that of their groups), enter t by one fma each. A block is summed from +0 by at most 8 matrix instructions
 * of 16 inputs, in order. How such an instruction adds its 16 products, which are exact, to the sum is no part of its
 * specification; if it aligns the terms to the largest and cuts each, and the result, behind 24 bits, 8 products at a
 * time, it loses less than 40 * 2^-24 of the sum of their magnitudes. So Y is within
 *
 *   (40 * products + blocks + groups + 8) * 2^-24 * sum |x| |w|
 *
 * of the exact result, before it is rounded to the output type: `products` the instructions of a block (2 for each 32
 * inputs begun, 8 at most), `blocks` those of a channel, `groups` those that have float offsets; |w| is
 * |code * scale| + |offset|, a codebook's entry rounded to the type of X. docs/numerics.md has the derivation. On a
 * device a row has the same bits at any place in a batch, and for every M that takes the same instruction: that is
 * every M in KRN_CUDA_CLASS_SM80. KRN_CUDA_CLASS_SM90A multiplies few tokens by mma.sync and many by wgmma, each in the
 * order above, but nothing says that the two add alike.
 *
 * How it runs. Few tokens (M <= 16, or more when N is small): every block streams its channels' weights once, all of K,
 * and its warps divide K among them; integer sums of groups meet in shared memory, where the chain over groups runs in
 * order. Where channels are so few that such blocks could not draw the memory's bandwidth, and K so long that it pays
 * (up to 16 tokens, some hundred channels, K beyond some 10,000), several blocks have a part of K each: they leave sums
 * of groups, exact, or of blocks of 128 inputs in the workspace, and one more kernel runs the same chain over them, so
 * Y has the same bits and nothing depends on which block is done first. Many tokens: tiles of 128 x 128 or
 * 64 x 64; in KRN_CUDA_CLASS_SM90A of 128 channels x 64, 128 or 256 tokens, by TMA and wgmma. Activations that do not
 * lie as the kernels read them are first copied into the workspace by one more kernel: KRN_TYPE_S4 and KRN_TYPE_U8,
 * leading dimensions that are no multiple of 16, weights in activation order or with groups that are no multiple of 32;
 * and weights with float offsets need the sums of X. */
#ifndef KERNELS_CUDA_GEMM_H
#define KERNELS_CUDA_GEMM_H

#include "kernels/cuda.h"
#include "kernels/gemm.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Weights in device memory. Opaque, immutable; may be used by many threads and streams of its context at once. */
typedef struct krn_cuda_weights krn_cuda_weights;

/** Bytes of device memory that packed weights take. */
KRN_CUDA_API krn_status krn_cuda_weights_bytes(const krn_weights *weights, int64_t *bytes);

/** Brings packed weights to the device. Not a hot call: it allocates host memory of that size meanwhile.
 *  host              the context of kernels_cpu that packed `weights`, or one like it
 *  device_memory     `device_bytes` >= krn_cuda_weights_bytes() bytes, aligned to 256 bytes, which the caller keeps as
 *                    long as the result; or NULL: allocated here, and freed by krn_cuda_weights_destroy
 *  stream            where the copy is put; `weights` are free for use when the call returns
 *  Errors: KRN_ERROR_NULL_ARGUMENT, KRN_ERROR_BUFFER_TOO_SMALL, KRN_ERROR_ALIGNMENT, KRN_ERROR_OUT_OF_MEMORY,
 *  KRN_ERROR_DEVICE. */
KRN_CUDA_API krn_status krn_cuda_weights_create(krn_cuda_context *context, krn_context *host,
                                                const krn_weights *weights, void *device_memory, int64_t device_bytes,
                                                void *stream, krn_cuda_weights **device_weights);

/** Shape and format. `desc->struct_size` must be set. */
KRN_CUDA_API krn_status krn_cuda_weights_describe(const krn_cuda_weights *weights, krn_weights_desc *desc);

/** Bytes that the weights take on the device; 0 for NULL. */
KRN_CUDA_API int64_t krn_cuda_weights_device_bytes(const krn_cuda_weights *weights);

/** Frees weights, and their device memory if they own it. NULL is fine. No work that uses them may be under way. */
KRN_CUDA_API void krn_cuda_weights_destroy(krn_cuda_weights *weights);

/** 1 if a context has a kernel for weights of `weight_format` and activations of `activation_type`, quantized inside
 *  the call to `compute` unless that is 0; else 0. */
KRN_CUDA_API int32_t krn_cuda_gemm_supported(const krn_cuda_context *context, int32_t weight_format,
                                             int32_t activation_type, int32_t compute);

/** Bytes of workspace that krn_cuda_gemm needs for up to `m` rows of `activation_type` with the same options.
 *  Errors: KRN_ERROR_UNSUPPORTED, KRN_ERROR_SHAPE and those of the options. */
KRN_CUDA_API krn_status krn_cuda_gemm_workspace_bytes(const krn_cuda_context *context, const krn_cuda_weights *weights,
                                                      int32_t activation_type, const krn_gemm_options *options,
                                                      int64_t m, int64_t *bytes);

/** Y = X . W^T.
 *  activations, output  as in gemm.h; `data`, `bias` and `residual` aligned to 16 bytes, scales and zero points to 4.
 *                       Zero points outside of 0..255 give undefined results: they are on the device, and not looked at
 *  options              NULL: nothing beyond the plain product
 *  workspace            device memory, aligned to 256 bytes, `workspace_bytes` >= krn_cuda_gemm_workspace_bytes()
 *  device_flags         a word that kernels OR bits of krn_cuda_flag into, or NULL
 *  Y must not overlap X; it may be the residual when the leading dimensions agree.
 *  Errors: KRN_ERROR_UNSUPPORTED, KRN_ERROR_DEVICE and those of the arguments. */
KRN_CUDA_API krn_status krn_cuda_gemm(krn_cuda_context *context, const krn_cuda_weights *weights, int64_t m,
                                      const krn_activations *activations, const krn_gemm_output *output,
                                      const krn_gemm_options *options, void *workspace, int64_t workspace_bytes,
                                      int32_t *device_flags, void *stream);

#ifdef __cplusplus
}
#endif

#endif
