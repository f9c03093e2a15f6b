/* Four warps that multiply together, and their products in flight. */
#ifndef KRN_EMULATOR_WARPGROUP_H
#define KRN_EMULATOR_WARPGROUP_H

#include "cuda/emulator/asynchronous.h"

#include <stdint.h>
#include <vector>

namespace emulator {

/* Accumulators that belong to the tensor cores for now. The threads' variables hold POISON meanwhile, so that a kernel
 * that reads them too early computes nonsense, and one that writes them is found out. */
struct Accumulators {
    uint32_t *visible[128];
    int32_t count;
    std::vector<uint32_t> values; /* [128][count] */
    uint32_t last_group;

    static constexpr uint32_t POISON = 0x7FFBADAD;
};

struct SharedRange {
    uint32_t address, bytes;
};

struct Product {
    WgmmaShape shape;
    /* [64][k] bytes or 16-bit floats, widened, as they were when the product was issued: nobody may write them before
     * it is done. */
    std::vector<int16_t> integer_a, integer_b;
    std::vector<float> float_a, float_b;
    /* Which accumulators, by their variables of the first thread. */
    uint32_t *accumulators;
    uint32_t group;
    std::vector<SharedRange> operands;
};

struct Warpgroup {
    int32_t arrived = 0;
    const char *instruction = "";
    void *arguments[128] = {};
    std::vector<Product> products;
    std::vector<Accumulators> accumulators;
    uint32_t next_group = 0;

    bool is_busy() const { return !products.empty(); }
};

} // namespace emulator

#endif
