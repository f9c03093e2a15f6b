/* Measures the kernels of kernels_cuda on a GPU beside ceilings and cuBLASLt, and holds them against the project's bars:
 *   bench_cuda [--device N] [--filter TEXT] [--json FILE] [--list]
 * Exit code 1 when something failed; a bar that is missed is reported, and is no failure. */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_CASES = 512 };

/* The loops over memory come first: what others are held against is measured before them. */
extern const bench_op bench_memory, bench_gemm, bench_quantize;
static const bench_op *const ops[] = {&bench_memory, &bench_gemm, &bench_quantize};

typedef struct result {
    bench_case the_case;
    bench_time time;
    double peer_us[BENCH_PEERS]; /* negative for none */
    double measured[BENCH_MAX_BARS];
    int32_t met[BENCH_MAX_BARS];
} result;

typedef struct ceilings {
    double read, copy, triad; /* 10^9 bytes a second */
} ceilings;

static result results[MAX_CASES];
static int32_t result_count;

static double gigabytes_per_second(const result *r) { return r->the_case.bytes / r->time.median_us / 1e3; }

static double tops(const result *r) { return r->the_case.operations / r->time.median_us / 1e6; }

static const result *find(const char *id) {
    for (int32_t i = 0; i < result_count; i++)
        if (strcmp(results[i].the_case.id, id) == 0)
            return &results[i];
    return NULL;
}

static double bandwidth_of(const char *id) {
    const result *const r = find(id);
    return r == NULL ? 0.0 : gigabytes_per_second(r);
}

static ceilings measured_ceilings(void) {
    return (ceilings){bandwidth_of("memory/read/mb1024"), bandwidth_of("memory/copy/mb1024"),
                      bandwidth_of("memory/triad/mb1024")};
}

/* --- Bars --------------------------------------------------------------------------------------------------------- */

static const char *bar_name(int32_t kind) {
    switch ((enum bench_bar_kind)kind) {
    case BENCH_OF_TRIAD: return "of_triad";
    case BENCH_OF_READ: return "of_read";
    case BENCH_OVER_COPY: return "time_over_copy";
    case BENCH_TOPS: return "tops";
    case BENCH_OVER_BF16: return "over_cublaslt_bf16";
    case BENCH_OVER_INT8: return "over_cublaslt_int8";
    case BENCH_OVER_CASE: return "over_case";
    case BENCH_NO_BAR: break;
    }
    return "none";
}

/* What the case reaches in the terms of a bar; 0 when what it is held against was not measured. */
static double reached(const result *r, const bench_bar *bar) {
    const ceilings c = measured_ceilings();
    const result *other;
    switch ((enum bench_bar_kind)bar->kind) {
    case BENCH_OF_TRIAD: return c.triad > 0 ? gigabytes_per_second(r) / c.triad : 0;
    case BENCH_OF_READ: return c.read > 0 ? gigabytes_per_second(r) / c.read : 0;
    case BENCH_OVER_COPY: return c.copy > 0 ? c.copy / gigabytes_per_second(r) : 0;
    case BENCH_TOPS: return tops(r);
    case BENCH_OVER_BF16: return r->peer_us[BENCH_PEER_BF16] > 0 ? r->peer_us[BENCH_PEER_BF16] / r->time.median_us : 0;
    case BENCH_OVER_INT8: return r->peer_us[BENCH_PEER_INT8] > 0 ? r->peer_us[BENCH_PEER_INT8] / r->time.median_us : 0;
    case BENCH_OVER_CASE:
        other = find(bar->other);
        return other == NULL ? 0 : other->time.median_us / r->time.median_us;
    case BENCH_NO_BAR: break;
    }
    return 0;
}

static void hold_against_bars(result *r) {
    for (int32_t i = 0; i < BENCH_MAX_BARS && r->the_case.bars[i].kind != BENCH_NO_BAR; i++) {
        const bench_bar *const bar = &r->the_case.bars[i];
        r->measured[i] = reached(r, bar);
        r->met[i] = r->measured[i] > 0 &&
                    (bar->kind == BENCH_OVER_COPY ? r->measured[i] <= bar->value : r->measured[i] >= bar->value);
    }
}

