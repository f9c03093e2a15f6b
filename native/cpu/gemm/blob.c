#include "gemm/blob.h"

#include "common/status.h"

#include <math.h>
#include <string.h>

static const uint8_t MAGIC[8] = {'K', 'R', 'N', 'W', 'G', 'T', '\r', '\n'};

_Static_assert(sizeof(krn_blob_header) == 64, "the header of a blob is 64 bytes, so that codes stay aligned");

static uint64_t mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
    return hash ^ (hash >> 29);
}

/* Four independent lanes of multiply-and-fold over 8-byte words: memory speed, and every bit of the input reaches the result.
 * Finds damage, not forgery. `bytes` is a multiple of 32. */
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
                              .n = weights->desc.n,
                              .k = weights->desc.k,
                              .group_size = weights->desc.group_size,
                              .packed_bytes = weights->layout.packed_bytes};
    memcpy(header.magic, MAGIC, sizeof MAGIC);
    header.checksum = blob_checksum(&header, weights->packed);
    memcpy(blob, &header, sizeof header);
    if (header.packed_bytes > 0)
        memcpy((uint8_t *)blob + sizeof header, weights->packed, (size_t)header.packed_bytes);
}

/* A checksum can be forged along with the data, so what kernels rely on is checked as well: finite scales, zero points
 * of four bits. */
static krn_status check_content(const krn_layout *layout, const uint8_t *packed) {
    for (int64_t p = 0; p < layout->num_panels; p++) {
        for (int64_t g = 0; g < layout->num_groups; g++) {
            const int64_t offset = p * layout->panel_bytes + krn_layout_group_offset(layout, g) +
                                   krn_layout_blocks(layout, g) * KRN_BLOCK_BYTES;
            float scales[KRN_PANEL_CHANNELS];
            int16_t zeros[KRN_PANEL_CHANNELS] = {0};
            memcpy(scales, packed + offset, sizeof scales);
            if (layout->format == KRN_TYPE_U4)
                memcpy(zeros, packed + offset + KRN_SCALES_BYTES, sizeof zeros);
            for (int c = 0; c < KRN_PANEL_CHANNELS; c++)
                if (!isfinite(scales[c]) || zeros[c] < 0 || zeros[c] > 15)
                    return krn_fail(KRN_ERROR_BLOB_FORMAT,
                                    "blob holds a scale or zero point out of range (panel %lld, group %lld)",
                                    (long long)p, (long long)g);
        }
    }
    return KRN_OK;
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
                                        .group_size = header.group_size};
    krn_layout derived;
    if (krn_layout_of(&described, &derived) != KRN_OK || header.packed_bytes != derived.packed_bytes ||
        header.reserved != 0)
        return krn_fail(KRN_ERROR_BLOB_FORMAT, "blob describes weights that this library cannot have written");
    if (blob_bytes != (int64_t)sizeof header + header.packed_bytes)
        return krn_fail(KRN_ERROR_BLOB_FORMAT, "blob_bytes is %lld, the header says %lld", (long long)blob_bytes,
                        (long long)((int64_t)sizeof header + header.packed_bytes));
    const uint8_t *packed = (const uint8_t *)blob + sizeof header;
    if (header.checksum != blob_checksum(&header, packed))
        return krn_fail(KRN_ERROR_BLOB_CHECKSUM, "blob is damaged: its checksum does not match");
    const krn_status status = check_content(&derived, packed);
    if (status != KRN_OK)
        return status;
    *desc = described;
    *layout = derived;
    return KRN_OK;
}
