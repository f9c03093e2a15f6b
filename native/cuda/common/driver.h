/* The backend over the CUDA driver. */
#ifndef KRN_CUDA_DRIVER_H
#define KRN_CUDA_DRIVER_H

#include "cuda/common/backend.h"
#include "cuda/common/images.h"

/* Devices of the driver, with the kernels of krn_cuda_images. */
const krn_cuda_backend *krn_cuda_driver(void);

/* The `open` of the driver's backend with kernels of the caller's choice: what tests use. */
krn_status krn_cuda_driver_open(int32_t device, const krn_cuda_image *const *images, int32_t image_count, void **state);

#endif
