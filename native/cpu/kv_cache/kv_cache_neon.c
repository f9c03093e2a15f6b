/* Appending with NEON: tokens one by one (kv_cache_rows.h), groups of keys 8 tokens at a time. */
#include "kv_cache/kv_cache_rows.h"

#include "common/lanes_neon.h"
#include "kv_cache/kv_group_lanes.h"

const krn_kv_kernels krn_kv_cache_neon = {
    .name = "neon",
    .features = KRN_CPU_NEON,
    .store_keys = store_key_rows,
    .store_values = store_value_rows,
    .store_group = store_group,
};
