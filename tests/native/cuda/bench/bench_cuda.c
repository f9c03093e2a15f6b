/* Measures the kernels of kernels_cuda on a GPU beside ceilings and cuBLASLt, and holds them against the bars:
 *   bench_cuda [--device N] [--filter TEXT] [--json FILE] [--seconds N] [--small] [--emulate LIBRARY] [--list]
 * The cases of an op run in a process of their own: one that fails, or does not end, costs that case alone. The file
 * is written anew after each. Exit code 1 when something failed; a bar that is missed is reported, and is no failure.
 *   --seconds N        begins no case after N seconds; how many are left out is in the file
 *   --small            every case as small as it can be while the same kernels run; its figures mean nothing
 *   --emulate LIBRARY  the same on the emulator, path of libkernels_cuda_emulator: whether each case runs at all */
/* fork, pipe and clocks. */
#define _POSIX_C_SOURCE 200809L

#include "bench.h"

#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CASE_SECONDS = 120, EMULATED_ROTATIONS = 2 };

/* The loops over memory come first: what others are held against is measured before them. */
extern const bench_op bench_memory, bench_gemm, bench_quantize, bench_dequantize, bench_fused, bench_hadamard,
    bench_append, bench_attention;
static const bench_op *const ops[] = {&bench_memory, &bench_gemm,     &bench_quantize, &bench_dequantize,
                                      &bench_fused,  &bench_hadamard, &bench_append,   &bench_attention};

static struct {
    const char *filter, *json, *emulator;
    int32_t ordinal, is_small, lists;
    double deadline;
} arguments = {.filter = ""};

/* --- The process that measures ------------------------------------------------------------------------------------ */

enum message_kind { OPENED, BEGUN, MEASURED, HAS_NO_KERNEL, FAILED };

/* What it tells the other. */
typedef struct message {
    int32_t kind; /* a message_kind */
    int32_t at;   /* number of the case */
    union {
        bench_header header;
        bench_result result;
        char reason[256];
    } u;
} message;

static struct {
    int channel;
    int32_t at;
} measuring = {.channel = -1};

static void tell(message *m) {
    m->at = measuring.at;
    if (write(measuring.channel, m, sizeof *m) != (ssize_t)sizeof *m)
        _exit(1);
}

void bench_fail(const char *format, ...) {
    static message m = {.kind = FAILED};
    va_list list;
    va_start(list, format);
    vsnprintf(m.u.reason, sizeof m.u.reason, format, list);
    va_end(list);
    tell(&m);
    _exit(1);
}

static void tell_header(const bench_device *device) {
    static message m = {.kind = OPENED};
    m.u.header = (bench_header){.properties = device->properties, .cublaslt = bench_cublaslt_version()};
    m.u.header.properties.name = NULL;
    snprintf(m.u.header.device, sizeof m.u.header.device, "%s", device->properties.name);
    snprintf(m.u.header.driver, sizeof m.u.header.driver, "%s", bench_driver_version());
    snprintf(m.u.header.class_name, sizeof m.u.header.class_name, "%s",
             krn_cuda_class_name(krn_cuda_context_class(device->context)));
    tell(&m);
}

