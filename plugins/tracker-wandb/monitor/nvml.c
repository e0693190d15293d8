/* SPDX-License-Identifier: Apache-2.0 */
/* NVIDIA's management library, loaded where there is one. The types and numbers are those of its
 * public header; a function that an older driver lacks leaves its keys out. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sample.h"

typedef struct nvml_device *device_t;

typedef struct {
    unsigned gpu, memory; /* percent */
} utilization_t;

typedef struct {
    unsigned long long total, free, used; /* bytes */
} memory_t;

typedef struct {
    unsigned pid;
    unsigned long long used_memory;
    unsigned gpu_instance, compute_instance;
} process_t;

enum { SUCCESS = 0 };
enum { TEMPERATURE_GPU = 0, CLOCK_SM = 1, CLOCK_MEMORY = 2 };
enum { ERRORS_CORRECTED = 0, ERRORS_UNCORRECTED = 1, COUNTED_EVER = 1 };
enum { MAX_GPUS = 64, MAX_PROCESSES = 1024 };

typedef struct {
    int (*init)(void);
    int (*shutdown)(void);
    int (*cuda_version)(int *version);
    int (*count)(unsigned *count);
    int (*handle)(unsigned index, device_t *device);
    int (*name)(device_t device, char *text, unsigned size);
    int (*uuid)(device_t device, char *text, unsigned size);
    int (*cores)(device_t device, unsigned *cores);
    int (*architecture)(device_t device, unsigned *architecture);
    int (*utilization)(device_t device, utilization_t *utilization);
    int (*memory)(device_t device, memory_t *memory);
    int (*temperature)(device_t device, int sensor, unsigned *celsius);
    int (*power)(device_t device, unsigned *milliwatts);
    int (*power_limit)(device_t device, unsigned *milliwatts);
    int (*clock)(device_t device, int kind, unsigned *megahertz);
    int (*fan)(device_t device, unsigned *percent);
    int (*errors)(device_t device, int kind, int counter, unsigned long long *count);
    int (*compute_processes)(device_t device, unsigned *count, process_t *processes);
    int (*graphics_processes)(device_t device, unsigned *count, process_t *processes);
} functions_t;

#define FUNCTION(member, name) {name, offsetof(functions_t, member)}
static const struct {
    const char *name;
    size_t offset;
} symbols[] = {
    FUNCTION(init, "nvmlInit_v2"),
    FUNCTION(shutdown, "nvmlShutdown"),
    FUNCTION(cuda_version, "nvmlSystemGetCudaDriverVersion_v2"),
    FUNCTION(count, "nvmlDeviceGetCount_v2"),
    FUNCTION(handle, "nvmlDeviceGetHandleByIndex_v2"),
    FUNCTION(name, "nvmlDeviceGetName"),
    FUNCTION(uuid, "nvmlDeviceGetUUID"),
    FUNCTION(cores, "nvmlDeviceGetNumGpuCores"),
    FUNCTION(architecture, "nvmlDeviceGetArchitecture"),
    FUNCTION(utilization, "nvmlDeviceGetUtilizationRates"),
    FUNCTION(memory, "nvmlDeviceGetMemoryInfo"),
    FUNCTION(temperature, "nvmlDeviceGetTemperature"),
    FUNCTION(power, "nvmlDeviceGetPowerUsage"),
    FUNCTION(power_limit, "nvmlDeviceGetEnforcedPowerLimit"),
    FUNCTION(clock, "nvmlDeviceGetClockInfo"),
    FUNCTION(fan, "nvmlDeviceGetFanSpeed"),
    FUNCTION(errors, "nvmlDeviceGetTotalEccErrors"),
    FUNCTION(compute_processes, "nvmlDeviceGetComputeRunningProcesses_v3"),
    FUNCTION(graphics_processes, "nvmlDeviceGetGraphicsRunningProcesses_v3"),
};

