#include "common/cpu_features.h"

#include <stddef.h>

#define AVX2_FEATURES ((uint64_t)(KRN_CPU_AVX2 | KRN_CPU_FMA | KRN_CPU_F16C))
#define AVX512_FEATURES (AVX2_FEATURES | KRN_CPU_AVX512F | KRN_CPU_AVX512BW | KRN_CPU_AVX512DQ | KRN_CPU_AVX512VL)
#define VNNI_FEATURES (AVX512_FEATURES | KRN_CPU_AVX512VNNI)
#define BF16_FEATURES (VNNI_FEATURES | KRN_CPU_AVX512BF16)
#define NEON_DOTPROD_FEATURES ((uint64_t)(KRN_CPU_NEON | KRN_CPU_NEON_DOTPROD))
#define NEON_I8MM_FEATURES (NEON_DOTPROD_FEATURES | KRN_CPU_NEON_I8MM)
#define NEON_BF16_FEATURES (NEON_I8MM_FEATURES | KRN_CPU_NEON_BF16)

/* Best first; no machine has levels of two architectures. */
static const struct {
    int32_t isa;
    uint64_t features;
    const char *name;
} levels[] = {
    {KRN_ISA_AVX512BF16, BF16_FEATURES, "avx512bf16"},
    {KRN_ISA_AVX512VNNI, VNNI_FEATURES, "avx512vnni"},
    {KRN_ISA_AVX512, AVX512_FEATURES, "avx512"},
    {KRN_ISA_AVX2, AVX2_FEATURES, "avx2"},
    {KRN_ISA_NEON_BF16, NEON_BF16_FEATURES, "neon_bf16"},
    {KRN_ISA_NEON_I8MM, NEON_I8MM_FEATURES, "neon_i8mm"},
    {KRN_ISA_NEON_DOTPROD, NEON_DOTPROD_FEATURES, "neon_dotprod"},
    {KRN_ISA_NEON, KRN_CPU_NEON, "neon"},
    {KRN_ISA_REF, 0, "ref"},
};
enum { NUM_LEVELS = sizeof levels / sizeof levels[0] };

uint64_t krn_isa_features(int32_t isa) {
    for (int i = 0; i < NUM_LEVELS; i++)
        if (levels[i].isa == isa)
            return levels[i].features;
    return 0;
}

uint64_t krn_isa_optional_features(int32_t isa) {
    return (krn_isa_features(isa) & KRN_CPU_AVX512VNNI) != 0 ? KRN_CPU_AVX512VBMI : 0;
}

int32_t krn_isa_best(void) {
    const uint64_t present = krn_cpu_features();
    for (int i = 0; i < NUM_LEVELS; i++)
        if ((levels[i].features & ~present) == 0)
            return levels[i].isa;
    return KRN_ISA_REF;
}

const char *krn_isa_name(int32_t isa) {
    if (isa == KRN_ISA_AUTO)
        return "auto";
    for (int i = 0; i < NUM_LEVELS; i++)
        if (levels[i].isa == isa)
            return levels[i].name;
    return NULL;
}
