/* What the passes of krn_kv_cache_append over blocks and over heads share. */
#ifndef KRN_KV_APPEND_ROWS_H
#define KRN_KV_APPEND_ROWS_H

#include "kv_cache/kv_append.h"

#include <stddef.h>

/* The floats of 16 tokens of a head. */
typedef struct {
    _Alignas(64) float rows[KRN_KV_BLOCK * KRN_KV_MAX_HEAD_DIM];
    float magnitudes[KRN_KV_BLOCK];
} krn_kv_floats;

/* Up to 16 tokens of an entry: those from `token` of its sequence on, which are rows from `row` on. */
typedef struct {
    int64_t entry, token, row;
    int32_t count;
} krn_kv_run;

typedef struct {
    const krn_kv_append_job *job;
    int64_t units, pieces;
    int32_t finite[KRN_QUANTIZE_MAX_PIECES];
} krn_kv_pass;

/* The rows of a head, the first of them number `row` of the batch. */
krn_kv_rows krn_kv_key_rows(const krn_kv_append_job *job, int64_t row, int64_t head);
krn_kv_rows krn_kv_value_rows(const krn_kv_append_job *job, int64_t row, int64_t head);

KRN_ALWAYS_INLINE const void *krn_kv_row_of(const krn_kv_rows *rows, int64_t index) {
    return (const unsigned char *)rows->first + index * rows->ld_bytes;
}

/* One key in f32, rotated by its position where that was asked for: rows[index], which is number `row` of the batch and
 * number `token` of its sequence. */
void krn_kv_widen_key(const krn_kv_append_job *job, const krn_kv_rows *rows, int64_t index, int64_t row, int64_t token,
                      float *key);

/* Whether something is done to keys before they are stored. */
int krn_kv_changes_keys(const krn_kv_append_job *job);

/* Whether the group of `token` (KRN_KV_CHANNEL) comes whole in its entry, and as it will be stored: then it goes
 * straight to its page, and the tail never sees it. */
int krn_kv_is_whole_group(const krn_kv_append_job *job, int64_t entry, int64_t token);

/* max|x| of `count` rows of one head; 0 when one is not finite. */
int32_t krn_kv_measure(const krn_kv_append_job *job, const krn_kv_rows *rows, int32_t count, float *magnitudes);

/* Keys as they are stored, through `floats` when something is done to them; 0 when one is not finite. */
int32_t krn_kv_prepare_keys(const krn_kv_append_job *job, const krn_kv_run *run, int64_t head, krn_kv_floats *floats,
                            krn_kv_rows *keys);

/* How a head is stored. */
krn_kv_encoding krn_kv_encoding_of(const krn_kv_append_job *job, const krn_kv_format *format, int64_t head);

/* Cuts `units` of about `unit_elems` elements into pieces and calls `task` for each, which says in pass->finite whether
 * its own was; returns whether all were. */
int32_t krn_kv_run_pass(krn_kv_pass *pass, int64_t units, int64_t unit_elems, krn_task task);

/* The keys of all groups (KRN_KV_CHANNEL). 0 when one is not finite, which a scan has ruled out. */
int32_t krn_kv_append_groups(const krn_kv_append_job *job);

#endif
