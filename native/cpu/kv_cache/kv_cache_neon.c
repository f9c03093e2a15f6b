/* Appending with NEON: tokens one by one (kv_cache_rows.h). */
#include "kv_cache/kv_cache_rows.h"

static void store_group(const krn_kv_encoding *e, const float *tail, int32_t blocks, unsigned char *codes,
                        float *scales, uint8_t *zero_points) {
    krn_kv_cache_ref.store_group(e, tail, blocks, codes, scales, zero_points);
}

const krn_kv_kernels krn_kv_cache_neon = {
    .name = "neon",
    .features = KRN_CPU_NEON,
    .store_keys = store_key_rows,
    .store_values = store_value_rows,
    .store_group = store_group,
};
