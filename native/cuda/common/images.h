/* The kernels that the library holds, compiled for devices. The tables are written by the build (cuda_toolkit.cmake). */
#ifndef KRN_CUDA_IMAGES_H
#define KRN_CUDA_IMAGES_H

#include <stdint.h>

/* One kernel source file: a fatbin, machine code for each architecture that the file is for. */
typedef struct krn_cuda_image {
    const char *source; /* relative to native/cuda */
    const void *data;
    uint64_t bytes;
    const char *const *kernels; /* the names of its kernels, sorted */
    int32_t kernel_count;
} krn_cuda_image;

extern const krn_cuda_image *const krn_cuda_images[]; /* krn_cuda_image_count of them */
extern const int32_t krn_cuda_image_count;

/* The compiler and the architectures, or that there are none. */
extern const char krn_cuda_toolkit[];

#endif
