/* Pieces of the float cells: blocks of up to 128 inputs of a group, each of which enters the result by one fma
 * (gemm.h); and rows of x in shared memory. Device code. */
#ifndef KRN_CUDA_GEMM_FLOAT_PIECES_H
#define KRN_CUDA_GEMM_FLOAT_PIECES_H

#include "cuda/gemm/operands.h"

namespace gemm {

/* Steps of up to 128 inputs of a group. */
struct FloatPiece {
    int32_t group, first_step, steps;
};

KRN_DEVICE FloatPiece piece_at(const krn_cuda_gemm_params &p, int32_t piece) {
    constexpr int32_t MOST = KRN_CUDA_FLOAT_PIECE_STEPS;
    FloatPiece at;
    at.group = piece / p.group_pieces;
    const int32_t in_group = (piece - at.group * p.group_pieces) * MOST;
    at.first_step = at.group * p.group_steps + in_group;
    const int32_t of_group = p.group_steps - in_group, of_all = p.num_steps - at.first_step;
    const int32_t left = of_group < of_all ? of_group : of_all;
    at.steps = left < MOST ? left : MOST;
    return at;
}

/* Where the 16 bytes of inputs 8 i .. 8 i + 7 of a token's row lie in a stage: 32 bytes of row r are exchanged, so that
 * the lanes of half a warp, with 8 bytes each, meet no bank twice. */
template <int32_t row_bytes> KRN_DEVICE uint32_t half_row_at(int32_t row, int32_t i) {
    return static_cast<uint32_t>(row * row_bytes + ((i / 2 ^ (row % (row_bytes / 32))) * 32) + i % 2 * 16);
}

/* Goes along the steps of K, one after the other or in runs of `steps`, which divide a group and a piece. */
template <int32_t steps = 1> class PieceWalk {
  public:
    int32_t group = 0;

    KRN_DEVICE_MEMBER explicit PieceWalk(const krn_cuda_gemm_params &params)
        : group_steps(params.group_steps), last(params.num_steps - 1) {}

    /* Whether a piece ends with the run that begins at the step where the walk stands. */
    KRN_DEVICE_MEMBER bool ends(int32_t step) const {
        return (in_group + steps) % KRN_CUDA_FLOAT_PIECE_STEPS == 0 || in_group + steps == group_steps ||
               step + steps > last;
    }

    /* Goes on to the next run; says whether it is in another group. */
    KRN_DEVICE_MEMBER bool step_on() {
        in_group += steps;
        if (in_group != group_steps)
            return false;
        in_group = 0;
        group++;
        return true;
    }

  private:
    const int32_t group_steps, last;
    int32_t in_group = 0;
};

} // namespace gemm

#endif