/* --- Output ------------------------------------------------------------------------------------------------------- */

static void print_result(const result *r) {
    printf("%-58s %9.2f us %8.1f GB/s", r->the_case.id, r->time.median_us, gigabytes_per_second(r));
    if (r->the_case.operations > 0)
        printf(" %7.1f TOPS", tops(r));
    if (r->time.clocks.sm_mhz >= 0)
        printf(" %5d MHz %4.0f W", r->time.clocks.sm_mhz, r->time.clocks.watts);
    for (int32_t i = 0; i < BENCH_MAX_BARS && r->the_case.bars[i].kind != BENCH_NO_BAR; i++)
        printf("  %s %.3f (bar %.3f: %s)", bar_name(r->the_case.bars[i].kind), r->measured[i],
               r->the_case.bars[i].value,
               r->measured[i] <= 0 ? "not measured"
               : r->met[i]         ? "met"
                                   : "MISSED");
    printf("\n");
    fflush(stdout);
}

/* A text of ours or of the driver's; neither has characters that JSON escapes but these two. */
static void write_text(FILE *file, const char *name, const char *text, const char *end) {
    fprintf(file, "\"%s\": \"", name);
    for (; *text != '\0'; text++)
        if (*text != '"' && *text != '\\')
            fputc(*text, file);
    fprintf(file, "\"%s", end);
}

static void write_optional(FILE *file, const char *name, double value, const char *end) {
    if (value >= 0)
        fprintf(file, "\"%s\": %.4g%s", name, value, end);
    else
        fprintf(file, "\"%s\": null%s", name, end);
}

static void write_case(FILE *file, const bench_device *device, const result *r, int32_t is_last) {
    const char *const class_name = krn_cuda_class_name(krn_cuda_context_class(device->context));
    fprintf(file,
            "    {\"id\": \"%s/%s\", \"time_us\": {\"median\": %.4f, \"min\": %.4f, \"p95\": %.4f, \"samples\": %d, ",
            r->the_case.id, class_name, r->time.median_us, r->time.min_us, r->time.p95_us, r->time.samples);
    fprintf(file, "\"calls_per_sample\": %d}, \"gbytes_per_s\": %.2f, ", r->time.calls_per_sample,
            gigabytes_per_second(r));
    write_optional(file, "tops", r->the_case.operations > 0 ? tops(r) : -1, ", ");
    write_optional(file, "sm_mhz", r->time.clocks.sm_mhz, ", ");
    write_optional(file, "memory_mhz", r->time.clocks.memory_mhz, ", ");
    write_optional(file, "watts", r->time.clocks.watts, ", ");
    write_optional(file, "celsius", r->time.clocks.temperature, ", ");
    write_optional(file, "cublaslt_bf16_us", r->peer_us[BENCH_PEER_BF16], ", ");
    write_optional(file, "cublaslt_f16_us", r->peer_us[BENCH_PEER_F16], ", ");
    write_optional(file, "cublaslt_int8_us", r->peer_us[BENCH_PEER_INT8], ", \"bars\": [");
    for (int32_t i = 0; i < BENCH_MAX_BARS && r->the_case.bars[i].kind != BENCH_NO_BAR; i++)
        fprintf(file, "%s{\"kind\": \"%s\", \"bar\": %.4g, \"measured\": %.4g, \"met\": %s}", i == 0 ? "" : ", ",
                bar_name(r->the_case.bars[i].kind), r->the_case.bars[i].value, r->measured[i],
                r->measured[i] <= 0 ? "null"
                : r->met[i]         ? "true"
                                    : "false");
    fprintf(file, "]}%s\n", is_last ? "" : ",");
}

