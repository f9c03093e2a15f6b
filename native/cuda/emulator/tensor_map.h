/* What the emulator keeps in the 128 bytes of a tensor map. */
#ifndef KRN_EMULATOR_TENSOR_MAP_H
#define KRN_EMULATOR_TENSOR_MAP_H

#include "cuda/common/backend.h"
#include "cuda/common/tensor_map.h"

#include <stdint.h>

namespace emulator {

struct TensorMap {
    uint64_t address;
    uint64_t sizes[5], strides_bytes[4]; /* strides of dimensions 1..4 */
    uint16_t box[5];
    uint16_t swizzle;
    uint16_t rank, element_bytes;
    uint32_t mark;

    static constexpr uint32_t MARK = 0x74736E74;
};
static_assert(sizeof(TensorMap) <= sizeof(krn_cuda_tensor_map), "does not fit");

/* Exchanges 16-byte chunks as tensor maps and wgmma descriptors with a swizzle of so many bytes do, by the address. */
inline uint32_t swizzled(uint32_t address, uint32_t swizzle) {
    switch (swizzle) {
    case 128: return address ^ ((address >> 7 & 7) << 4);
    case 64: return address ^ ((address >> 7 & 3) << 4);
    case 32: return address ^ ((address >> 7 & 1) << 4);
    default: return address;
    }
}

/* Fills in a map; false with a sentence in `why` when the driver would refuse. */
bool encode_tensor_map(const krn_cuda_tensor_map_desc &desc, TensorMap *map, char *why, unsigned why_bytes);

} // namespace emulator

#endif
