#include "gemm/blob.h"

#include "common/status.h"
#include "gemm/outliers.h"
#include "gemm/scales.h"

#include <math.h>
#include <string.h>

static const uint8_t MAGIC[8] = {'K', 'R', 'N', 'W', 'G', 'T', '\r', '\n'};

_Static_assert(sizeof(krn_blob_header) == 128, "the header of a blob is 128 bytes, so that codes stay aligned");

static uint64_t mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    return hash ^ (hash >> 29);
}

/* Four independent lanes of multiply-and-fold over 8-byte words: memory speed, and every bit of the input reaches the
 * result. Finds damage, not forgery. `bytes` is a multiple of 32. */
static uint64_t checksum(uint64_t seed, const uint8_t *data, int64_t bytes) {
    uint64_t lanes[4] = {seed, seed + 1, seed + 2, seed + 3};
    for (int64_t i = 0; i < bytes; i += 32) {
        for (int lane = 0; lane < 4; lane++) {
            uint64_t word;
            memcpy(&word, data + i + 8 * lane, sizeof word);
            lanes[lane] = mix(lanes[lane], word);
        }
    }
    return mix(mix(mix(lanes[0], lanes[1]), lanes[2]), lanes[3]);
}

static uint64_t blob_checksum(const krn_blob_header *header, const uint8_t *packed) {
    krn_blob_header copy = *header;
    copy.checksum = 0;
    const uint64_t of_header = checksum(0, (const uint8_t *)&copy, sizeof copy);
    return checksum(of_header, packed, header->packed_bytes);
}

void krn_blob_write(const krn_weights *weights, void *blob) {
    krn_blob_header header = {.version = KRN_BLOB_VERSION,
                              .layout = KRN_LAYOUT_N32,
                              .format = weights->desc.format,
                              .scale_type = weights->desc.scale_type,
                              .zero_type = weights->desc.zero_type,
                              .flattened = weights->desc.flattened,
                              .ordered = weights->desc.ordered,
                              .n = weights->desc.n,
                              .k = weights->desc.k,
                              .group_size = weights->desc.group_size,
                              .packed_bytes = weights->layout.packed_bytes,
                              .num_outliers = weights->desc.num_outliers,
                              .outlier_type = weights->desc.outlier_type};
    memcpy(header.magic, MAGIC, sizeof MAGIC);
    header.checksum = blob_checksum(&header, weights->packed);
    memcpy(blob, &header, sizeof header);
    if (header.packed_bytes > 0)
        memcpy((uint8_t *)blob + sizeof header, weights->packed, (size_t)header.packed_bytes);
}

static krn_status fail_content(const char *what) { return krn_fail(KRN_ERROR_BLOB_FORMAT, "blob holds %s", what); }

/* Zero points, scale and offset of a channel at a group. */
static int is_sound(const krn_layout *layout, const uint8_t *packed, int64_t panel, int64_t g, int64_t c) {
    int16_t zero = 0;
    if (krn_layout_has_zeros(layout))
        memcpy(&zero, packed + panel * layout->panel_bytes + krn_layout_zeros_offset(layout, g) + 2 * c, sizeof zero);
    if (zero < 0 || zero > 15 || !isfinite(krn_scale_at(layout, packed, panel, g, c)))
        return 0;
    return layout->zero_type == 0 || isfinite(krn_offset_at(layout, packed, panel, g, c));
}

static krn_status check_permutation(const krn_layout *layout, const uint8_t *packed) {
    const int32_t *permutation = krn_layout_permutation(layout, packed);
    if (permutation == NULL || layout->k == 0)
        return KRN_OK;
    void *memory = NULL;
    krn_status status = krn_memory_allocate(layout->k, &memory);
    uint8_t *seen = memory;
    for (int64_t i = 0; status == KRN_OK && i < layout->k; i++) {
        if (permutation[i] < 0 || permutation[i] >= layout->k || seen[permutation[i]]++ != 0)
            status = fail_content("an order of inputs that is not a permutation");
    }
    krn_memory_free(memory);
    return status;
}

