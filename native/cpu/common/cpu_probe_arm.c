/* What the processor of this machine is, told by the operating system: 64-bit ARM lets no program ask the processor. */
#include "common/cpu_features.h"
#include "common/portability.h"

#if !defined(KRN_X86_64)
#include <stdio.h>

int krn_cpu_follows_streams(void) { return 0; }

/* Cores that run matrices have 64 KiB. */
int krn_cpu_has_small_l1(void) { return 0; }

#if defined(KRN_ARM64) && defined(__linux__)
#include <sys/auxv.h>

/* Bits of the auxiliary vector, part of Linux's binary interface; headers older than a processor lack its names. */
enum { HWCAP_BIT_ASIMD = 1, HWCAP_BIT_ASIMDDP = 20, HWCAP2_BIT_I8MM = 13, HWCAP2_BIT_BF16 = 14 };

static uint64_t bit(unsigned long capabilities, int index, uint64_t feature) {
    return (capabilities >> index) & 1 ? feature : 0;
}

uint64_t krn_cpu_features(void) {
    const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
    return bit(first, HWCAP_BIT_ASIMD, KRN_CPU_NEON) | bit(first, HWCAP_BIT_ASIMDDP, KRN_CPU_NEON_DOTPROD) |
           bit(second, HWCAP2_BIT_I8MM, KRN_CPU_NEON_I8MM) | bit(second, HWCAP2_BIT_BF16, KRN_CPU_NEON_BF16);
}

/* The main identification register names the maker and the core; tables of their names age, so the numbers it is. */
const char *krn_cpu_name(void) {
    static KRN_THREAD_LOCAL char name[64];
    unsigned long long identification = 0;
    FILE *file = fopen("/sys/devices/system/cpu/cpu0/regs/identification/midr_el1", "r");
    if (file == NULL)
        return "";
    const int fields = fscanf(file, "%llx", &identification);
    fclose(file);
    if (fields != 1)
        return "";
    snprintf(name, sizeof name, "ARM implementer 0x%02llx part 0x%03llx", (identification >> 24) & 0xff,
             (identification >> 4) & 0xfff);
    return name;
}

#elif defined(KRN_ARM64) && defined(__APPLE__)
#include <sys/sysctl.h>

static uint64_t has(const char *name, uint64_t feature) {
    int32_t value = 0;
    size_t bytes = sizeof value;
    return sysctlbyname(name, &value, &bytes, NULL, 0) == 0 && value != 0 ? feature : 0;
}

uint64_t krn_cpu_features(void) {
    return KRN_CPU_NEON | has("hw.optional.arm.FEAT_DotProd", KRN_CPU_NEON_DOTPROD) |
           has("hw.optional.arm.FEAT_I8MM", KRN_CPU_NEON_I8MM) | has("hw.optional.arm.FEAT_BF16", KRN_CPU_NEON_BF16);
}

const char *krn_cpu_name(void) {
    static KRN_THREAD_LOCAL char name[128];
    size_t bytes = sizeof name - 1;
    return sysctlbyname("machdep.cpu.brand_string", name, &bytes, NULL, 0) == 0 ? name : "";
}

#elif defined(KRN_ARM64) && defined(_WIN32)
#include <windows.h>

/* Numbers of processor features that older SDKs have no names for. */
enum { FEATURE_DOTPROD = 43, FEATURE_I8MM = 66, FEATURE_BF16 = 68 };

static uint64_t has(DWORD number, uint64_t feature) { return IsProcessorFeaturePresent(number) ? feature : 0; }

uint64_t krn_cpu_features(void) {
    return KRN_CPU_NEON | has(FEATURE_DOTPROD, KRN_CPU_NEON_DOTPROD) | has(FEATURE_I8MM, KRN_CPU_NEON_I8MM) |
           has(FEATURE_BF16, KRN_CPU_NEON_BF16);
}

const char *krn_cpu_name(void) { return ""; }

#else

uint64_t krn_cpu_features(void) { return 0; }

const char *krn_cpu_name(void) { return ""; }

#endif
#endif
