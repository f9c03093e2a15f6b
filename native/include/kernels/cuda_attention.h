/* Attention on a device: kernels/attention.h over the pages of cuda_kv_cache.h.
 *
 * The arithmetic is that of kernels/attention.h, operation by operation: blocks of 64 tokens, exact integer products for
 * integer keys and values, the same exp, chunks of 512 tokens for entries of up to 8 query tokens. So outputs of integer
 * and F32 caches are those of krn_attention's reference, bit for bit, on every device and for every split, whether keys
 * are rotated, centered, or have scales of their channels (the last, incomplete group in F32). Different from there:
 *
 *   - BF16 and F8E4M3: the products of a dot product and those of weights and values are exact, and tensor cores add 16
 *     of them and the sum before. In which order they do that is not told; it loses less than 40 * 2^-24 of the sum of
 *     their magnitudes. So instead of kernels/attention.h's terms for sums in f32, the error of scores has
 *       |ds[t]| <= scale * (40 ceil(head_dim / 16) + 3) * 2^-24 * sum_i |q k|
 *     and each block of 64 tokens adds (160 + 1) * 2^-24 * sum_t w[t] |v_tc| to that of an output, over the denominator,
 *     for all tokens up to its end. The terms for the query and the weights rounded to bf16 are the same. A device gives
 *     the same bits every time, whatever the batch, the split and the pages are.
 *   - lse is highest + ln(sum), of which the logarithm is approximated: it differs from krn_attention's by at most
 *     2^-22 + 2^-23 (|ln(sum)| + |lse|), where ln(sum) is at most the logarithm of the length, and of 1 + it with sinks.
 *   - sink_logits and alibi_slopes of the options are device memory, aligned to 4 bytes, and not checked. Query and
 *     output are device memory, aligned to their elements; options and the batch are host memory, free for use when the
 *     call returns.
 *   - NaN or infinity in the query set KRN_CUDA_FLAG_NON_FINITE; the output of its row is undefined. A page outside of
 *     the pool and an entry that cannot be (cuda_kv_cache.h) set KRN_CUDA_FLAG_PAGES; what is read of such a page counts
 *     as zeros, and the rows of such an entry are not written.
 *   - Of keys and values, these pairs of types are there: S8 and S8; S4 or U4 and S4 or U4; S8 and S4 or U4; S4 or U4
 *     and S8; BF16 and BF16; F8E4M3 and F8E4M3, with a head_dim of at most 256; F32 and F32, of at most 128. A block of
 *     64 tokens, twice, must fit the shared memory of a thread block, which on compute capability 8.6 and 8.9 ends F32
 *     at 72 and BF16 at 160. KRN_ERROR_UNSUPPORTED otherwise.
 *
 * A thread block has up to 16 rows, query tokens of the heads that share a KV head, so that with 16 rows or fewer a
 * chunk of the cache is read once for all of them. Products of integers, bf16 and FP8 are those of mma.sync; those of F32
 * are not taken by tensor cores. Queries of caches that rotate or center their keys are changed by a kernel of their own,
 * and lie in the workspace as f32.
 */
#ifndef KERNELS_CUDA_ATTENTION_H
#define KERNELS_CUDA_ATTENTION_H

#include "kernels/attention.h"
#include "kernels/cuda_kv_cache.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Bytes of workspace for a batch: max_length, rows and max_rows of it are read, no device memory.
 *  Errors: as krn_cuda_attention for these arguments. */
KRN_CUDA_API krn_status krn_cuda_attention_workspace_size(const krn_cuda_kv_cache *cache,
                                                          const krn_attention_options *options,
                                                          const krn_cuda_kv_batch *batch, int64_t *bytes);

/** Attends: the rows of an entry of the batch are the last tokens of its sequence.
 *  workspace      krn_cuda_attention_workspace_size() bytes of device memory
 *  device_flags   NULL, or a word into which bits of krn_cuda_flag are ORed
 *  Errors: those of the arguments; KRN_ERROR_UNSUPPORTED for what is told above; KRN_ERROR_DEVICE. */
KRN_CUDA_API krn_status krn_cuda_attention(krn_cuda_context *context, const krn_cuda_kv_cache *cache,
                                           const krn_attention_options *options, const krn_cuda_kv_batch *batch,
                                           const krn_attention_query *query, const krn_attention_output *output,
                                           void *workspace, int64_t workspace_bytes, int32_t *device_flags,
                                           void *stream);

#ifdef __cplusplus
}
#endif

#endif