/* A checksum can be forged along with the data, so what kernels rely on is checked as well: finite scales, offsets
 * and codebooks, zero points of four bits, a permutation that stays within a row. */
krn_status krn_blob_check_content(const krn_layout *layout, const uint8_t *packed) {
    const float *codebook = krn_layout_codebook(layout, packed);
    for (int i = 0; codebook != NULL && i < KRN_CODEBOOK_SIZE; i++)
        if (!isfinite(codebook[i]))
            return fail_content("a codebook entry that is not finite");
    for (int64_t p = 0; p < layout->num_panels; p++)
        for (int64_t g = 0; g < layout->num_groups; g++)
            for (int64_t c = 0; c < KRN_PANEL_CHANNELS && p * KRN_PANEL_CHANNELS + c < layout->n; c++)
                if (!is_sound(layout, packed, p, g, c))
                    return krn_fail(KRN_ERROR_BLOB_FORMAT,
                                    "blob holds a scale or zero point out of range (panel %lld, group %lld)",
                                    (long long)p, (long long)g);
    const krn_status status = check_permutation(layout, packed);
    if (status == KRN_OK && !krn_outliers_are_sound(layout, packed))
        return fail_content("outlier columns out of order, or weights of them that are not finite");
    return status;
}

krn_status krn_blob_check(const void *blob, int64_t blob_bytes, krn_weights_desc *desc, krn_layout *layout) {
    krn_blob_header header;
    if (blob_bytes < (int64_t)sizeof header)
        return krn_fail(KRN_ERROR_BLOB_FORMAT, "blob_bytes is %lld, shorter than a header of %d", (long long)blob_bytes,
                        (int)sizeof header);
    memcpy(&header, blob, sizeof header);
    if (memcmp(header.magic, MAGIC, sizeof MAGIC) != 0)
        return krn_fail(KRN_ERROR_BLOB_FORMAT, "blob does not begin with the magic of packed weights");
    if (header.version != KRN_BLOB_VERSION)
        return krn_fail(KRN_ERROR_BLOB_FORMAT, "blob has version %u, this library reads %d", header.version,
                        KRN_BLOB_VERSION);
    if (header.layout != KRN_LAYOUT_N32)
        return krn_fail(KRN_ERROR_BLOB_FORMAT, "blob has layout %u, this library reads %d", header.layout,
                        KRN_LAYOUT_N32);
    const krn_weights_desc described = {.struct_size = sizeof described,
                                        .format = header.format,
                                        .n = header.n,
                                        .k = header.k,
                                        .group_size = header.group_size,
                                        .scale_type = header.scale_type,
                                        .zero_type = header.zero_type,
                                        .flattened = header.flattened,
                                        .ordered = header.ordered,
                                        .num_outliers = header.num_outliers,
                                        .outlier_type = header.outlier_type};
    static const uint8_t NOTHING[sizeof header.reserved];
    krn_layout derived;
    if (krn_layout_of(&described, &derived) != KRN_OK || header.packed_bytes != derived.packed_bytes ||
        header.scale_type == 0 || header.outlier_type != derived.outlier_type || header.padding != 0 ||
        memcmp(header.reserved, NOTHING, sizeof NOTHING) != 0)
        return krn_fail(KRN_ERROR_BLOB_FORMAT, "blob describes weights that this library cannot have written");
    if (blob_bytes != (int64_t)sizeof header + header.packed_bytes)
        return krn_fail(KRN_ERROR_BLOB_FORMAT, "blob_bytes is %lld, the header says %lld", (long long)blob_bytes,
                        (long long)((int64_t)sizeof header + header.packed_bytes));
    const uint8_t *packed = (const uint8_t *)blob + sizeof header;
    if (header.checksum != blob_checksum(&header, packed))
        return krn_fail(KRN_ERROR_BLOB_CHECKSUM, "blob is damaged: its checksum does not match");
    *desc = described;
    *layout = derived;
    return KRN_OK;
}
