/* Contexts, threads, memory, and what the library says about itself. */
#include "check.h"

#include "common/context.h"
#include "common/cpu_features.h"

#include <stdatomic.h>
#include <string.h>

enum { COUNT = 1000 };

static atomic_int calls[COUNT];

static void count_call(void *task_context, int64_t index) {
    CHECK(task_context == calls, "the task context was changed");
    atomic_fetch_add(&calls[index], 1);
}

static void each_index_runs_once(krn_context *context) {
    memset(calls, 0, sizeof calls);
    krn_context_run(context, COUNT, count_call, calls);
    for (int i = 0; i < COUNT; i++)
        CHECK(atomic_load(&calls[i]) == 1, "index %d ran %d times", i, atomic_load(&calls[i]));
}

static void backwards(void *host, int64_t count, krn_task task, void *task_context) {
    ++*(int *)host;
    for (int64_t i = count - 1; i >= 0; i--)
        task(task_context, i);
}

static void refuses_bad_options(void) {
    krn_context *context = (krn_context *)(uintptr_t)1;
    krn_context_options options = {.struct_size = sizeof options};
    CHECK_STATUS(krn_context_create(&options, NULL), KRN_ERROR_NULL_ARGUMENT);
    options.struct_size = 4;
    CHECK_STATUS(krn_context_create(&options, &context), KRN_ERROR_STRUCT_SIZE);
    options.struct_size = sizeof options;
    options.isa = 999;
    CHECK_STATUS(krn_context_create(&options, &context), KRN_ERROR_INVALID_ARGUMENT);
    CHECK(strstr(krn_last_error(), "isa") != NULL, "the message does not name the argument: %s", krn_last_error());
    options.isa = KRN_ISA_AUTO;
    options.num_threads = -1;
    CHECK_STATUS(krn_context_create(&options, &context), KRN_ERROR_INVALID_ARGUMENT);
    options.num_threads = 1025;
    CHECK_STATUS(krn_context_create(&options, &context), KRN_ERROR_INVALID_ARGUMENT);
    options.num_threads = 1;
    options.reserved = 1;
    CHECK_STATUS(krn_context_create(&options, &context), KRN_ERROR_INVALID_ARGUMENT);
    CHECK(context == (krn_context *)(uintptr_t)1, "a failing call wrote its output");
    for (int32_t isa = KRN_ISA_AVX2; isa <= KRN_ISA_NEON_BF16; isa++) {
        if (krn_isa_name(isa) == NULL || (krn_isa_features(isa) & ~krn_cpu_features()) == 0)
            continue;
        options = (krn_context_options){.struct_size = sizeof options, .isa = isa};
        CHECK_STATUS(krn_context_create(&options, &context), KRN_ERROR_ISA_UNAVAILABLE);
    }
}

static void memory_is_aligned_and_zero(void) {
    void *memory = &memory;
    CHECK_OK(krn_memory_allocate(0, &memory));
    CHECK(memory == NULL, "0 bytes gave memory");
    CHECK_STATUS(krn_memory_allocate(-1, &memory), KRN_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(krn_memory_allocate(1, NULL), KRN_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(krn_memory_allocate(INT64_MAX, &memory), KRN_ERROR_OUT_OF_MEMORY);
    static const int64_t sizes[] = {1, 63, 64, 4097, 3 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        CHECK_OK(krn_memory_allocate(sizes[i], &memory));
        CHECK((uintptr_t)memory % 64 == 0, "memory is not aligned");
        for (int64_t b = 0; b < sizes[i]; b++)
            CHECK(((unsigned char *)memory)[b] == 0, "byte %lld is not zero", (long long)b);
        krn_memory_free(memory);
    }
    krn_memory_free(NULL);
}

static void tells_about_itself(void) {
    CHECK(krn_abi_version() == KRN_ABI_VERSION, "ABI version");
    CHECK(strlen(krn_version_string()) >= 5, "version");
    CHECK(strlen(krn_build_info()) > 0, "build info");
    CHECK(strcmp(krn_status_name(KRN_ERROR_SHAPE), "KRN_ERROR_SHAPE") == 0, "status name");
    CHECK(strcmp(krn_status_name(12345), "KRN_UNKNOWN_STATUS") == 0, "unknown status");
    CHECK(krn_isa_name(12345) == NULL, "unknown level");
    CHECK(krn_context_isa(NULL) == KRN_ISA_REF && krn_context_num_threads(NULL) == 1, "NULL context");
    krn_context_destroy(NULL);
}

int main(void) {
    tells_about_itself();
    refuses_bad_options();
    memory_is_aligned_and_zero();
    for (int32_t threads = 0; threads <= 7; threads++) {
        krn_context *context = context_of(KRN_ISA_AUTO, threads);
        CHECK(krn_context_isa(context) == krn_isa_best(), "AUTO is not the best level");
        CHECK(threads == 0 || krn_context_num_threads(context) == threads, "number of threads");
        for (int turn = 0; turn < 200; turn++)
            each_index_runs_once(context);
        krn_context_destroy(context);
    }
    int runs = 0;
    const krn_context_options options = {
        .struct_size = sizeof options, .num_threads = 3, .parallel_for = backwards, .host = &runs};
    krn_context *context = NULL;
    CHECK_OK(krn_context_create(&options, &context));
    each_index_runs_once(context);
    CHECK(runs == 1, "the host's loop ran %d times", runs);
    krn_context_destroy(context);
    krn_context_destroy(context_of(KRN_ISA_REF, 1));
    puts("context: ok");
    return 0;
}
