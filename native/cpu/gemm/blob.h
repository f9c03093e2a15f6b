/* The serialized form of packed weights: this header, little-endian, then the packed bytes as they lie in memory. */
#ifndef KRN_GEMM_BLOB_H
#define KRN_GEMM_BLOB_H

#include "gemm/layout.h"

enum { KRN_BLOB_VERSION = 2 };

typedef struct krn_blob_header {
    /* "KRNWGT\r\n": the line end shows a transfer in text mode. */
    uint8_t magic[8];
    uint32_t version;
    uint32_t layout;
    int32_t format;
    /* As in krn_weights_desc; scale_type is never 0. */
    int32_t scale_type, zero_type, flattened, ordered;
    uint32_t padding;
    int64_t n;
    int64_t k;
    int64_t group_size;
    int64_t packed_bytes;
    /* Of the header with this field 0, and of the packed bytes. */
    uint64_t checksum;
    int64_t num_outliers;
    /* Never 0 with outliers. */
    int32_t outlier_type;
    uint8_t reserved[36];
} krn_blob_header;

/* `blob` has room for the header and the packed bytes. */
void krn_blob_write(const krn_weights *weights, void *blob);

/* Checks the header, the length and the checksum. */
krn_status krn_blob_check(const void *blob, int64_t blob_bytes, krn_weights_desc *desc, krn_layout *layout);

/* Checks everything in the packed bytes that a reader relies on, on an aligned copy of them. */
krn_status krn_blob_check_content(const krn_layout *layout, const uint8_t *packed);

#endif