struct accel__wandb_nvml {
    void *library;
    functions_t call;
    bool initialized;
    unsigned count;
    device_t devices[MAX_GPUS]; /* NULL: this one does not answer */
};

/* Did it work? A function that is not there did not. */
#define WORKS(nvml, function, ...) \
    ((nvml)->call.function && (nvml)->call.function(__VA_ARGS__) == SUCCESS)

static void find_functions(accel__wandb_nvml_t *nvml)
{
    for (size_t i = 0; i < sizeof(symbols) / sizeof(*symbols); i++) {
        void *symbol = dlsym(nvml->library, symbols[i].name);
        memcpy((char *)&nvml->call + symbols[i].offset, &symbol, sizeof(symbol));
    }
}

accel__wandb_nvml_t *accel__wandb_nvml_open(void)
{
    accel__wandb_nvml_t *nvml = calloc(1, sizeof(*nvml));
    if (!nvml)
        return NULL;
    nvml->library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (nvml->library) {
        find_functions(nvml);
        nvml->initialized = nvml->call.init && nvml->call.init() == SUCCESS;
    }
    if (!nvml->initialized || !WORKS(nvml, count, &nvml->count) || !nvml->count) {
        accel__wandb_nvml_close(nvml);
        return NULL;
    }
    nvml->count = nvml->count < MAX_GPUS ? nvml->count : MAX_GPUS;
    for (unsigned i = 0; i < nvml->count; i++) {
        if (!WORKS(nvml, handle, i, &nvml->devices[i]))
            nvml->devices[i] = NULL;
    }
    return nvml;
}

void accel__wandb_nvml_close(accel__wandb_nvml_t *nvml)
{
    if (!nvml)
        return;
    if (nvml->initialized && nvml->call.shutdown)
        (void)nvml->call.shutdown();
    if (nvml->library)
        dlclose(nvml->library);
    free(nvml);
}

/* ---- what there is ---- */

unsigned accel__wandb_nvml_count(const accel__wandb_nvml_t *nvml)
{
    return nvml->count;
}

static const char *architecture_name(unsigned number)
{
    static const char *const names[] = {NULL,    NULL,     "Kepler", "Maxwell", "Pascal",   "Volta",
                                        "Turing", "Ampere", "Ada",    "Hopper",  "Blackwell"};
    return number < sizeof(names) / sizeof(*names) ? names[number] : NULL;
}

bool accel__wandb_nvml_describe(const accel__wandb_nvml_t *nvml, unsigned index,
                                accel__wandb_gpu_t *gpu)
{
    device_t device = nvml->devices[index];
    memory_t memory;
    unsigned number;
    *gpu = (accel__wandb_gpu_t){0};
    if (!device || !WORKS(nvml, name, device, gpu->name, sizeof(gpu->name) - 1))
        return false;
    if (!WORKS(nvml, uuid, device, gpu->uuid, sizeof(gpu->uuid) - 1))
        gpu->uuid[0] = '\0';
    if (WORKS(nvml, memory, device, &memory))
        gpu->memory_total = memory.total;
    if (WORKS(nvml, cores, device, &number))
        gpu->cores = number;
    if (WORKS(nvml, architecture, device, &number))
        gpu->architecture = architecture_name(number);
    return true;
}

bool accel__wandb_nvml_cuda_version(const accel__wandb_nvml_t *nvml, char *text, size_t size)
{
    int version;
    if (!WORKS(nvml, cuda_version, &version))
        return false;
    snprintf(text, size, "%d.%d", version / 1000, version % 1000 / 10);
    return true;
}

/* ---- samples ---- */

static bool lists_process(int (*list)(device_t, unsigned *, process_t *), device_t device,
                          const pid_t *pids, size_t num_pids)
{
    unsigned count = MAX_PROCESSES;
    process_t *processes = list ? calloc(count, sizeof(*processes)) : NULL;
    bool found = false;
    int status = processes ? list(device, &count, processes) : SUCCESS;
    for (unsigned i = 0; processes && status == SUCCESS && i < count && !found; i++) {
        for (size_t j = 0; j < num_pids && !found; j++)
            found = (pid_t)processes[i].pid == pids[j];
    }
    free(processes);
    return found;
}

