/* The numbers of activation.h, which kernels of devices compute with too; there it is told what they are for. */
#ifndef KRN_FUSED_ACTIVATION_NUMBERS_H
#define KRN_FUSED_ACTIVATION_NUMBERS_H

/* exp(-86) is still normal, and 1 + exp(-86) is 1; exp(89) is infinite. */
#define KRN_GATE_LOWEST (-89.0f)
#define KRN_GATE_HIGHEST 86.0f
/* 5.6^2. */
#define KRN_GELU_LAST 31.36f

/* h(g) = g * sum of terms[i] g^(2 i). */
#define KRN_GELU_TERMS                                                                                                 \
    {                                                                                                                  \
        0x1.98846p+0f, 0x1.29a4p-4f, -0x1.116cf2p-14f, -0x1.cff1bap-14f, 0x1.0a1348p-17f, -0x1.1c0df4p-22f,            \
            0x1.e2d494p-29f                                                                                            \
    }
#define KRN_GELU_TANH_TERMS                                                                                            \
    { 0x1.988454p+0f, 0x1.2444f2p-4f }

#endif
