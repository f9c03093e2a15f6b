/* How times are taken: graphs of calls on rotated inputs, timed by events, the second-level cache flushed before each. */
#include "bench.h"
#include "bench_driver.h"

#include <stdlib.h>

enum {
    SAMPLES = 25,
    FEW_SAMPLES = 7,
    WARM_UP = 3,
    MAX_ROTATIONS = 64,
    THREAD_LOCAL_CAPTURE = 1,
    L2_MULTIPLE = 4 /* operands together are so many times the second-level cache */
};

static const double BUSY_US = 100000.0;  /* NVML averages over some milliseconds */
static const double LONG_US = 3000000.0; /* all samples together: what takes long is launched less often */

int32_t bench_rotations(const bench_device *device, int64_t bytes) {
    const int64_t wanted = L2_MULTIPLE * device->properties.l2_bytes;
    const int64_t count = bytes <= 0 ? 1 : (wanted + bytes - 1) / bytes;
    return (int32_t)(count < 2 ? 2 : count > MAX_ROTATIONS ? MAX_ROTATIONS : count);
}

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a;
    const double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void *record(bench_device *device, bench_call call, void *state, int32_t rotations) {
    void *graph = NULL;
    void *executable = NULL;
    bench_check_driver(driver.capture_begin(device->stream, THREAD_LOCAL_CAPTURE), "cuStreamBeginCapture");
    for (int32_t i = 0; i < rotations; i++)
        bench_check(call(state, i, device->stream), "a recorded call");
    bench_check_driver(driver.capture_end(device->stream, &graph), "cuStreamEndCapture");
    bench_check_driver(driver.graph_instantiate(&executable, graph, 0), "cuGraphInstantiateWithFlags");
    bench_check_driver(driver.graph_destroy(graph), "cuGraphDestroy");
    return executable;
}

/* The clocks in the middle of work: so many launches are under way that the device is busy while NVML is asked. */
static bench_clocks clocks_under_load(bench_device *device, void *graph, double launch_us) {
    const int32_t launches = (int32_t)(BUSY_US / (launch_us + 1.0)) + 2;
    void *half = NULL;
    bench_check_driver(driver.event_create(&half, 0), "cuEventCreate");
    for (int32_t i = 0; i < launches; i++) {
        if (i == launches / 2)
            bench_check_driver(driver.event_record(half, device->stream), "cuEventRecord");
        bench_check_driver(driver.graph_launch(graph, device->stream), "cuGraphLaunch");
    }
    bench_check_driver(driver.event_synchronize(half), "cuEventSynchronize");
    const bench_clocks clocks = bench_read_clocks();
    bench_check(krn_cuda_stream_synchronize(device->context, device->stream), "waiting");
    bench_check_driver(driver.event_destroy(half), "cuEventDestroy");
    return clocks;
}

/* On the emulator: whether the calls run. */
static bench_time run_emulated(bench_device *device, bench_call call, void *state, int32_t rotations) {
    for (int32_t i = 0; i < rotations; i++)
        bench_check(call(state, i, device->stream), "a call");
    bench_check(krn_cuda_stream_synchronize(device->context, device->stream), "waiting");
    return (bench_time){.clocks = {-1, -1, -1, -1.0}};
}

bench_time bench_measure(bench_device *device, bench_call call, void *state, int32_t rotations) {
    if (device->is_emulated)
        return run_emulated(device, call, state, rotations);
    double samples[SAMPLES];
    int32_t wanted = SAMPLES;
    void *start = NULL;
    void *end = NULL;
    bench_check_driver(driver.event_create(&start, 0), "cuEventCreate");
    bench_check_driver(driver.event_create(&end, 0), "cuEventCreate");
    void *const graph = record(device, call, state, rotations);
    for (int32_t i = -WARM_UP; i < wanted; i++) {
        float milliseconds = 0.0f;
        bench_check(krn_cuda_memory_set(device->context, device->flush, (uint8_t)(i & 0xFF), device->flush_bytes,
                                        device->stream),
                    "flushing");
        bench_check_driver(driver.event_record(start, device->stream), "cuEventRecord");
        bench_check_driver(driver.graph_launch(graph, device->stream), "cuGraphLaunch");
        bench_check_driver(driver.event_record(end, device->stream), "cuEventRecord");
        bench_check_driver(driver.event_synchronize(end), "cuEventSynchronize");
        bench_check_driver(driver.event_elapsed(&milliseconds, start, end), "cuEventElapsedTime");
        if (i >= 0)
            samples[i] = milliseconds * 1000.0 / rotations;
        else if (milliseconds * 1000.0 * SAMPLES > LONG_US)
            wanted = FEW_SAMPLES;
    }
    qsort(samples, (size_t)wanted, sizeof samples[0], compare);
    const bench_time time = {
        .median_us = samples[wanted / 2],
        .min_us = samples[0],
        .p95_us = samples[wanted * 95 / 100],
        .samples = wanted,
        .calls_per_sample = rotations,
        .clocks = clocks_under_load(device, graph, samples[wanted / 2] * rotations),
    };
    bench_check_driver(driver.graph_exec_destroy(graph), "cuGraphExecDestroy");
    bench_check_driver(driver.event_destroy(start), "cuEventDestroy");
    bench_check_driver(driver.event_destroy(end), "cuEventDestroy");
    return time;
}
