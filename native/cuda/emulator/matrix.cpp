#include "cuda/emulator/matrix.h"

#include "common/half.h"
#include "cuda/emulator/block.h"

namespace emulator {

namespace {

struct MoveMatrices {
    uint32_t *registers;
    uint32_t row;
};

} // namespace

/* Where lane l finds the 16-bit element pair of a matrix whose rows are here. */
static uint8_t *element(uint8_t *const rows[8], int32_t row, int32_t column) { return rows[row] + column * 2; }

/* The rows of matrix i, each accessed on behalf of the lane that named it, and by the warp. */
static void find_rows(const Meeting &m, const char *instruction, int32_t matrix, SharedMemory::Kind kind,
                      uint8_t *rows[8]) {
    Block &block = *running()->block;
    const int32_t first = running()->warp() * 32;
    for (int32_t r = 0; r < 8; r++) {
        const int32_t lane = matrix * 8 + r;
        const Actor actor = block.warp_actor_of(block.threads[static_cast<uint32_t>(first + lane)]);
        rows[r] = block.shared.access(instruction, m.of<MoveMatrices>(lane).row, 16, kind, actor);
    }
}

template <int32_t matrices, bool transposed> static void run_ldmatrix(const Meeting &m) {
    uint8_t *rows[8];
    for (int32_t i = 0; i < matrices; i++) {
        find_rows(m, "ldmatrix", i, SharedMemory::Kind::READ, rows);
        for (int32_t lane = 0; lane < 32; lane++) {
            const int32_t major = lane / 4, minor = lane % 4 * 2;
            uint16_t low, high;
            __builtin_memcpy(&low, transposed ? element(rows, minor, major) : element(rows, major, minor), 2);
            __builtin_memcpy(&high, transposed ? element(rows, minor + 1, major) : element(rows, major, minor + 1), 2);
            m.of<MoveMatrices>(lane).registers[i] = static_cast<uint32_t>(high) << 16 | low;
        }
    }
}

template <int32_t matrices, bool transposed> static void run_stmatrix(const Meeting &m) {
    uint8_t *rows[8];
    for (int32_t i = 0; i < matrices; i++) {
        find_rows(m, "stmatrix", i, SharedMemory::Kind::WRITE, rows);
        for (int32_t lane = 0; lane < 32; lane++) {
            const int32_t major = lane / 4, minor = lane % 4 * 2;
            const uint32_t pair = m.of<MoveMatrices>(lane).registers[i];
            const uint16_t low = static_cast<uint16_t>(pair), high = static_cast<uint16_t>(pair >> 16);
            __builtin_memcpy(transposed ? element(rows, minor, major) : element(rows, major, minor), &low, 2);
            __builtin_memcpy(transposed ? element(rows, minor + 1, major) : element(rows, major, minor + 1), &high, 2);
        }
    }
}

void ldmatrix(uint32_t *d, int32_t matrices, uint32_t row, bool transposed) {
    MoveMatrices move = {d, row};
    if (matrices == 4)
        meet("ldmatrix.x4", 0xFFFFFFFFu, move, transposed ? run_ldmatrix<4, true> : run_ldmatrix<4, false>);
    else
        meet("ldmatrix.x2", 0xFFFFFFFFu, move, transposed ? run_ldmatrix<2, true> : run_ldmatrix<2, false>);
}

void stmatrix(const uint32_t *s, int32_t matrices, uint32_t row, bool transposed) {
    uint32_t copy[4] = {};
    for (int32_t i = 0; i < matrices; i++)
        copy[i] = s[i];
    MoveMatrices move = {copy, row};
    if (matrices == 4)
        meet("stmatrix.x4", 0xFFFFFFFFu, move, transposed ? run_stmatrix<4, true> : run_stmatrix<4, false>);
    else
        meet("stmatrix.x2", 0xFFFFFFFFu, move, transposed ? run_stmatrix<2, true> : run_stmatrix<2, false>);
}

namespace {

/* Fragments are gathered into matrices of elements, which are multiplied as anybody would, and dealt out again. */
struct IntegerProduct {
    int32_t *d;
    const uint32_t *a, *b;
};

struct FloatProduct {
    float *d;
    const uint32_t *a, *b;
};

template <int32_t bits> int32_t integer_at(uint32_t word, int32_t index, bool is_signed) {
    const uint32_t field = word << (32 - bits * (index + 1));
    return is_signed ? static_cast<int32_t>(field) >> (32 - bits) : static_cast<int32_t>(field >> (32 - bits));
}

} // namespace

template <int32_t bits, bool a_signed, bool b_signed> static void run_integer(const Meeting &m) {
    constexpr int32_t E = 32 / bits, K = 8 * E;
    int16_t a[16][K], b[8][K];
    for (int32_t lane = 0; lane < 32; lane++) {
        const IntegerProduct &p = m.of<IntegerProduct>(lane);
        const int32_t g = lane / 4, t = lane % 4;
        for (int32_t r = 0; r < 4; r++)
            for (int32_t e = 0; e < E; e++)
                a[g + r % 2 * 8][r / 2 * 4 * E + t * E + e] =
                    static_cast<int16_t>(integer_at<bits>(p.a[r], e, a_signed));
        for (int32_t r = 0; r < 2; r++)
            for (int32_t e = 0; e < E; e++)
                b[g][r * 4 * E + t * E + e] = static_cast<int16_t>(integer_at<bits>(p.b[r], e, b_signed));
    }
    for (int32_t lane = 0; lane < 32; lane++) {
        int32_t *const d = m.of<IntegerProduct>(lane).d;
        for (int32_t i = 0; i < 4; i++) {
            const int32_t row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
            int32_t sum = 0;
            for (int32_t k = 0; k < K; k++)
                sum += a[row][k] * b[column][k];
            d[i] = static_cast<int32_t>(static_cast<uint32_t>(d[i]) + static_cast<uint32_t>(sum));
        }
    }
}

template <int32_t bits> static void integer_product(const char *instruction, IntegerProduct &p, Signs signs) {
    switch (signs) {
    case Signs::SS: return meet(instruction, 0xFFFFFFFFu, p, run_integer<bits, true, true>);
    case Signs::US: return meet(instruction, 0xFFFFFFFFu, p, run_integer<bits, false, true>);
    case Signs::SU: return meet(instruction, 0xFFFFFFFFu, p, run_integer<bits, true, false>);
    case Signs::UU: return meet(instruction, 0xFFFFFFFFu, p, run_integer<bits, false, false>);
    }
}

void mma_s8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Signs signs) {
    IntegerProduct p = {d, a, b};
    integer_product<8>("mma.m16n8k32", p, signs);
}

