/* What the processor and the operating system offer, and what each krn_isa level asks for or can use. */
#ifndef KRN_CPU_FEATURES_H
#define KRN_CPU_FEATURES_H

#include "kernels/context.h"

/* The features that code of a level may use. 0 for KRN_ISA_REF and for numbers that are not a level. */
uint64_t krn_isa_features(int32_t isa);

/* Features that code of a level uses where the processor has them, and does without where it has not: AVX-512 VBMI,
 * which some processors with VNNI or BF16 lack. KRN_ISA_AVX512 never uses it, which is how machines that have it test
 * what runs on those that do not. */
uint64_t krn_isa_optional_features(int32_t isa);

/* Whether the processor's own prefetcher keeps pace with a loop that reads one linear stream from memory. On Zen 4 it
 * does, and the program's prefetches only take its place: W8A8 of one row reads at 97% of the read bandwidth without
 * them, at 87% with them. On Zen 5 the same loop makes little more than half of the bandwidth without them. Other
 * processors have not been measured and get prefetches. */
int krn_cpu_follows_streams(void);

/* Whether the first-level cache is too small to hold rows that are on their way beside those at work, so that they are
 * better brought to the second level: where it has less than 48 KiB. On Zen 4, which has 32, what was prefetched there
 * drove out what was at work: steps over rows of 4096 f32 took up to twice the time. On Zen 5, which has 48, the first
 * level was never worse. Where the size is not known it counts as large. */
int krn_cpu_has_small_l1(void);

#endif
