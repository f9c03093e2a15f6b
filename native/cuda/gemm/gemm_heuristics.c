#include "cuda/gemm/gemm_heuristics.h"

#include <stdio.h>

/* What the system keeps of a block's shared memory. */
enum { RESERVED_SHARED_BYTES = 1024 };
/* With so many pieces in a ring a chunk has a slice, whatever the groups are. */
enum { LEAST_RING = 8 };
/* For the split of K between blocks: the most tokens of a product that is looked at; the bytes that one multiprocessor
 * draws from memory in a clock; and the clocks of one more kernel, which merges. Estimates of an H200, on the side of
 * no split. */
enum { MOST_SPLIT_TOKENS = 16, DRAWN_PER_CLOCK = 48, MERGE_CLOCKS = 3000 };

static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

static const char *format_name(const krn_cuda_weights_layout *l) {
    switch (l->desc.format) {
    case KRN_TYPE_S8: return "s8";
    case KRN_TYPE_S4: return "s4";
    case KRN_TYPE_C4: return "c4";
    default: return "u4";
    }
}

static const char *half_name(int32_t activation_type) { return activation_type == KRN_TYPE_F16 ? "f16" : "bf16"; }

/* Inputs of the largest group. */
static int64_t longest_group(const krn_cuda_weights_layout *l) {
    return l->desc.k < l->group_size ? l->desc.k : l->group_size;
}

/* Weights are streamed for each tile of tokens anew, from the second-level cache when there are several: worth it as
 * long as tiles for many tokens would leave most multiprocessors idle. Groups whose sums do not fit 32 bits run there
 * too. */
static int wants_decode(const krn_cuda_weights_layout *l, int32_t activation_type, int64_t m,
                        const krn_cuda_properties *device) {
    if (m <= 16 || l->group_steps > KRN_CUDA_MAX_PIECE_STEPS)
        return 1;
    if (activation_type == KRN_TYPE_U8 && longest_group(l) > KRN_CUDA_MAX_SUMMED_GROUP)
        return 1;
    return m <= 48 && divide_up(l->desc.n, 64) * 2 < device->multiprocessors;
}

/* The largest chunk whose pieces fit a ring: slices of 4 steps, a multiple of the warps where that is possible. */
static int64_t chunk_of(int64_t ring, int64_t piece_steps, int64_t slices) {
    int64_t chunk = (ring - 1) * piece_steps / KRN_CUDA_SLICE_STEPS;
    if (chunk >= slices)
        return slices;
    if (chunk > KRN_CUDA_DECODE_WARPS)
        chunk -= chunk % KRN_CUDA_DECODE_WARPS;
    return chunk;
}

/* The smallest ring for all of K, or the largest that fits `bytes`. */
static int64_t ring_of(const krn_cuda_weights_layout *l, const krn_cuda_gemm_plan *p, int64_t bytes) {
    const int64_t pieces = l->num_groups * p->group_pieces;
    const int64_t piece_bytes = krn_cuda_decode_piece_bytes(p->channels, p->tokens);
    int64_t ring = LEAST_RING;
    while (ring <= pieces && 2 * ring * piece_bytes <= bytes)
        ring *= 2;
    return ring;
}

/* Whether a block has a multiprocessor to itself, more of K than the rings of `stages` stages bring at once, and room
 * for deep ones, which take `bytes`: then it has as much on its way as two blocks, without a split of K between blocks,
 * whose partial results have to meet. */
static int wants_deep(const krn_cuda_weights_layout *l, const krn_cuda_properties *device, const krn_cuda_gemm_plan *p,
                      int32_t stages, int64_t bytes) {
    return p->channels == 16 && p->tokens == 8 && (int64_t)p->blocks[0] * p->blocks[1] <= device->multiprocessors &&
           l->padded_k / KRN_CUDA_TILE_K > KRN_CUDA_DECODE_WARPS * (stages - 1) &&
           bytes <= device->shared_bytes_per_block;
}

/* What a block with 16 channels and 8 tokens has of `parts` slices or pieces, which leave `sums` sums: all, unless the
 * multiprocessors outnumber such blocks twice and several for the same channels are done sooner, merging included. They
 * draw a share of the memory's bandwidth, or what one multiprocessor can draw; sums must be little beside the codes. */
