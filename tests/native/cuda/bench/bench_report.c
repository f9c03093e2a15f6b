/* What was measured, against its bars, as lines and as a file. */
#include "bench.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

typedef struct ceilings {
    double read, copy, triad; /* 10^9 bytes a second */
} ceilings;

static double gigabytes_per_second(const bench_result *r) { return r->the_case.bytes / r->time.median_us / 1e3; }

static double tops(const bench_result *r) { return r->the_case.operations / r->time.median_us / 1e6; }

static const bench_result *find(const bench_report *report, const char *id) {
    for (int32_t i = 0; i < report->result_count; i++)
        if (strcmp(report->results[i].the_case.id, id) == 0)
            return &report->results[i];
    return NULL;
}

static double bandwidth_of(const bench_report *report, const char *id) {
    const bench_result *const r = find(report, id);
    return r == NULL ? 0.0 : gigabytes_per_second(r);
}

static ceilings measured_ceilings(const bench_report *report) {
    return (ceilings){bandwidth_of(report, "memory/read/mb1024"), bandwidth_of(report, "memory/copy/mb1024"),
                      bandwidth_of(report, "memory/triad/mb1024")};
}

/* --- Bars --------------------------------------------------------------------------------------------------------- */

static bench_bar *next_bar(bench_case *the_case) {
    int32_t i = 0;
    while (i + 1 < BENCH_MAX_BARS && the_case->bars[i].kind != BENCH_NO_BAR)
        i++;
    return &the_case->bars[i];
}

void bench_add_bar(bench_case *the_case, int32_t kind, double value) {
    *next_bar(the_case) = (bench_bar){.kind = kind, .value = value};
}

void bench_add_bar_over(bench_case *the_case, double value, const char *format, ...) {
    bench_bar *const bar = next_bar(the_case);
    va_list list;
    *bar = (bench_bar){.kind = BENCH_OVER_CASE, .value = value};
    va_start(list, format);
    vsnprintf(bar->other, sizeof bar->other, format, list);
    va_end(list);
}

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
static double reached(const bench_report *report, const bench_result *r, const bench_bar *bar) {
    const ceilings c = measured_ceilings(report);
    const bench_result *other;
    switch ((enum bench_bar_kind)bar->kind) {
    case BENCH_OF_TRIAD: return c.triad > 0 ? gigabytes_per_second(r) / c.triad : 0;
    case BENCH_OF_READ: return c.read > 0 ? gigabytes_per_second(r) / c.read : 0;
    case BENCH_OVER_COPY: return c.copy > 0 ? c.copy / gigabytes_per_second(r) : 0;
    case BENCH_TOPS: return tops(r);
    case BENCH_OVER_BF16: return r->peer_us[BENCH_PEER_BF16] > 0 ? r->peer_us[BENCH_PEER_BF16] / r->time.median_us : 0;
    case BENCH_OVER_INT8: return r->peer_us[BENCH_PEER_INT8] > 0 ? r->peer_us[BENCH_PEER_INT8] / r->time.median_us : 0;
    case BENCH_OVER_CASE:
        other = find(report, bar->other);
        return other == NULL ? 0 : other->time.median_us / r->time.median_us;
    case BENCH_NO_BAR: break;
    }
    return 0;
}

void bench_report_add(bench_report *report, const bench_result *result) {
    bench_result *const r = &report->results[report->result_count++];
    *r = *result;
    for (int32_t i = 0; i < BENCH_MAX_BARS && r->the_case.bars[i].kind != BENCH_NO_BAR; i++) {
        const bench_bar *const bar = &r->the_case.bars[i];
        r->measured[i] = reached(report, r, bar);
        r->met[i] = r->measured[i] > 0 &&
                    (bar->kind == BENCH_OVER_COPY ? r->measured[i] <= bar->value : r->measured[i] >= bar->value);
    }
}

/* --- Output ------------------------------------------------------------------------------------------------------- */

