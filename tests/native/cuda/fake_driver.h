/* A CUDA driver that is none: a library of the driver's name that records calls, copies memory on the host, and fails when
 * it is told to. Test programs load it through the driver layer, and again by themselves for the functions below. */
#ifndef KRN_TEST_FAKE_DRIVER_H
#define KRN_TEST_FAKE_DRIVER_H

#include <stdint.h>

typedef struct fake_driver_control {
    /* The calls since the last clear, a line each: the name, then what of the arguments matters. */
    const char *(*log)(void);
    void (*clear_log)(void);
    /* From now on calls of `function` return `result`; 0 ends that. */
    void (*fail)(const char *function, int32_t result);
    void (*set_devices)(int32_t count, int32_t compute_major, int32_t compute_minor);
    void (*set_version)(int32_t version);
    /* Retained primary contexts, loaded modules, allocations and streams that were not given back. */
    int32_t (*live_objects)(void);
    /* The first 8 bytes of the parameter of the last launch. */
    uint64_t (*last_param)(void);
    /* The context that is current. */
    void *(*current_context)(void);
} fake_driver_control;

#define FAKE_DRIVER_CONTROL "fake_driver_control_table"

/* An image of the fake: this word, then names of kernels with a space before each. With FAKE_IMAGE_OTHER instead it is
 * machine code for another device. */
#define FAKE_IMAGE "image"
#define FAKE_IMAGE_OTHER "other"

#endif
