/* Where a block of the prefill kernels has its tile. Device code. */
#ifndef KRN_CUDA_GEMM_TILE_PLACE_H
#define KRN_CUDA_GEMM_TILE_PLACE_H

#include "cuda/gemm/gemm_params.h"
#include "cuda/ptx/kernel.h"

namespace gemm {

/* The first channel and the first token of a tile. Tiles of channels come in bands, within a band tokens by tokens:
 * blocks that run at the same time share what they read. */
struct TilePlace {
    int32_t channel, token;
};

KRN_DEVICE int32_t count_tiles(const krn_cuda_gemm_params &p, int32_t channels, int32_t tokens) {
    return ((p.n + channels - 1) / channels) * ((p.m + tokens - 1) / tokens);
}

KRN_DEVICE TilePlace place_tile(const krn_cuda_gemm_params &p, int32_t channels, int32_t tokens, int32_t tile) {
    constexpr int32_t BAND_TILES = 8;
    const int32_t across = (p.n + channels - 1) / channels, down = (p.m + tokens - 1) / tokens;
    const int32_t band = tile / (BAND_TILES * down), in_band = tile % (BAND_TILES * down);
    const int32_t rest = across - band * BAND_TILES, width = rest < BAND_TILES ? rest : BAND_TILES;
    return {(band * BAND_TILES + in_band % width) * channels, in_band / width * tokens};
}

} // namespace gemm

#endif