/* Under gpu.N, and again under gpu.process.N of a GPU that the run's processes use. */
typedef struct {
    accel__wandb_sample_t *sample;
    unsigned index;
    bool is_ours;
} place_t;

static void add(const place_t *place, const char *key, double value)
{
    accel__wandb_sample_add(place->sample, value, "gpu.%u.%s", place->index, key);
    if (place->is_ours)
        accel__wandb_sample_add(place->sample, value, "gpu.process.%u.%s", place->index, key);
}

static void add_alone(const place_t *place, const char *key, double value)
{
    accel__wandb_sample_add(place->sample, value, "gpu.%u.%s", place->index, key);
}

static void sample_power(const accel__wandb_nvml_t *nvml, device_t device, const place_t *place)
{
    unsigned power, limit;
    bool has_power = WORKS(nvml, power, device, &power);
    bool has_limit = WORKS(nvml, power_limit, device, &limit);
    if (has_power)
        add(place, "powerWatts", power / 1000.0);
    if (has_limit)
        add(place, "enforcedPowerLimitWatts", limit / 1000.0);
    if (has_power && has_limit && limit)
        add(place, "powerPercent", 100.0 * power / limit);
}

static void sample_clocks(const accel__wandb_nvml_t *nvml, device_t device, const place_t *place)
{
    unsigned number;
    unsigned long long count;
    if (WORKS(nvml, clock, device, CLOCK_SM, &number))
        add_alone(place, "smClock", number);
    if (WORKS(nvml, clock, device, CLOCK_MEMORY, &number))
        add_alone(place, "memoryClock", number);
    if (WORKS(nvml, fan, device, &number))
        add_alone(place, "fanSpeed", number);
    if (WORKS(nvml, errors, device, ERRORS_CORRECTED, COUNTED_EVER, &count))
        add_alone(place, "correctedMemoryErrors", (double)count);
    if (WORKS(nvml, errors, device, ERRORS_UNCORRECTED, COUNTED_EVER, &count))
        add_alone(place, "uncorrectedMemoryErrors", (double)count);
}

static void sample_device(const accel__wandb_nvml_t *nvml, device_t device, const place_t *place)
{
    utilization_t utilization;
    memory_t memory;
    unsigned celsius;
    if (WORKS(nvml, utilization, device, &utilization)) {
        add(place, "gpu", utilization.gpu);
        add(place, "memory", utilization.memory);
    }
    if (WORKS(nvml, memory, device, &memory) && memory.total) {
        add(place, "memoryAllocated", 100.0 * (double)memory.used / (double)memory.total);
        add(place, "memoryAllocatedBytes", (double)memory.used);
    }
    if (WORKS(nvml, temperature, device, TEMPERATURE_GPU, &celsius))
        add(place, "temp", celsius);
    sample_power(nvml, device, place);
    sample_clocks(nvml, device, place);
}

void accel__wandb_nvml_sample(accel__wandb_nvml_t *nvml, pid_t pid, accel__wandb_sample_t *sample)
{
    pid_t *pids = calloc(ACCEL__WANDB_MAX_TREE, sizeof(*pids));
    size_t num_pids = pids ? accel__wandb_process_tree(pid, pids) : 0;
    for (unsigned i = 0; i < nvml->count; i++) {
        device_t device = nvml->devices[i];
        if (!device)
            continue;
        bool ours = lists_process(nvml->call.compute_processes, device, pids, num_pids) ||
                    lists_process(nvml->call.graphics_processes, device, pids, num_pids);
        sample_device(nvml, device, &(place_t){sample, i, ours});
    }
    free(pids);
}
