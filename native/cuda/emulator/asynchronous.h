/* mbarriers, the copy engine and wgmma: what goes on while the thread that asked for it runs on. */
#ifndef KRN_EMULATOR_ASYNCHRONOUS_H
#define KRN_EMULATOR_ASYNCHRONOUS_H

#include "cuda/common/tensor_map.h"

#include <stdint.h>

namespace emulator {

void mbarrier_init(uint32_t mbarrier, int32_t arrivals);
void mbarrier_arrive(uint32_t mbarrier, int32_t expected_bytes);
/* Waits until the phase of that parity has ended. Always true. */
bool mbarrier_wait(uint32_t mbarrier, int32_t parity);

/* Where the box of a tensor map lies, innermost first. */
struct Coordinates {
    int32_t at[5];
};

void fence_proxy_async();
void bulk_load(uint32_t to, const void *from, int32_t bytes, uint32_t mbarrier);
void bulk_store(void *to, uint32_t from, int32_t bytes);
void tensor_load(uint32_t to, const krn_cuda_tensor_map *map, uint32_t mbarrier, int32_t rank, Coordinates box);
void tensor_store(const krn_cuda_tensor_map *map, uint32_t from, int32_t rank, Coordinates box);
void bulk_commit();
void bulk_wait(int32_t pending);

/* What a warpgroup multiplies: d[64][n] += a[64][k] b[k][n]. */
enum class WgmmaType { S8S8, U8S8, S8U8, U8U8, F16, BF16 };
struct WgmmaShape {
    WgmmaType type;
    int32_t n;
    /* Whether rows of b (k) lie apart and its columns (n) next to each other; 16-bit types only. */
    bool b_is_n_major;
    /* Adds to d; else overwrites it. */
    bool accumulates;
};
/* `d` are the n / 2 accumulators of the thread. `a` are 4 registers, or null: then a_descriptor is used. */
void wgmma(const WgmmaShape &shape, void *d, const uint32_t *a, uint64_t a_descriptor, uint64_t b_descriptor);
void wgmma_fence();
void wgmma_commit();
void wgmma_wait(int32_t pending);

} // namespace emulator

#endif
