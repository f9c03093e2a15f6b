/* What a pass over a row brings near on its way: memory that is read after it. */
#ifndef KRN_AHEAD_H
#define KRN_AHEAD_H

#include "common/portability.h"

#include <stdint.h>

enum { KRN_AHEAD_STREAMS = 2 };

/* For element i of the row, `bytes_per_64` / 64 bytes for each element from that place on in every stream. All zero:
 * nothing. A pass that is not the only one over its row takes its share of what is ahead, so that memory is busy all
 * the time: bursts of prefetches wait for each other. */
typedef struct krn_ahead {
    int32_t streams;
    /* Whether lines are to come no nearer than the second-level cache; see krn_cpu_has_small_l1. */
    int32_t is_outer;
    const char *stream[KRN_AHEAD_STREAMS];
    int64_t bytes_per_64;
} krn_ahead;

/* is_outer, of which compilers know that it is 0 where no processor has so small a cache, and under sanitizers, which do not
 * look at hints: loops for both places are then made once. */
KRN_ALWAYS_INLINE int krn_is_outer(const krn_ahead *ahead) {
#if defined(KRN_ARM64) || defined(KRN_SANITIZED)
    (void)ahead;
    return 0;
#else
    return ahead->is_outer;
#endif
}

/* Seen from `elements` further on, a multiple of 64 unless nothing is ahead. */
KRN_ALWAYS_INLINE krn_ahead krn_ahead_from(krn_ahead ahead, int64_t elements) {
    for (int32_t s = 0; s < ahead.streams; s++)
        ahead.stream[s] += elements / 64 * ahead.bytes_per_64;
    return ahead;
}

KRN_ALWAYS_INLINE void krn_prefetch_line(int is_outer, const char *line) {
    if (is_outer)
        KRN_PREFETCH_OUTER(line);
    else
        KRN_PREFETCH_ONCE(line);
}

/* Prefetches for elements i..i+count-1; count is at most 64. */
KRN_ALWAYS_INLINE void krn_prefetch_ahead(const krn_ahead *ahead, int64_t i, int64_t count) {
    const int64_t bytes = count * ahead->bytes_per_64 / 64;
    for (int32_t s = 0; s < ahead->streams; s++)
        for (int64_t line = 0; line < bytes; line += 64)
            krn_prefetch_line(krn_is_outer(ahead), ahead->stream[s] + i * ahead->bytes_per_64 / 64 + line);
}

#endif
