/* The threads that work on one row together: a warp, or a whole block (row_plan.h). */
#ifndef KRN_CUDA_ROW_TEAM_H
#define KRN_CUDA_ROW_TEAM_H

#include "cuda/common/elements.cuh"
#include "cuda/common/row_plan.h"
#include "cuda/ptx/barrier.h"
#include "cuda/ptx/copy_async.h"
#include "cuda/ptx/warp.h"

namespace kernels {

struct Team {
    int32_t rank, threads;
    int64_t row;
    ptx::SharedAddress scratch, memory;

    KRN_DEVICE_MEMBER bool is_warp() const { return threads == 32; }

    /* What members wrote before, all of them see after. */
    KRN_DEVICE_MEMBER void sync() const {
        if (is_warp())
            ptx::sync_warp();
        else
            ptx::sync_threads();
    }

    /* The largest value of all members, in each of them. Every reduction of a row needs a slot of its own, 0 to 5, as
     * nothing waits until all have read it. */
    KRN_DEVICE_MEMBER uint32_t max(uint32_t value, int32_t slot) const {
        const uint32_t of_warp = ptx::reduce_max(value);
        if (is_warp())
            return of_warp;
        const ptx::SharedAddress words = scratch + 128 * static_cast<uint32_t>(slot);
        if (ptx::lane() == 0)
            ptx::store_shared(words + 4 * static_cast<uint32_t>(ptx::warp()), of_warp);
        ptx::sync_threads();
        const bool is_word = ptx::lane() < threads / 32;
        const uint32_t other = is_word ? ptx::load_shared<uint32_t>(words + 4 * static_cast<uint32_t>(ptx::lane())) : 0;
        return ptx::reduce_max(other);
    }
};

/* Where this thread belongs. A team whose row is not there has nothing to do. */
KRN_DEVICE Team team_of(const krn_cuda_row_plan &plan) {
    const int32_t number = plan.teams == 1 ? 0 : ptx::warp();
    return {plan.teams == 1 ? ptx::thread_x() : ptx::lane(), plan.team_threads,
            static_cast<int64_t>(ptx::block_x()) * plan.teams + number, ptx::shared_base(),
            ptx::shared_base() + KRN_CUDA_ROW_SCRATCH_BYTES + static_cast<uint32_t>(number * plan.team_bytes)};
}

/* A row of the input, in shared memory as it lies in global memory, or where it is where it does not fit. */
template <int32_t type> struct InputRow {
    const void *global;
    ptx::SharedAddress shared;
    int32_t cols;
    bool is_staged, is_aligned;

    KRN_DEVICE_MEMBER Quad quad(int32_t i) const {
        if (!is_staged)
            return load_quad<type>(global, i, cols - i, is_aligned);
        const ptx::SharedAddress at = shared + static_cast<uint32_t>(i * ELEMENT_BYTES<type>);
        if constexpr (type == KRN_TYPE_F32)
            return quad_of(ptx::load_shared<ptx::U32x4>(at));
        else
            return widen<type>(ptx::load_shared<ptx::U32x2>(at));
    }

    KRN_DEVICE_MEMBER float element(int32_t i) const {
        if (!is_staged)
            return load_element<type>(global, i);
        const ptx::SharedAddress at = shared + static_cast<uint32_t>(i * ELEMENT_BYTES<type>);
        if constexpr (type == KRN_TYPE_F32)
            return ptx::load_shared<float>(at);
        else
            return widen<type>(ptx::load_shared<uint16_t>(at));
    }

    /* Elements i and i + 1, both there and i even. */
    KRN_DEVICE_MEMBER void pair(int32_t i, float &even, float &odd) const {
        if (!is_staged) {
            even = load_element<type>(global, i);
            odd = load_element<type>(global, i + 1);
            return;
        }
        const ptx::SharedAddress at = shared + static_cast<uint32_t>(i * ELEMENT_BYTES<type>);
        if constexpr (type == KRN_TYPE_F32) {
            const auto bits = ptx::load_shared<ptx::U32x2>(at);
            even = ptx::bits_as<float>(bits.x);
            odd = ptx::bits_as<float>(bits.y);
        } else {
            const auto bits = ptx::load_shared<uint32_t>(at);
            even = widen<type>(static_cast<uint16_t>(bits));
            odd = widen<type>(static_cast<uint16_t>(bits >> 16));
        }
    }

    KRN_DEVICE_MEMBER void put(int32_t i, const Quad &q) const {
        const ptx::SharedAddress at = shared + static_cast<uint32_t>(i * ELEMENT_BYTES<type>);
        if constexpr (type == KRN_TYPE_F32)
            ptx::store_shared(at, bits_of(q));
        else
            ptx::store_shared(at, narrow<type>(q));
    }

    /* Brings the row, with zeros behind it up to a multiple of four. The copies of a row are all in flight at once, and
     * those of other blocks beside them. */
    KRN_DEVICE_MEMBER void stage(const Team &team) const {
        if (!is_staged)
            return;
        if (is_aligned) {
            const int32_t bytes = cols * ELEMENT_BYTES<type>;
            for (int32_t at = 16 * team.rank; at < bytes; at += 16 * team.threads)
                ptx::cp_async_16(shared + static_cast<uint32_t>(at), static_cast<const uint8_t *>(global) + at,
                                 bytes - at < 16 ? bytes - at : 16);
            ptx::cp_async_commit();
            ptx::cp_async_wait<0>();
        } else {
            for (int32_t i = QUAD * team.rank; i < cols; i += QUAD * team.threads)
                put(i, load_quad<type>(global, i, cols - i, false));
        }
        team.sync();
    }
};

} // namespace kernels

#endif
