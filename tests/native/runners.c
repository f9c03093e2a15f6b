#include "runners.h"

static void backwards(void *host, int64_t count, krn_task task, void *task_context) {
    (void)host;
    for (int64_t i = count - 1; i >= 0; i--)
        task(task_context, i);
}

int make_runners(runner runners[MAX_RUNNERS], int max_threads) {
    int32_t levels[8];
    const int num_levels = machine_levels(levels);
    int count = 0;
    for (int l = 0; l < num_levels; l++) {
        const int most = levels[l] == KRN_ISA_REF && !tests_reference() ? 1 : max_threads;
        for (int threads = 1; threads <= most; threads++, count++) {
            runners[count].context = context_of(levels[l], threads);
            runners[count].threads = threads;
            snprintf(runners[count].name, sizeof runners[count].name, "%s, %d threads", krn_isa_name(levels[l]),
                     threads);
        }
    }
    const krn_context_options options = {
        .struct_size = sizeof options, .isa = levels[num_levels - 1], .num_threads = 5, .parallel_for = backwards};
    CHECK_OK(krn_context_create(&options, &runners[count].context));
    runners[count].threads = 0;
    snprintf(runners[count].name, sizeof runners[count].name, "host loop");
    return count + 1;
}

void destroy_runners(runner *runners, int count) {
    for (int r = 0; r < count; r++)
        krn_context_destroy(runners[r].context);
}
