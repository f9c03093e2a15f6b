/* What the processor and the operating system offer, and what each krn_isa level asks for. */
#ifndef KRN_CPU_FEATURES_H
#define KRN_CPU_FEATURES_H

#include "kernels/context.h"

/* The features that code of a level may use. 0 for KRN_ISA_REF and for numbers that are not a level. */
uint64_t krn_isa_features(int32_t isa);

#endif