static void write_json(const char *path, const bench_device *device) {
    FILE *const file = fopen(path, "w");
    if (file == NULL) {
        fprintf(stderr, "bench_cuda: cannot write %s\n", path);
        exit(1);
    }
    const krn_cuda_properties *const p = &device->properties;
    const ceilings c = measured_ceilings();
    const time_t now = time(NULL);
    char date[32];
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
    fprintf(file,
            "{\n  \"schema\": \"kernels-gpu-bench\", \"schema_version\": 1, \"created_utc\": \"%s\",\n  \"device\": {",
            date);
    write_text(file, "name", p->name, ", ");
    fprintf(file, "\"compute_capability\": \"%d.%d\", \"multiprocessors\": %d, ", p->compute_major, p->compute_minor,
            p->multiprocessors);
    fprintf(file, "\"clock_mhz\": %d, \"memory_clock_mhz\": %d, ", p->clock_khz / 1000, p->memory_clock_khz / 1000);
    fprintf(file, "\"l2_bytes\": %lld, \"memory_bytes\": %lld, ", (long long)p->l2_bytes, (long long)p->memory_bytes);
    write_text(file, "driver", bench_driver_version(), "},\n  \"build\": {");
    write_text(file, "library", krn_version_string(), ", ");
    write_text(file, "kernels", krn_cuda_build_info(), ", ");
    fprintf(file, "\"cublaslt\": %lld},\n", (long long)bench_cublaslt_version());
    fprintf(file, "  \"ceilings_gbytes_per_s\": {\"read\": %.2f, \"copy\": %.2f, \"triad\": %.2f},\n  \"cases\": [\n",
            c.read, c.copy, c.triad);
    for (int32_t i = 0; i < result_count; i++)
        write_case(file, device, &results[i], i + 1 == result_count);
    fprintf(file, "  ]\n}\n");
    fclose(file);
}

/* --- Running ------------------------------------------------------------------------------------------------------ */

static void run_case(bench_device *device, const bench_op *op, const bench_case *the_case) {
    result *const r = &results[result_count];
    const int32_t rotations = bench_rotations(device, (int64_t)the_case->bytes);
    void *const state = op->open(device, the_case, rotations);
    if (state == NULL) {
        printf("%-58s the %s class has no kernel for it\n", the_case->id,
               krn_cuda_class_name(krn_cuda_context_class(device->context)));
        return;
    }
    r->the_case = *the_case;
    r->time = bench_measure(device, op->call, state, rotations);
    op->close(device, state);
    for (int32_t peer = 0; peer < BENCH_PEERS; peer++)
        r->peer_us[peer] =
            the_case->has_peer ? bench_peer_us(device, peer, the_case->m, the_case->n, the_case->k) : -1.0;
    result_count++;
    hold_against_bars(r);
    print_result(r);
}

int main(int argc, char **argv) {
    static bench_case cases[MAX_CASES];
    const char *filter = "";
    const char *json = NULL;
    int32_t ordinal = 0;
    int list = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--list") == 0) {
            list = 1;
        } else if (i + 1 < argc && strcmp(argv[i], "--filter") == 0) {
            filter = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--json") == 0) {
            json = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--device") == 0) {
            ordinal = atoi(argv[++i]);
        } else {
            fprintf(stderr, "usage: bench_cuda [--device N] [--filter TEXT] [--json FILE] [--list]\n");
            return 2;
        }
    }

    bench_device device = {0};
    if (!list)
        bench_open_device(&device, ordinal);
    for (size_t op = 0; op < sizeof ops / sizeof ops[0]; op++) {
        const int32_t count = ops[op]->cases(cases, MAX_CASES - result_count);
        for (int32_t i = 0; i < count; i++) {
            /* Ceilings are measured whatever the filter says. */
            if (op != 0 && strstr(cases[i].id, filter) == NULL)
                continue;
            if (list)
                printf("%s\n", cases[i].id);
            else
                run_case(&device, ops[op], &cases[i]);
        }
    }
    if (list)
        return 0;
    if (json != NULL)
        write_json(json, &device);
    bench_close_device(&device);
    return 0;
}
