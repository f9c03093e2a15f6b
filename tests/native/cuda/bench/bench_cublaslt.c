/* cuBLASLt as a peer, found at run time: bf16 and f16 with f32 sums, int8 with s32 sums; weights lie as [n][k]. */
#include "bench.h"
#include "bench_driver.h"

#include <dlfcn.h>
#include <stddef.h>

/* Numbers and layouts of cublasLt.h. */
enum {
    CUDA_R_F32 = 0,
    CUDA_R_F16 = 2,
    CUDA_R_S8 = 3,
    CUDA_R_S32 = 10,
    CUDA_R_BF16 = 14,
    COMPUTE_F32 = 68,
    COMPUTE_S32 = 72,
    DESC_TRANSPOSE_A = 3,
    OP_TRANSPOSE = 1,
    PREFERENCE_WORKSPACE_BYTES = 1,
    WORKSPACE_BYTES = 64 << 20,
    MAX_KEPT = 256
};

typedef struct heuristic {
    uint64_t algorithm[8];
    size_t workspace_bytes;
    int32_t state;
    float waves;
    int32_t reserved[4];
} heuristic;

static struct {
    int32_t (*create)(void **handle);
    size_t (*version)(void);
    int32_t (*desc_create)(void **desc, int32_t compute, int32_t scale_type);
    int32_t (*desc_set)(void *desc, int32_t attribute, const void *value, size_t bytes);
    int32_t (*desc_destroy)(void *desc);
    int32_t (*layout_create)(void **layout, int32_t type, uint64_t rows, uint64_t cols, int64_t ld);
    int32_t (*layout_destroy)(void *layout);
    int32_t (*preference_create)(void **preference);
    int32_t (*preference_set)(void *preference, int32_t attribute, const void *value, size_t bytes);
    int32_t (*preference_destroy)(void *preference);
    int32_t (*choose)(void *handle, void *desc, void *a, void *b, void *c, void *d, void *preference, int32_t wanted,
                      heuristic *results, int32_t *count);
    int32_t (*multiply)(void *handle, void *desc, const void *alpha, const void *a, void *a_layout, const void *b,
                        void *b_layout, const void *beta, const void *c, void *c_layout, void *d, void *d_layout,
                        const void *algorithm, void *workspace, size_t workspace_bytes, void *stream);
    void *handle; /* NULL where there is no cuBLASLt */
    int tried;
} lt;

static const struct {
    int32_t in, out, compute, scale, in_bytes, out_bytes;
} peers[BENCH_PEERS] = {
    [BENCH_PEER_BF16] = {CUDA_R_BF16, CUDA_R_BF16, COMPUTE_F32, CUDA_R_F32, 2, 2},
    [BENCH_PEER_F16] = {CUDA_R_F16, CUDA_R_F16, COMPUTE_F32, CUDA_R_F32, 2, 2},
    [BENCH_PEER_INT8] = {CUDA_R_S8, CUDA_R_S32, COMPUTE_S32, CUDA_R_S32, 1, 4},
};

/* Matrices are column-major there: A is W, transposed; B is X; C is Y. */
typedef struct problem {
    void *desc, *a, *b, *c;
    heuristic chosen;
    char *weights, *inputs, *outputs, *workspace;
    int64_t weight_bytes, input_bytes, output_bytes;
    int is_int;
} problem;

static int load(void) {
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};
    if (lt.tried)
        return lt.handle != NULL;
    lt.tried = 1;
    void *library = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && library == NULL; i++)
        library = dlopen(names[i], RTLD_NOW);
    const int found = bench_find(library, "cublasLtCreate", 0, &lt.create) &&
                      bench_find(library, "cublasLtGetVersion", 0, &lt.version) &&
                      bench_find(library, "cublasLtMatmulDescCreate", 0, &lt.desc_create) &&
                      bench_find(library, "cublasLtMatmulDescSetAttribute", 0, &lt.desc_set) &&
                      bench_find(library, "cublasLtMatmulDescDestroy", 0, &lt.desc_destroy) &&
                      bench_find(library, "cublasLtMatrixLayoutCreate", 0, &lt.layout_create) &&
                      bench_find(library, "cublasLtMatrixLayoutDestroy", 0, &lt.layout_destroy) &&
                      bench_find(library, "cublasLtMatmulPreferenceCreate", 0, &lt.preference_create) &&
                      bench_find(library, "cublasLtMatmulPreferenceSetAttribute", 0, &lt.preference_set) &&
                      bench_find(library, "cublasLtMatmulPreferenceDestroy", 0, &lt.preference_destroy) &&
                      bench_find(library, "cublasLtMatmulAlgoGetHeuristic", 0, &lt.choose) &&
                      bench_find(library, "cublasLtMatmul", 0, &lt.multiply);
    if (!found || lt.create(&lt.handle) != 0)
        lt.handle = NULL;
    return lt.handle != NULL;
}

