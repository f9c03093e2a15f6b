/* An NVML for tests of benchmarks, of the device that the fake driver has. */
#include "fake_export.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { SUCCESS = 0, NOT_FOUND = 6, SM_CLOCK = 1, MEMORY_CLOCK = 2 };

static char the_device;

EXPORT int32_t nvmlInit_v2(void) { return SUCCESS; }

EXPORT int32_t nvmlSystemGetDriverVersion(char *text, uint32_t length) {
    snprintf(text, length, "550.0");
    return SUCCESS;
}

EXPORT int32_t nvmlDeviceGetHandleByIndex_v2(uint32_t index, void **device) {
    *device = &the_device;
    return index == 0 ? SUCCESS : NOT_FOUND;
}

EXPORT int32_t nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **device) {
    *device = &the_device;
    return strcmp(id, "0000:1B:00.0") == 0 ? SUCCESS : NOT_FOUND;
}

EXPORT int32_t nvmlDeviceGetClockInfo(void *device, int32_t type, uint32_t *mhz) {
    *mhz = type == SM_CLOCK ? 1980 : type == MEMORY_CLOCK ? 2619 : 0;
    return device == &the_device ? SUCCESS : NOT_FOUND;
}

EXPORT int32_t nvmlDeviceGetPowerUsage(void *device, uint32_t *milliwatts) {
    *milliwatts = 345600;
    return device == &the_device ? SUCCESS : NOT_FOUND;
}

EXPORT int32_t nvmlDeviceGetTemperature(void *device, int32_t sensor, uint32_t *celsius) {
    *celsius = 55;
    return device == &the_device && sensor == 0 ? SUCCESS : NOT_FOUND;
}
