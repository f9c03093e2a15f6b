/* What the processor of this machine is, told by cpuid. */
#include "common/cpu_features.h"
#include "common/portability.h"

#if defined(KRN_X86_64)

#include <stddef.h>
#include <string.h>

enum { EAX, EBX, ECX, EDX };

/* Registers that the operating system saves on a context switch: without these bits an instruction may exist and
 * still fault, or lose its operands. */
enum { XCR0_YMM = 0x06, XCR0_ZMM = 0xE6 };

static uint64_t bit(uint32_t value, int index, uint64_t feature) { return (value >> index) & 1 ? feature : 0; }

uint64_t krn_cpu_features(void) {
    uint32_t leaf0[4], leaf1[4], leaf7[4], leaf7_1[4];
    krn_cpuid(0, 0, leaf0);
    krn_cpuid(1, 0, leaf1);
    const int has_osxsave = (leaf1[ECX] >> 27) & 1;
    if (leaf0[EAX] < 7 || !has_osxsave)
        return 0;
    krn_cpuid(7, 0, leaf7);
    memset(leaf7_1, 0, sizeof leaf7_1);
    if (leaf7[EAX] >= 1)
        krn_cpuid(7, 1, leaf7_1);

    const uint64_t saved = krn_xcr0();
    uint64_t features = 0;
    if ((saved & XCR0_YMM) == XCR0_YMM) {
        features |= bit(leaf7[EBX], 5, KRN_CPU_AVX2);
        features |= bit(leaf1[ECX], 12, KRN_CPU_FMA);
        features |= bit(leaf1[ECX], 29, KRN_CPU_F16C);
    }
    if ((saved & XCR0_ZMM) == XCR0_ZMM) {
        features |= bit(leaf7[EBX], 16, KRN_CPU_AVX512F);
        features |= bit(leaf7[EBX], 17, KRN_CPU_AVX512DQ);
        features |= bit(leaf7[EBX], 30, KRN_CPU_AVX512BW);
        features |= bit(leaf7[EBX], 31, KRN_CPU_AVX512VL);
        features |= bit(leaf7[ECX], 1, KRN_CPU_AVX512VBMI);
        features |= bit(leaf7[ECX], 11, KRN_CPU_AVX512VNNI);
        features |= bit(leaf7_1[EAX], 5, KRN_CPU_AVX512BF16);
    }
    return features;
}

static int is_amd(void) {
    uint32_t leaf[4];
    krn_cpuid(0, 0, leaf);
    return memcmp(&leaf[EBX], "Auth", 4) == 0 && memcmp(&leaf[EDX], "enti", 4) == 0 &&
           memcmp(&leaf[ECX], "cAMD", 4) == 0;
}

int krn_cpu_follows_streams(void) {
    /* Family 19h is Zen 3 and Zen 4, of which only the latter has AVX-512. */
    const uint32_t family_19h = 0x19, base_family = 0xF;
    uint32_t leaf1[4];
    krn_cpuid(1, 0, leaf1);
    const uint32_t base = (leaf1[EAX] >> 8) & 0xF, extended = (leaf1[EAX] >> 20) & 0xFF;
    return is_amd() && base == base_family && base + extended == family_19h &&
           (krn_cpu_features() & KRN_CPU_AVX512F) != 0;
}

/* Bytes of the first-level data cache; 0 if the processor does not tell. Caches are listed one to a subleaf, in the same
 * words by Intel and AMD, under numbers of their own. */
static int64_t l1_bytes(void) {
    const int amd = is_amd();
    const uint32_t caches = amd ? 0x8000001Du : 4, data = 1, both = 3, most = 8;
    uint32_t leaf[4];
    krn_cpuid(caches & 0x80000000u, 0, leaf);
    if (leaf[EAX] < caches)
        return 0;
    for (uint32_t i = 0; i < most; i++) {
        krn_cpuid(caches, i, leaf);
        const uint32_t type = leaf[EAX] & 0x1F, level = (leaf[EAX] >> 5) & 7;
        if (type == 0)
            return 0;
        if (level == 1 && (type == data || type == both))
            return (int64_t)((leaf[EBX] >> 22) + 1) * (((leaf[EBX] >> 12) & 0x3FF) + 1) * ((leaf[EBX] & 0xFFF) + 1) *
                   ((int64_t)leaf[ECX] + 1);
    }
    return 0;
}

int krn_cpu_has_small_l1(void) {
    const int64_t large = 48 << 10, bytes = l1_bytes();
    return bytes > 0 && bytes < large;
}

const char *krn_cpu_name(void) {
    const uint32_t first_leaf = 0x80000002u, last_leaf = 0x80000004u;
    static KRN_THREAD_LOCAL char name[49];
    uint32_t leaf[4];
    krn_cpuid(0x80000000u, 0, leaf);
    if (leaf[EAX] < last_leaf)
        return "";
    for (uint32_t i = 0; i < 3; i++) {
        krn_cpuid(first_leaf + i, 0, leaf);
        memcpy(name + 16 * i, leaf, 16);
    }
    name[48] = '\0';
    size_t length = strlen(name);
    while (length > 0 && name[length - 1] == ' ')
        name[--length] = '\0';
    return name + strspn(name, " ");
}

#endif