int64_t bench_cublaslt_version(void) { return load() ? (int64_t)lt.version() : 0; }

static krn_status call_peer(void *opaque, int32_t rotation, void *stream) {
    static const float one_f = 1.0f, zero_f = 0.0f;
    static const int32_t one_i = 1, zero_i = 0;
    const problem *const p = opaque;
    void *const y = p->outputs + rotation * p->output_bytes;
    const int32_t result =
        lt.multiply(lt.handle, p->desc, p->is_int ? (const void *)&one_i : (const void *)&one_f,
                    p->weights + rotation * p->weight_bytes, p->a, p->inputs + rotation * p->input_bytes, p->b,
                    p->is_int ? (const void *)&zero_i : (const void *)&zero_f, y, p->c, y, p->c, p->chosen.algorithm,
                    p->workspace, WORKSPACE_BYTES, stream);
    return result == 0 ? KRN_OK : KRN_ERROR_DEVICE;
}

/* Whether cuBLASLt has an algorithm. */
static int choose(problem *p, int32_t peer, int64_t m, int64_t n, int64_t k) {
    const int32_t transpose = OP_TRANSPOSE;
    const size_t workspace_bytes = WORKSPACE_BYTES;
    void *preference = NULL;
    int32_t count = 0;
    const int chosen =
        lt.desc_create(&p->desc, peers[peer].compute, peers[peer].scale) == 0 &&
        lt.desc_set(p->desc, DESC_TRANSPOSE_A, &transpose, sizeof transpose) == 0 &&
        lt.layout_create(&p->a, peers[peer].in, (uint64_t)k, (uint64_t)n, k) == 0 &&
        lt.layout_create(&p->b, peers[peer].in, (uint64_t)k, (uint64_t)m, k) == 0 &&
        lt.layout_create(&p->c, peers[peer].out, (uint64_t)n, (uint64_t)m, n) == 0 &&
        lt.preference_create(&preference) == 0 &&
        lt.preference_set(preference, PREFERENCE_WORKSPACE_BYTES, &workspace_bytes, sizeof workspace_bytes) == 0 &&
        lt.choose(lt.handle, p->desc, p->a, p->b, p->c, p->c, preference, 1, &p->chosen, &count) == 0 && count == 1 &&
        p->chosen.state == 0;
    if (preference != NULL)
        lt.preference_destroy(preference);
    return chosen;
}

static void *operand(bench_device *device, int32_t peer, int64_t count, uint64_t seed) {
    if (peer == BENCH_PEER_INT8)
        return bench_random_memory(device, count, seed);
    return bench_activations(device, peer == BENCH_PEER_F16 ? KRN_TYPE_F16 : KRN_TYPE_BF16, count, seed);
}

static double measure(bench_device *device, int32_t peer, int64_t m, int64_t n, int64_t k) {
    problem p = {.is_int = peer == BENCH_PEER_INT8,
                 .weight_bytes = n * k * peers[peer].in_bytes,
                 .input_bytes = m * k * peers[peer].in_bytes,
                 .output_bytes = m * n * peers[peer].out_bytes};
    double us = -1.0;
    if (choose(&p, peer, m, n, k)) {
        const int32_t rotations = bench_rotations(device, p.weight_bytes + p.input_bytes + p.output_bytes);
        p.weights = operand(device, peer, rotations * n * k, 1);
        p.inputs = operand(device, peer, rotations * m * k, 2);
        p.outputs = bench_random_memory(device, rotations * p.output_bytes, 3);
        p.workspace = bench_random_memory(device, WORKSPACE_BYTES, 4);
        us = bench_measure(device, call_peer, &p, rotations).median_us;
        bench_free(device, p.weights);
        bench_free(device, p.inputs);
        bench_free(device, p.outputs);
        bench_free(device, p.workspace);
    }
    if (p.a != NULL)
        lt.layout_destroy(p.a);
    if (p.b != NULL)
        lt.layout_destroy(p.b);
    if (p.c != NULL)
        lt.layout_destroy(p.c);
    if (p.desc != NULL)
        lt.desc_destroy(p.desc);
    return us;
}

double bench_peer_us(bench_device *device, int32_t peer, int64_t m, int64_t n, int64_t k) {
    static struct {
        int64_t m, n, k;
        int32_t peer;
        double us;
    } kept[MAX_KEPT];
    static int32_t count;
    if (!load())
        return -1.0;
    for (int32_t i = 0; i < count; i++)
        if (kept[i].peer == peer && kept[i].m == m && kept[i].n == n && kept[i].k == k)
            return kept[i].us;
    const double us = measure(device, peer, m, n, k);
    if (count < MAX_KEPT) {
        kept[count].m = m;
        kept[count].n = n;
        kept[count].k = k;
        kept[count].peer = peer;
        kept[count++].us = us;
    }
    return us;
}
