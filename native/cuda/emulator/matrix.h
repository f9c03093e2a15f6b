/* Matrix instructions of a warp. */
#ifndef KRN_EMULATOR_MATRIX_H
#define KRN_EMULATOR_MATRIX_H

#include <stdint.h>

namespace emulator {

void ldmatrix(uint32_t *d, int32_t matrices, uint32_t row, bool transposed);
void stmatrix(const uint32_t *s, int32_t matrices, uint32_t row, bool transposed);

/* d += a b of the whole warp, fragments laid out as ptx/mma.h draws them. */
enum class Signs { SS, US, SU, UU };
void mma_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Signs signs);
void mma_s4(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Signs signs);
enum class Half { F16, BF16 };
void mma_half(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Half type);
/* k = 8: half of the operands. */
void mma_half_k8(float (&d)[4], const uint32_t (&a)[2], uint32_t b, Half type);

} // namespace emulator

#endif