void bench_report_print(const bench_result *r) {
    if (r->time.samples == 0) {
        printf("%-58s ran\n", r->the_case.id);
        fflush(stdout);
        return;
    }
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

/* A text without what JSON escapes. */
static void write_text(FILE *file, const char *name, const char *text, const char *end) {
    fprintf(file, "\"%s\": \"", name);
    for (; *text != '\0'; text++)
        if (*text != '"' && *text != '\\' && (unsigned char)*text >= ' ')
            fputc(*text, file);
    fprintf(file, "\"%s", end);
}

static void write_optional(FILE *file, const char *name, double value, const char *end) {
    if (value >= 0)
        fprintf(file, "\"%s\": %.4g%s", name, value, end);
    else
        fprintf(file, "\"%s\": null%s", name, end);
}

static void write_case(FILE *file, const bench_header *header, const bench_result *r, int32_t is_last) {
    fprintf(file,
            "    {\"id\": \"%s/%s\", \"time_us\": {\"median\": %.4f, \"min\": %.4f, \"p95\": %.4f, \"samples\": %d, ",
            r->the_case.id, header->class_name, r->time.median_us, r->time.min_us, r->time.p95_us, r->time.samples);
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
    for (int32_t i = 0; i < BENCH_MAX_BARS && r->the_case.bars[i].kind != BENCH_NO_BAR; i++) {
        const bench_bar *const bar = &r->the_case.bars[i];
        fprintf(file, "%s{\"kind\": \"%s\", ", i == 0 ? "" : ", ", bar_name(bar->kind));
        if (bar->kind == BENCH_OVER_CASE)
            write_text(file, "other", bar->other, ", ");
        fprintf(file, "\"bar\": %.4g, \"measured\": %.4g, \"met\": %s}", bar->value, r->measured[i],
                r->measured[i] <= 0 ? "null"
                : r->met[i]         ? "true"
                                    : "false");
    }
    fprintf(file, "]}%s\n", is_last ? "" : ",");
}

static void write_header(FILE *file, const bench_report *report) {
    const bench_header *const h = &report->header;
    const krn_cuda_properties *const p = &h->properties;
    const ceilings c = measured_ceilings(report);
    const time_t now = time(NULL);
    char date[32];
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
    fprintf(file,
            "{\n  \"schema\": \"kernels-gpu-bench\", \"schema_version\": 1, \"created_utc\": \"%s\",\n  \"device\": {",
            date);
    write_text(file, "name", h->device, ", ");
    fprintf(file, "\"compute_capability\": \"%d.%d\", \"multiprocessors\": %d, ", p->compute_major, p->compute_minor,
            p->multiprocessors);
    fprintf(file, "\"clock_mhz\": %d, \"memory_clock_mhz\": %d, ", p->clock_khz / 1000, p->memory_clock_khz / 1000);
    fprintf(file, "\"l2_bytes\": %lld, \"memory_bytes\": %lld, ", (long long)p->l2_bytes, (long long)p->memory_bytes);
    write_text(file, "driver", h->driver, "},\n  \"build\": {");
    write_text(file, "library", krn_version_string(), ", ");
    write_text(file, "kernels", krn_cuda_build_info(), ", ");
    fprintf(file, "\"cublaslt\": %lld},\n", (long long)h->cublaslt);
    fprintf(file, "  \"ceilings_gbytes_per_s\": {\"read\": %.2f, \"copy\": %.2f, \"triad\": %.2f},\n", c.read, c.copy,
            c.triad);
}

int bench_report_write(const bench_report *report, const char *path) {
    char unfinished[4096];
    if (snprintf(unfinished, sizeof unfinished, "%s.unfinished", path) >= (int)sizeof unfinished)
        return 0;
    FILE *const file = fopen(unfinished, "w");
    if (file == NULL)
        return 0;
    write_header(file, report);
    fprintf(file, "  \"not_run\": %d, \"failures\": [", report->not_run);
    for (int32_t i = 0; i < report->failure_count; i++) {
        fprintf(file, "%s\n    {", i == 0 ? "" : ",");
        write_text(file, "id", report->failures[i].id, ", ");
        write_text(file, "reason", report->failures[i].reason, "}");
    }
    fprintf(file, "],\n  \"cases\": [\n");
    for (int32_t i = 0; i < report->result_count; i++)
        write_case(file, &report->header, &report->results[i], i + 1 == report->result_count);
    fprintf(file, "  ]\n}\n");
    return fclose(file) == 0 && rename(unfinished, path) == 0;
}