static int64_t split_length_of(const krn_cuda_weights_layout *l, int64_t m, const krn_cuda_properties *device,
                               int64_t parts, int64_t sums) {
    const int64_t tiles = divide_up(l->desc.n, 16), blocks = tiles * divide_up(m, 8);
    if (m > MOST_SPLIT_TOKENS || blocks == 0 || 2 * blocks > device->multiprocessors || device->clock_khz <= 0)
        return parts;
    /* Two blocks to a multiprocessor, a slice for every warp. */
    int64_t most = 2 * device->multiprocessors / blocks;
    if (most > parts / KRN_CUDA_DECODE_WARPS)
        most = parts / KRN_CUDA_DECODE_WARPS;
    if (most < 2)
        return parts;
    const int64_t bytes = 16 * l->padded_k * l->code_bits / 8, rows = m < 8 ? m : 8;
    const int64_t bandwidth = (int64_t)device->memory_clock_khz * 2 * device->memory_bus_bits / 8 / device->clock_khz;
    if (bandwidth == 0 || 2 * sums * 16 * rows * (int64_t)sizeof(int32_t) > bytes)
        return parts;
    const int64_t length = divide_up(parts, most);
    const int64_t of_memory = bytes * tiles / bandwidth, of_block = bytes / DRAWN_PER_CLOCK * length / parts;
    const int64_t split_clocks = (of_memory > of_block ? of_memory : of_block) + MERGE_CLOCKS;
    return split_clocks < bytes / DRAWN_PER_CLOCK ? length : parts;
}

static int64_t float_pieces_of(int64_t steps) { return divide_up(steps, KRN_CUDA_FLOAT_PIECE_STEPS); }

/* Pieces of all groups of the float cells. */
static int64_t count_float_pieces(const krn_cuda_weights_layout *l) {
    if (l->num_groups == 0)
        return 0;
    const int64_t last_steps = l->num_steps - (l->num_groups - 1) * l->group_steps;
    return (l->num_groups - 1) * float_pieces_of(l->group_steps) + float_pieces_of(last_steps);
}

/* Slices or pieces that a product divides between blocks, and how many a block has. */
typedef struct {
    int64_t parts, length;
} split;

static split split_of(const krn_cuda_weights_layout *l, int32_t activation_type, int64_t m,
                      const krn_cuda_properties *device) {
    const int is_float = activation_type == KRN_TYPE_F16 || activation_type == KRN_TYPE_BF16;
    const int64_t parts = is_float ? count_float_pieces(l) : l->padded_k / KRN_CUDA_TILE_K;
    split s = {parts, parts};
    if (is_float || l->group_steps <= KRN_CUDA_MAX_PIECE_STEPS)
        s.length = split_length_of(l, m, device, parts, is_float ? parts : l->num_groups);
    return s;
}

