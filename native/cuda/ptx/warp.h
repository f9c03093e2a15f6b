/* What the lanes of a warp tell each other. `mask` names the lanes that take part; each of them must come. */
#ifndef KRN_PTX_WARP_H
#define KRN_PTX_WARP_H

#include "cuda/ptx/kernel.h"

#if !defined(__CUDACC__)
#include "cuda/emulator/warp.h"
#endif

namespace ptx {

constexpr uint32_t ALL_LANES = 0xFFFFFFFFu;

#if defined(__CUDACC__)

/* The value of lane `lane ^ lane_mask`. T has 4 bytes. */
template <class T> KRN_DEVICE T shuffle_xor(T value, int32_t lane_mask, uint32_t mask = ALL_LANES) {
    return bits_as<T>(__shfl_xor_sync(mask, bits_as<uint32_t>(value), lane_mask));
}

/* The value of lane `lane + delta`; the own one where that is outside of the warp. */
template <class T> KRN_DEVICE T shuffle_down(T value, uint32_t delta, uint32_t mask = ALL_LANES) {
    return bits_as<T>(__shfl_down_sync(mask, bits_as<uint32_t>(value), delta));
}

/* The value of lane `lane - delta`; the own one where that is outside of the warp. */
template <class T> KRN_DEVICE T shuffle_up(T value, uint32_t delta, uint32_t mask = ALL_LANES) {
    return bits_as<T>(__shfl_up_sync(mask, bits_as<uint32_t>(value), delta));
}

/* The value of lane `source`, modulo 32. */
template <class T> KRN_DEVICE T shuffle(T value, int32_t source, uint32_t mask = ALL_LANES) {
    return bits_as<T>(__shfl_sync(mask, bits_as<uint32_t>(value), source));
}

KRN_DEVICE uint32_t ballot(bool predicate, uint32_t mask = ALL_LANES) { return __ballot_sync(mask, predicate); }
KRN_DEVICE bool any(bool predicate, uint32_t mask = ALL_LANES) { return __any_sync(mask, predicate) != 0; }
KRN_DEVICE bool all(bool predicate, uint32_t mask = ALL_LANES) { return __all_sync(mask, predicate) != 0; }
/* The lanes that hold the same value. */
KRN_DEVICE uint32_t match_any(uint32_t value, uint32_t mask = ALL_LANES) { return __match_any_sync(mask, value); }

/* One instruction over all lanes; integers only. */
KRN_DEVICE int32_t reduce_add(int32_t value, uint32_t mask = ALL_LANES) { return __reduce_add_sync(mask, value); }
KRN_DEVICE int32_t reduce_max(int32_t value, uint32_t mask = ALL_LANES) { return __reduce_max_sync(mask, value); }
KRN_DEVICE int32_t reduce_min(int32_t value, uint32_t mask = ALL_LANES) { return __reduce_min_sync(mask, value); }
KRN_DEVICE uint32_t reduce_max(uint32_t value, uint32_t mask = ALL_LANES) { return __reduce_max_sync(mask, value); }
KRN_DEVICE uint32_t reduce_min(uint32_t value, uint32_t mask = ALL_LANES) { return __reduce_min_sync(mask, value); }
KRN_DEVICE uint32_t reduce_or(uint32_t value, uint32_t mask = ALL_LANES) { return __reduce_or_sync(mask, value); }

/* What the lanes wrote to memory before it, all of them see after it. Shuffles and votes do not do that. */
KRN_DEVICE void sync_warp(uint32_t mask = ALL_LANES) { __syncwarp(mask); }

#else

template <class T> KRN_DEVICE T shuffle_xor(T value, int32_t lane_mask, uint32_t mask = ALL_LANES) {
    return bits_as<T>(emulator::shuffle(mask, bits_as<uint32_t>(value), lane_mask, 32, emulator::ShuffleMode::XOR));
}

template <class T> KRN_DEVICE T shuffle_down(T value, uint32_t delta, uint32_t mask = ALL_LANES) {
    return bits_as<T>(emulator::shuffle(mask, bits_as<uint32_t>(value), static_cast<int32_t>(delta), 32,
                                        emulator::ShuffleMode::DOWN));
}

template <class T> KRN_DEVICE T shuffle_up(T value, uint32_t delta, uint32_t mask = ALL_LANES) {
    return bits_as<T>(
        emulator::shuffle(mask, bits_as<uint32_t>(value), static_cast<int32_t>(delta), 32, emulator::ShuffleMode::UP));
}

template <class T> KRN_DEVICE T shuffle(T value, int32_t source, uint32_t mask = ALL_LANES) {
    return bits_as<T>(emulator::shuffle(mask, bits_as<uint32_t>(value), source, 32, emulator::ShuffleMode::INDEX));
}

KRN_DEVICE uint32_t ballot(bool predicate, uint32_t mask = ALL_LANES) { return emulator::ballot(mask, predicate); }
KRN_DEVICE bool any(bool predicate, uint32_t mask = ALL_LANES) { return emulator::ballot(mask, predicate) != 0; }
KRN_DEVICE bool all(bool predicate, uint32_t mask = ALL_LANES) { return emulator::ballot(mask, predicate) == mask; }
KRN_DEVICE uint32_t match_any(uint32_t value, uint32_t mask = ALL_LANES) { return emulator::match_any(mask, value); }

KRN_DEVICE int32_t reduce_add(int32_t value, uint32_t mask = ALL_LANES) {
    return static_cast<int32_t>(emulator::reduce(mask, static_cast<uint32_t>(value), emulator::Reduction::ADD));
}
KRN_DEVICE int32_t reduce_max(int32_t value, uint32_t mask = ALL_LANES) {
    return static_cast<int32_t>(emulator::reduce(mask, static_cast<uint32_t>(value), emulator::Reduction::MAX_S32));
}
KRN_DEVICE int32_t reduce_min(int32_t value, uint32_t mask = ALL_LANES) {
    return static_cast<int32_t>(emulator::reduce(mask, static_cast<uint32_t>(value), emulator::Reduction::MIN_S32));
}
KRN_DEVICE uint32_t reduce_max(uint32_t value, uint32_t mask = ALL_LANES) {
    return emulator::reduce(mask, value, emulator::Reduction::MAX_U32);
}
KRN_DEVICE uint32_t reduce_min(uint32_t value, uint32_t mask = ALL_LANES) {
    return emulator::reduce(mask, value, emulator::Reduction::MIN_U32);
}
KRN_DEVICE uint32_t reduce_or(uint32_t value, uint32_t mask = ALL_LANES) {
    return emulator::reduce(mask, value, emulator::Reduction::OR);
}

KRN_DEVICE void sync_warp(uint32_t mask = ALL_LANES) { emulator::sync_warp(mask); }

#endif

} // namespace ptx

#endif
