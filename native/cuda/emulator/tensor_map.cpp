#include "cuda/emulator/tensor_map.h"

#include <stdio.h>
#include <string.h>

namespace emulator {

static bool refuse(char *why, unsigned why_bytes, const char *what, int32_t dimension, uint64_t value) {
    snprintf(why, why_bytes, "a tensor map cannot have %s (dimension %d: %llu)", what, dimension,
             static_cast<unsigned long long>(value));
    return false;
}

bool encode_tensor_map(const krn_cuda_tensor_map_desc &desc, TensorMap *map, char *why, unsigned why_bytes) {
    const int32_t bytes = desc.element_bytes;
    memset(map, 0, sizeof *map);
    if (desc.rank < 1 || desc.rank > 5)
        return refuse(why, why_bytes, "this rank", 0, static_cast<uint64_t>(desc.rank));
    if (bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8)
        return refuse(why, why_bytes, "elements of this many bytes", 0, static_cast<uint64_t>(bytes));
    if (desc.swizzle != 0 && desc.swizzle != 32 && desc.swizzle != 64 && desc.swizzle != 128)
        return refuse(why, why_bytes, "this swizzle", 0, static_cast<uint64_t>(desc.swizzle));
    map->address = reinterpret_cast<uint64_t>(desc.address);
    if (map->address % 16 != 0)
        return refuse(why, why_bytes, "an address that is no multiple of 16", 0, map->address);
    for (int32_t d = 0; d < desc.rank; d++) {
        if (desc.sizes[d] == 0 || desc.sizes[d] > UINT64_C(1) << 32)
            return refuse(why, why_bytes, "this size", d, desc.sizes[d]);
        if (desc.box[d] == 0 || desc.box[d] > 256)
            return refuse(why, why_bytes, "a box of this size", d, desc.box[d]);
        if (d > 0 && (desc.strides_bytes[d] % 16 != 0 || desc.strides_bytes[d] >= UINT64_C(1) << 40))
            return refuse(why, why_bytes, "this stride", d, desc.strides_bytes[d]);
        map->sizes[d] = desc.sizes[d];
        map->box[d] = static_cast<uint16_t>(desc.box[d]);
        if (d > 0)
            map->strides_bytes[d - 1] = desc.strides_bytes[d];
    }
    const uint64_t inner = static_cast<uint64_t>(desc.box[0]) * static_cast<uint64_t>(bytes);
    if (inner % 16 != 0)
        return refuse(why, why_bytes, "a box whose rows are no multiple of 16 bytes", 0, inner);
    if (desc.swizzle != 0 && inner > static_cast<uint64_t>(desc.swizzle))
        return refuse(why, why_bytes, "a box whose rows are longer than its swizzle", 0, inner);
    map->swizzle = static_cast<uint16_t>(desc.swizzle);
    map->rank = static_cast<uint16_t>(desc.rank);
    map->element_bytes = static_cast<uint16_t>(bytes);
    map->mark = TensorMap::MARK;
    return true;
}

} // namespace emulator