int64_t krn_cuda_gemm_partial_bytes(const krn_cuda_weights_layout *l, int32_t activation_type, int64_t m,
                                    const krn_cuda_properties *device) {
    const int is_float = activation_type == KRN_TYPE_F16 || activation_type == KRN_TYPE_BF16;
    int64_t most = 0;
    for (int64_t rows = 1; rows <= m && rows <= MOST_SPLIT_TOKENS; rows++) {
        const split s = split_of(l, activation_type, rows, device);
        if (s.length == s.parts)
            continue;
        /* Every block but one may end in the middle of a group. */
        const int64_t places = is_float ? s.parts : l->num_groups + divide_up(s.parts, s.length) - 1;
        const int64_t bytes = places * rows * l->padded_n * (int64_t)sizeof(int32_t);
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* Cuts K, where that is faster. */
static void plan_split(const krn_cuda_weights_layout *l, int32_t activation_type, int64_t m,
                       const krn_cuda_properties *device, krn_cuda_gemm_plan *p) {
    const split s = split_of(l, activation_type, m, device);
    if (s.length == s.parts)
        return;
    p->is_split = 1;
    p->split_length = (int32_t)s.length;
    p->channels = 16;
    p->tokens = 8;
    p->blocks[2] = (uint32_t)divide_up(s.parts, s.length);
}

static void cut_decode(const krn_cuda_weights_layout *l, const krn_cuda_properties *device, krn_cuda_gemm_plan *p) {
    const int64_t slices = l->padded_k / KRN_CUDA_TILE_K;
    const int64_t rings = krn_cuda_decode_shared_bytes(l->code_bits, p->channels, p->tokens, p->deep, 0);
    p->group_pieces = (int32_t)divide_up(l->group_steps, KRN_CUDA_MAX_PIECE_STEPS);
    if (p->group_pieces == 0) /* K is 0 */
        p->group_pieces = 1;
    p->piece_steps = l->group_steps == 0 ? 1 : (int32_t)divide_up(l->group_steps, p->group_pieces);
    const int64_t shortest = l->group_steps - (int64_t)(p->group_pieces - 1) * p->piece_steps;
    p->pieces_are_whole = KRN_CUDA_SLICE_STEPS % p->piece_steps == 0;
    /* Two blocks to a multiprocessor where a chunk still gives every warp a slice, else as much as one can have. */
    const int64_t half = device->shared_bytes_per_multiprocessor / 2 - RESERVED_SHARED_BYTES;
    int64_t ring = ring_of(l, p, half - rings);
    if (p->deep || chunk_of(ring, shortest, slices) < (slices < KRN_CUDA_DECODE_WARPS ? slices : KRN_CUDA_DECODE_WARPS))
        ring = ring_of(l, p, device->shared_bytes_per_block - rings);
    p->ring_pieces = (int32_t)ring;
    p->chunk_slices = (int32_t)chunk_of(ring, shortest, slices);
    p->shared_bytes =
        (uint32_t)krn_cuda_decode_shared_bytes(l->code_bits, p->channels, p->tokens, p->deep, p->ring_pieces);
}

/* 32 channels to a block read x half as often, and have fewer instructions to a byte of weights; 16 spread small N over
 * the multiprocessors, and 8-bit codes beside 16 tokens leave no room for more. */
static void plan_decode(const krn_cuda_weights_layout *l, int32_t activation_type, int64_t m,
                        const krn_cuda_properties *device, krn_cuda_gemm_plan *p) {
    p->is_decode = 1;
    const int is_long = l->group_steps > KRN_CUDA_MAX_PIECE_STEPS;
    p->tokens = m <= 8 || is_long ? 8 : 16;
    const int fills_with_32 = 8 * divide_up(l->desc.n, 32) >= 7 * (int64_t)device->multiprocessors;
    if (p->tokens == 16)
        p->channels = l->code_bits == 8 ? 16 : 32;
    else
        p->channels = fills_with_32 && !is_long ? 32 : 16;
    plan_split(l, activation_type, m, device, p);
    p->threads = 32 * KRN_CUDA_DECODE_WARPS;
    p->blocks[0] = (uint32_t)divide_up(l->desc.n, p->channels);
    p->blocks[1] = (uint32_t)divide_up(m, p->tokens);
    p->deep = !is_long && !p->is_split &&
              wants_deep(l, device, p, krn_cuda_decode_stages(l->code_bits, 16, 8, 0),
                         krn_cuda_decode_shared_bytes(l->code_bits, 16, 8, 1, LEAST_RING));
    cut_decode(l, device, p);
    snprintf(p->kernel, sizeof p->kernel, "krn_gemm_decode_%s%s_%dx%d_sm80", format_name(l),
             is_long       ? "_long"
             : p->is_split ? "_split"
             : p->deep     ? "_deep"
                           : "",
             p->channels, p->tokens);
}

static void plan_prefill(const krn_cuda_weights_layout *l, int64_t m, const krn_cuda_properties *device,
                         krn_cuda_gemm_plan *p) {
    const int is_grouped = l->num_groups > 1;
    const int64_t large = divide_up(l->desc.n, 128) * divide_up(m, 128);
    const int32_t side = large >= device->multiprocessors ? 128 : 64;
    p->channels = p->tokens = side;
    p->threads = side == 128 && is_grouped ? 256 : 128;
    p->blocks[0] = (uint32_t)(divide_up(l->desc.n, side) * divide_up(m, side));
    p->blocks[1] = 1;
    p->shared_bytes = (uint32_t)krn_cuda_prefill_shared_bytes(l->code_bits, is_grouped, side, side);
    snprintf(p->kernel, sizeof p->kernel, "krn_gemm_prefill_%s_%s_%dx%d_sm80", format_name(l),
             is_grouped ? "group" : "channel", side, side);
}

/* How long a product takes with tiles of so many tokens: those that a multiprocessor has, each as long as its tokens
 * and as storing its results. */
static int64_t tma_time(const krn_cuda_weights_layout *l, int64_t m, const krn_cuda_properties *device,
                        int64_t tokens) {
    enum { STORE_COST = 24 };
    const int64_t tiles = divide_up(l->desc.n, KRN_CUDA_TMA_CHANNELS) * divide_up(m, tokens);
    return divide_up(tiles, device->multiprocessors) * (tokens + STORE_COST);
}

/* The tile of a product of activations of `x_bytes` bytes, and all that follows from it. */
static void cut_tma(const krn_cuda_weights_layout *l, int64_t m, const krn_cuda_properties *device, int32_t most_tokens,
                    int32_t x_bytes, krn_cuda_gemm_plan *p) {
    p->uses_tma = 1;
    p->channels = KRN_CUDA_TMA_CHANNELS;
    p->tokens = 64;
    for (int32_t tokens = 128; tokens <= most_tokens; tokens *= 2)
        if (tma_time(l, m, device, tokens) <= tma_time(l, m, device, p->tokens))
            p->tokens = tokens;
    p->threads = KRN_CUDA_TMA_THREADS;
    p->tiles = divide_up(l->desc.n, p->channels) * divide_up(m, p->tokens);
    /* A block for each multiprocessor, which walks over tiles; for each tile, where tiles have fewer stages than their
     * results take to be turned. */
    const int walks = l->padded_k / KRN_CUDA_TMA_K >= krn_cuda_tma_turn_stages(l->code_bits, x_bytes, p->tokens);
    p->blocks[0] = (uint32_t)(walks && p->tiles > device->multiprocessors ? device->multiprocessors : p->tiles);
    p->shared_bytes = (uint32_t)krn_cuda_tma_shared_bytes(l->code_bits, x_bytes, p->tokens);
}

/* 256 tokens per channel at most, 128 with groups: beside sums, chains would be too many registers. */
static void plan_tma(const krn_cuda_weights_layout *l, int64_t m, const krn_cuda_properties *device,
                     krn_cuda_gemm_plan *p) {
    const int is_grouped = l->num_groups > 1;
    cut_tma(l, m, device, is_grouped ? 128 : 256, 1, p);
    snprintf(p->kernel, sizeof p->kernel, "krn_gemm_prefill_%s_%s_%dx%d_sm90a", format_name(l),
             is_grouped ? "group" : "channel", p->channels, p->tokens);
}

/* As for integers; 16-bit activations take twice the room, so 8-bit codes, and 4-bit codes beside 16 tokens, have 16
 * channels. More than 16 tokens take as many blocks, which find the weights in the second-level cache. */
static void plan_float_decode(const krn_cuda_weights_layout *l, int32_t activation_type, int64_t m,
                              const krn_cuda_properties *device, krn_cuda_gemm_plan *p) {
    p->is_decode = 1;
    p->tokens = m <= 8 || l->code_bits == 8 ? 8 : 16;
    const int fills_with_32 = 8 * divide_up(l->desc.n, 32) >= 7 * (int64_t)device->multiprocessors;
    p->channels = fills_with_32 && p->tokens == 8 && l->code_bits == 4 ? 32 : 16;
    plan_split(l, activation_type, m, device, p);
    p->threads = 32 * KRN_CUDA_DECODE_WARPS;
    p->blocks[0] = (uint32_t)divide_up(l->desc.n, p->channels);
    p->blocks[1] = (uint32_t)divide_up(m, p->tokens);
    if (l->num_groups > 0)
        p->group_pieces = (int32_t)float_pieces_of(l->group_steps);
    p->num_pieces = (int32_t)count_float_pieces(l);
    /* Two blocks to a multiprocessor where every warp still has a piece in a chunk, else as much as one can have. */
    p->deep =
        !p->is_split && wants_deep(l, device, p, krn_cuda_float_decode_stages(l->code_bits, 16, 8, 0),
                                   krn_cuda_float_decode_shared_bytes(l->code_bits, 16, 8, 1, KRN_CUDA_DECODE_WARPS));
    const int64_t rings = krn_cuda_float_decode_shared_bytes(l->code_bits, p->channels, p->tokens, p->deep, 0);
    const int64_t piece = krn_cuda_decode_piece_bytes(p->channels, p->tokens);
    int64_t chunk = (device->shared_bytes_per_multiprocessor / 2 - RESERVED_SHARED_BYTES - rings) / piece;
    if (p->deep || chunk < (p->num_pieces < KRN_CUDA_DECODE_WARPS ? p->num_pieces : KRN_CUDA_DECODE_WARPS))
        chunk = (device->shared_bytes_per_block - rings) / piece;
    if (chunk > p->num_pieces)
        chunk = p->num_pieces;
    else if (chunk > KRN_CUDA_DECODE_WARPS)
        chunk -= chunk % KRN_CUDA_DECODE_WARPS;
    p->chunk_pieces = (int32_t)chunk;
    p->shared_bytes =
        (uint32_t)krn_cuda_float_decode_shared_bytes(l->code_bits, p->channels, p->tokens, p->deep, p->chunk_pieces);
    snprintf(p->kernel, sizeof p->kernel, "krn_gemm_float_decode_%s_%s%s_%dx%d_sm80", format_name(l),
             half_name(activation_type),
             p->is_split ? "_split"
             : p->deep   ? "_deep"
                         : "",
             p->channels, p->tokens);
}

/* Every block of 128 inputs enters a chain, so there are as many chains as sums for any weights. */
static void plan_float_tma(const krn_cuda_weights_layout *l, const char *type, int64_t m,
                           const krn_cuda_properties *device, krn_cuda_gemm_plan *p) {
    cut_tma(l, m, device, 128, 2, p);
    snprintf(p->kernel, sizeof p->kernel, "krn_gemm_float_prefill_%s_%s_%dx%d_sm90a", format_name(l), type, p->channels,
             p->tokens);
}

static void plan_float_prefill(const krn_cuda_weights_layout *l, const char *type, int64_t m,
                               const krn_cuda_properties *device, krn_cuda_gemm_plan *p) {
    const int64_t large = divide_up(l->desc.n, 128) * divide_up(m, 128);
    const int32_t side = large >= device->multiprocessors ? 128 : 64;
    p->channels = p->tokens = side;
    p->threads = side == 128 ? 256 : 128;
    p->blocks[0] = (uint32_t)(divide_up(l->desc.n, side) * divide_up(m, side));
    p->shared_bytes = (uint32_t)krn_cuda_float_prefill_shared_bytes(l->code_bits, side, side);
    snprintf(p->kernel, sizeof p->kernel, "krn_gemm_float_prefill_%s_%s_%dx%d_sm80", format_name(l), type, side, side);
}

static void plan_float(const krn_cuda_weights_layout *l, int32_t activation_type, int64_t m,
                       const krn_cuda_properties *device, int32_t architecture, krn_cuda_gemm_plan *p) {
    const char *type = half_name(activation_type);
    if (m <= 16 || (m <= 48 && divide_up(l->desc.n, 64) * 2 < device->multiprocessors))
        plan_float_decode(l, activation_type, m, device, p);
    else if (architecture == KRN_CUDA_CLASS_SM90A && l->desc.k > 0)
        plan_float_tma(l, type, m, device, p);
    else
        plan_float_prefill(l, type, m, device, p);
}

void krn_cuda_gemm_make_plan(const krn_cuda_weights_layout *layout, int32_t activation_type, int64_t m,
                             const krn_cuda_properties *device, int32_t architecture, krn_cuda_gemm_plan *plan) {
    *plan = (krn_cuda_gemm_plan){.blocks = {1, 1, 1}, .group_pieces = 1};
    if (activation_type == KRN_TYPE_F16 || activation_type == KRN_TYPE_BF16) {
        plan_float(layout, activation_type, m, device, architecture, plan);
        return;
    }
    plan->short_groups =
        longest_group(layout) <= (activation_type == KRN_TYPE_U8 ? KRN_CUDA_SHORT_GROUP_U8 : KRN_CUDA_SHORT_GROUP);
    if (wants_decode(layout, activation_type, m, device))
        plan_decode(layout, activation_type, m, device, plan);
    else if (architecture == KRN_CUDA_CLASS_SM90A && layout->desc.k > 0)
        plan_tma(layout, m, device, plan);
    else
        plan_prefill(layout, m, device, plan);
}