static void run_case(bench_device *device, const bench_op *op, const bench_case *the_case) {
    static message m;
    m.kind = BEGUN;
    tell(&m);
    alarm(CASE_SECONDS);
    const int32_t rotations =
        device->is_emulated ? EMULATED_ROTATIONS : bench_rotations(device, (int64_t)the_case->bytes);
    void *const state = op->open(device, the_case, rotations);
    if (state == NULL) {
        m.kind = HAS_NO_KERNEL;
        tell(&m);
        return;
    }
    m.u.result = (bench_result){.the_case = *the_case, .time = bench_measure(device, op->call, state, rotations)};
    op->close(device, state);
    int32_t flags = 0;
    bench_check(krn_cuda_memory_copy_to_host(device->context, &flags, device->flags, sizeof flags, device->stream),
                "reading flags");
    bench_check(krn_cuda_stream_synchronize(device->context, device->stream), "reading flags");
    if (flags != 0)
        bench_fail("the kernel set the flags %d", flags);
    for (int32_t peer = 0; peer < BENCH_PEERS; peer++)
        m.u.result.peer_us[peer] =
            the_case->has_peer ? bench_peer_us(device, peer, the_case->m, the_case->n, the_case->k) : -1.0;
    m.kind = MEASURED;
    tell(&m);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void measure(const bench_op *op, const bench_case *cases, int32_t from, int32_t count) {
    bench_device device = {0};
    measuring.at = -1;
    alarm(CASE_SECONDS);
    bench_open_device(&device, arguments.ordinal, arguments.emulator);
    tell_header(&device);
    for (measuring.at = from; measuring.at < count && now() < arguments.deadline; measuring.at++)
        run_case(&device, op, &cases[measuring.at]);
    bench_close_device(&device);
}

/* --- The process that reports ------------------------------------------------------------------------------------- */

static bench_report report;

static void save(void) {
    if (arguments.json != NULL && !bench_report_write(&report, arguments.json)) {
        fprintf(stderr, "bench_cuda: cannot write %s\n", arguments.json);
        exit(1);
    }
}

static void add_failure(const char *id, const char *reason) {
    bench_failure *const failure = &report.failures[report.failure_count++];
    snprintf(failure->id, sizeof failure->id, "%s", id);
    snprintf(failure->reason, sizeof failure->reason, "%s", reason);
    printf("%-58s FAILED: %s\n", id, reason);
    fflush(stdout);
}

/* A whole message; 0 when there are no more. */
static int hear(int channel, message *m) {
    size_t got = 0;
    while (got < sizeof *m) {
        const ssize_t part = read(channel, (char *)m + got, sizeof *m - got);
        if (part <= 0)
            return 0;
        got += (size_t)part;
    }
    return 1;
}

/* Takes what a process tells of its cases. Returns the case it began last, -1 for none; the reason is empty when the
 * process ended well. */
static int32_t listen(int channel, pid_t child, const bench_case *cases, char *reason, size_t reason_bytes) {
    static message m;
    int32_t last = -1, status = 0;
    reason[0] = '\0';
    while (hear(channel, &m)) {
        last = m.at;
        switch ((enum message_kind)m.kind) {
        case OPENED: report.header = m.u.header; break;
        case BEGUN: break;
        case MEASURED:
            bench_report_add(&report, &m.u.result);
            bench_report_print(&report.results[report.result_count - 1]);
            save();
            break;
        case HAS_NO_KERNEL:
            printf("%-58s the %s class has no kernel for it\n", cases[m.at].id, report.header.class_name);
            break;
        case FAILED: snprintf(reason, reason_bytes, "%s", m.u.reason); break;
        }
    }
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        snprintf(reason, reason_bytes, "it did not end in %d seconds", CASE_SECONDS);
    else if (status != 0 && reason[0] == '\0')
        snprintf(reason, reason_bytes, "the process ended with status %d", status);
    return last;
}

/* Runs the cases of an op, by another process where one has failed. Returns 0 when there is no device. */
static int run_op(const bench_op *op, const bench_case *cases, int32_t count) {
    int32_t next = 0;
    while (next < count) {
        char reason[256];
        int channel[2];
        if (now() >= arguments.deadline) {
            report.not_run += count - next;
            return 1;
        }
        if (pipe(channel) != 0) {
            perror("bench_cuda");
            exit(1);
        }
        const pid_t child = fork();
        if (child == 0) {
            close(channel[0]);
            measuring.channel = channel[1];
            measure(op, cases, next, count);
            _exit(0);
        }
        close(channel[1]);
        const int32_t last = listen(channel[0], child, cases, reason, sizeof reason);
        close(channel[0]);
        if (reason[0] != '\0' && last < 0) {
            add_failure("device", reason);
            report.not_run += count - next;
            save();
            return 0;
        }
        if (reason[0] != '\0')
            add_failure(cases[last].id, reason);
        next = last < next ? next : last + 1;
        save();
    }
    return 1;
}

static void read_arguments(int argc, char **argv) {
    arguments.deadline = HUGE_VAL;
    for (int i = 1; i < argc; i++) {
        const int has_value = i + 1 < argc;
        if (strcmp(argv[i], "--list") == 0) {
            arguments.lists = 1;
        } else if (strcmp(argv[i], "--small") == 0) {
            arguments.is_small = 1;
        } else if (has_value && strcmp(argv[i], "--emulate") == 0) {
            arguments.emulator = argv[++i];
            arguments.is_small = 1;
        } else if (has_value && strcmp(argv[i], "--filter") == 0) {
            arguments.filter = argv[++i];
        } else if (has_value && strcmp(argv[i], "--json") == 0) {
            arguments.json = argv[++i];
        } else if (has_value && strcmp(argv[i], "--seconds") == 0) {
            arguments.deadline = now() + atof(argv[++i]);
        } else if (has_value && strcmp(argv[i], "--device") == 0) {
            arguments.ordinal = atoi(argv[++i]);
        } else {
            fprintf(stderr, "usage: bench_cuda [--device N] [--filter TEXT] [--json FILE] [--seconds N] [--small] "
                            "[--emulate LIBRARY] [--list]\n");
            exit(2);
        }
    }
    if (arguments.emulator != NULL && arguments.json != NULL) {
        fprintf(stderr, "bench_cuda: the emulator has no figures for a file\n");
        exit(2);
    }
}

int main(int argc, char **argv) {
    static bench_case cases[BENCH_MAX_CASES];
    int32_t left = BENCH_MAX_CASES, has_device = 1;
    read_arguments(argc, argv);
    for (size_t op = 0; op < sizeof ops / sizeof ops[0]; op++) {
        const int32_t listed = ops[op]->cases(cases, left);
        int32_t count = 0;
        left -= listed;
        /* Ceilings are measured whatever the filter says. */
        for (int32_t i = 0; i < listed; i++)
            if (op == 0 || strstr(cases[i].id, arguments.filter) != NULL)
                cases[count++] = cases[i];
        for (int32_t i = 0; i < count; i++) {
            if (arguments.is_small)
                ops[op]->shrink(&cases[i]);
            if (arguments.lists)
                printf("%s\n", cases[i].id);
        }
        if (!arguments.lists && has_device)
            has_device = run_op(ops[op], cases, count);
        else
            report.not_run += count;
    }
    if (arguments.lists)
        return 0;
    save();
    printf("%d cases, %d failed, %d not run\n", report.result_count, report.failure_count, report.not_run);
    return report.failure_count > 0;
}