void mma_s4(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Signs signs) {
    IntegerProduct p = {d, a, b};
    integer_product<4>("mma.m16n8k64", p, signs);
}

template <int32_t K, Half type> static void run_float(const Meeting &m) {
    float a[16][K], b[8][K];
    constexpr int32_t halves = K / 8;
    const auto widen = [](uint32_t bits) {
        return type == Half::F16 ? krn_f16_to_f32(static_cast<uint16_t>(bits))
                                 : krn_bf16_to_f32(static_cast<uint16_t>(bits));
    };
    for (int32_t lane = 0; lane < 32; lane++) {
        const FloatProduct &p = m.of<FloatProduct>(lane);
        const int32_t g = lane / 4, t = lane % 4;
        for (int32_t r = 0; r < 2 * halves; r++)
            for (int32_t e = 0; e < 2; e++)
                a[g + r % 2 * 8][r / 2 * 8 + t * 2 + e] = widen(p.a[r] >> (16 * e));
        for (int32_t r = 0; r < halves; r++)
            for (int32_t e = 0; e < 2; e++)
                b[g][r * 8 + t * 2 + e] = widen(p.b[r] >> (16 * e));
    }
    for (int32_t lane = 0; lane < 32; lane++) {
        float *const d = m.of<FloatProduct>(lane).d;
        for (int32_t i = 0; i < 4; i++) {
            const int32_t row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
            double sum = static_cast<double>(d[i]);
            for (int32_t k = 0; k < K; k++)
                sum += static_cast<double>(a[row][k]) * static_cast<double>(b[column][k]);
            d[i] = static_cast<float>(sum);
        }
    }
}

void mma_half(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], Half type) {
    FloatProduct p = {d, a, b};
    if (type == Half::F16)
        meet("mma.m16n8k16.f16", 0xFFFFFFFFu, p, run_float<16, Half::F16>);
    else
        meet("mma.m16n8k16.bf16", 0xFFFFFFFFu, p, run_float<16, Half::BF16>);
}

void mma_half_k8(float (&d)[4], const uint32_t (&a)[2], uint32_t b, Half type) {
    FloatProduct p = {d, a, &b};
    if (type == Half::F16)
        meet("mma.m16n8k8.f16", 0xFFFFFFFFu, p, run_float<8, Half::F16>);
    else
        meet("mma.m16n8k8.bf16", 0xFFFFFFFFu, p, run_float<8, Half::BF16>);
}

} // namespace emulator
