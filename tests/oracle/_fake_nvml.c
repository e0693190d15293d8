/* SPDX-License-Identifier: Apache-2.0 */
/* A libnvidia-ml.so.1 of two GPUs, for machines that have none. The second one's functions beyond
 * its name fail, as on a GPU that is too old for them. FAKE_NVML_PID, if set, uses the first. */
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))
enum { SUCCESS = 0, NOT_SUPPORTED = 3 };

typedef struct device {
    unsigned index;
} device_t;

static device_t devices[2] = {{0}, {1}};

#define OF_FIRST(device, statement)   \
    do {                              \
        if ((device)->index != 0)     \
            return NOT_SUPPORTED;     \
        statement;                    \
        return SUCCESS;               \
    } while (0)

API int nvmlInit_v2(void) { return SUCCESS; }
API int nvmlInitWithFlags(unsigned flags) { (void)flags; return SUCCESS; }
API int nvmlShutdown(void) { return SUCCESS; }
API const char *nvmlErrorString(int error) { return error ? "error" : "success"; }
API int nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12080; return SUCCESS; }
API int nvmlSystemGetCudaDriverVersion(int *version) { *version = 12080; return SUCCESS; }
API int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return SUCCESS; }

API int nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t **device)
{
    *device = &devices[index];
    return index < 2 ? SUCCESS : NOT_SUPPORTED;
}

API int nvmlDeviceGetName(device_t *device, char *name, unsigned size)
{
    strncpy(name, device->index ? "Fake Old" : "Fake H200", size);
    return SUCCESS;
}

API int nvmlDeviceGetUUID(device_t *device, char *uuid, unsigned size)
{
    OF_FIRST(device, strncpy(uuid, "GPU-0000-fake", size));
}

API int nvmlDeviceGetBrand(device_t *device, int *brand) { OF_FIRST(device, *brand = 14); }
API int nvmlDeviceGetNumGpuCores(device_t *device, unsigned *n) { OF_FIRST(device, *n = 16896); }
API int nvmlDeviceGetArchitecture(device_t *device, unsigned *n) { OF_FIRST(device, *n = 9); }

API int nvmlDeviceGetUtilizationRates(device_t *device, unsigned rates[2])
{
    OF_FIRST(device, rates[0] = 75; rates[1] = 40);
}

API int nvmlDeviceGetMemoryInfo(device_t *device, unsigned long long memory[3])
{
    OF_FIRST(device, memory[0] = 1ull << 37; memory[2] = 1ull << 35; memory[1] = 3ull << 35);
}

typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
} memory_v2_t;

API int nvmlDeviceGetMemoryInfo_v2(device_t *device, memory_v2_t *memory)
{
    OF_FIRST(device, memory->total = 1ull << 37; memory->reserved = 1ull << 30;
             memory->used = 1ull << 35; memory->free = 3ull << 35);
}

API int nvmlDeviceGetTemperature(device_t *device, int sensor, unsigned *celsius)
{
    OF_FIRST(device, *celsius = 41u + (unsigned)sensor);
}

API int nvmlDeviceGetPowerUsage(device_t *device, unsigned *mw) { OF_FIRST(device, *mw = 350500); }

API int nvmlDeviceGetEnforcedPowerLimit(device_t *device, unsigned *mw)
{
    OF_FIRST(device, *mw = 701000);
}

API int nvmlDeviceGetTotalEnergyConsumption(device_t *device, unsigned long long *mj)
{
    OF_FIRST(device, *mj = 123456789);
}

API int nvmlDeviceGetClockInfo(device_t *device, int kind, unsigned *mhz)
{
    OF_FIRST(device, *mhz = 1000u + (unsigned)kind);
}

API int nvmlDeviceGetFanSpeed_v2(device_t *device, unsigned fan, unsigned *percent)
{
    OF_FIRST(device, *percent = 30 + fan);
}

API int nvmlDeviceGetMemoryErrorCounter(device_t *device, int kind, int counter, int location,
                                        unsigned long long *count)
{
    OF_FIRST(device, *count = (unsigned long long)(kind * 100 + counter * 10 + location));
}

API int nvmlDeviceGetPcieThroughput(device_t *device, int direction, unsigned *kb)
{
    OF_FIRST(device, *kb = 500u + (unsigned)direction);
}

typedef struct {
    unsigned pid;
    unsigned long long memory;
    unsigned gpu_instance, compute_instance;
} process_t;

API int nvmlDeviceGetComputeRunningProcesses_v3(device_t *device, unsigned *count, process_t *found)
{
    const char *pid = getenv("FAKE_NVML_PID");
    unsigned room = *count;
    *count = pid && device->index == 0 ? 1 : 0;
    if (*count && (!room || !found))
        return 7;
    if (*count)
        found[0] = (process_t){(unsigned)atoi(pid), 1 << 20, 0, 0};
    return SUCCESS;
}

API int nvmlDeviceGetGraphicsRunningProcesses_v3(device_t *device, unsigned *count, process_t *found)
{
    (void)device;
    (void)found;
    *count = 0;
    return SUCCESS;
}

/* ---- profiling ---- */

API int nvmlGpmQueryDeviceSupport(device_t *device, unsigned support[2])
{
    support[1] = device->index == 0;
    return SUCCESS;
}

API int nvmlGpmSampleAlloc(void **sample)
{
    *sample = malloc(1);
    return SUCCESS;
}

API int nvmlGpmSampleFree(void *sample)
{
    free(sample);
    return SUCCESS;
}

API int nvmlGpmSampleGet(device_t *device, void *sample)
{
    (void)device;
    (void)sample;
    return SUCCESS;
}

typedef struct {
    unsigned id;
    int status;
    double value;
    const char *names[3];
} metric_t;

typedef struct {
    unsigned version, count;
    void *samples[2];
    metric_t metrics[];
} metrics_t;

API int nvmlGpmMetricsGet(metrics_t *metrics)
{
    for (unsigned i = 0; i < metrics->count; i++) {
        metrics->metrics[i].status = metrics->metrics[i].id == 7 ? NOT_SUPPORTED : SUCCESS;
        metrics->metrics[i].value = metrics->metrics[i].id + 0.5;
    }
    return SUCCESS;
}
