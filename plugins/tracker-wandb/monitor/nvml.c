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
    unsigned long long total, free, used; /* bytes; used: with what the driver keeps for itself */
} memory_t;

typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
} memory_v2_t;

/* Profiling of newer GPUs: what happened between two samples. */
typedef struct nvml_gpm_sample *gpm_sample_t;

typedef struct {
    unsigned version, is_supported;
} gpm_support_t;

typedef struct {
    unsigned id;
    int status;
    double value;
    const char *short_name, *long_name, *unit;
} gpm_metric_t;

enum { GPM_VERSION = 1, GPM_MAX = 512 }; /* the library reads as many as are asked for */

typedef struct {
    unsigned version, count;
    gpm_sample_t first, second;
    gpm_metric_t metrics[GPM_MAX];
} gpm_metrics_t;

typedef struct {
    unsigned pid;
    unsigned long long used_memory;
    unsigned gpu_instance, compute_instance;
} process_t;

enum { SUCCESS = 0 };
enum { TEMPERATURE_GPU = 0, CLOCK_SM = 1, CLOCK_MEMORY = 2 };
enum { ERRORS_CORRECTED = 0, ERRORS_UNCORRECTED = 1, SINCE_RESET = 0, IN_DEVICE_MEMORY = 2 };
enum { PCIE_TX = 0, PCIE_RX = 1 };
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
    int (*memory_v2)(device_t device, memory_v2_t *memory);
    int (*temperature)(device_t device, int sensor, unsigned *celsius);
    int (*power)(device_t device, unsigned *milliwatts);
    int (*power_limit)(device_t device, unsigned *milliwatts);
    int (*clock)(device_t device, int kind, unsigned *megahertz);
    int (*fan)(device_t device, unsigned fan, unsigned *percent);
    int (*errors)(device_t device, int kind, int counter, int location, unsigned long long *count);
    int (*energy)(device_t device, unsigned long long *millijoules);
    int (*throughput)(device_t device, int direction, unsigned *kibibytes);
    int (*gpm_support)(device_t device, gpm_support_t *support);
    int (*gpm_alloc)(gpm_sample_t *sample);
    int (*gpm_free)(gpm_sample_t sample);
    int (*gpm_take)(device_t device, gpm_sample_t sample);
    int (*gpm_metrics)(gpm_metrics_t *metrics);
    int (*compute_processes)(device_t device, unsigned *count, process_t *processes);
    int (*graphics_processes)(device_t device, unsigned *count, process_t *processes);
} functions_t;

#define FUNCTION(member, name)              \
    {                                       \
        name, offsetof(functions_t, member) \
    }
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
    FUNCTION(memory_v2, "nvmlDeviceGetMemoryInfo_v2"),
    FUNCTION(temperature, "nvmlDeviceGetTemperature"),
    FUNCTION(power, "nvmlDeviceGetPowerUsage"),
    FUNCTION(power_limit, "nvmlDeviceGetEnforcedPowerLimit"),
    FUNCTION(clock, "nvmlDeviceGetClockInfo"),
    FUNCTION(fan, "nvmlDeviceGetFanSpeed_v2"),
    FUNCTION(errors, "nvmlDeviceGetMemoryErrorCounter"),
    FUNCTION(energy, "nvmlDeviceGetTotalEnergyConsumption"),
    FUNCTION(throughput, "nvmlDeviceGetPcieThroughput"),
    FUNCTION(gpm_support, "nvmlGpmQueryDeviceSupport"),
    FUNCTION(gpm_alloc, "nvmlGpmSampleAlloc"),
    FUNCTION(gpm_free, "nvmlGpmSampleFree"),
    FUNCTION(gpm_take, "nvmlGpmSampleGet"),
    FUNCTION(gpm_metrics, "nvmlGpmMetricsGet"),
    FUNCTION(compute_processes, "nvmlDeviceGetComputeRunningProcesses_v3"),
    FUNCTION(graphics_processes, "nvmlDeviceGetGraphicsRunningProcesses_v3"),
};

struct accel__wandb_nvml {
    void *library;
    functions_t call;
    bool initialized;
    unsigned count;
    device_t devices[MAX_GPUS]; /* NULL: this one does not answer */
    struct {
        gpm_sample_t last, next; /* NULL: it cannot be profiled */
        bool has_last;
    } gpm[MAX_GPUS];
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

static void open_device(accel__wandb_nvml_t *nvml, unsigned index)
{
    gpm_support_t support = {.version = GPM_VERSION};
    if (!WORKS(nvml, handle, index, &nvml->devices[index])) {
        nvml->devices[index] = NULL;
        return;
    }
    if (!WORKS(nvml, gpm_support, nvml->devices[index], &support) || !support.is_supported)
        return;
    if (!WORKS(nvml, gpm_alloc, &nvml->gpm[index].last))
        nvml->gpm[index].last = NULL;
    if (!WORKS(nvml, gpm_alloc, &nvml->gpm[index].next))
        nvml->gpm[index].next = NULL;
}

bool accel__wandb_nvml_present(void)
{
    void *library = dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (library)
        dlclose(library);
    return library != NULL;
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
    for (unsigned i = 0; i < nvml->count; i++)
        open_device(nvml, i);
    return nvml;
}

void accel__wandb_nvml_close(accel__wandb_nvml_t *nvml)
{
    if (!nvml)
        return;
    for (unsigned i = 0; i < nvml->count && i < MAX_GPUS; i++) {
        if (nvml->gpm[i].last)
            (void)WORKS(nvml, gpm_free, nvml->gpm[i].last);
        if (nvml->gpm[i].next)
            (void)WORKS(nvml, gpm_free, nvml->gpm[i].next);
    }
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
    static const char *const names[] = {NULL,     NULL,     "Kepler",   "Maxwell",
                                        "Pascal", "Volta",  "Turing",   "Ampere",
                                        "Ada",    "Hopper", "Blackwell"};
    return number < sizeof(names) / sizeof(*names) ? names[number] : NULL;
}

static bool read_memory(const accel__wandb_nvml_t *nvml, device_t device, memory_t *memory)
{
    memory_v2_t found = {.version = sizeof(found) | 2u << 24};
    if (!WORKS(nvml, memory_v2, device, &found))
        return WORKS(nvml, memory, device, memory);
    *memory = (memory_t){found.total, found.free, found.used};
    return true;
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
    if (read_memory(nvml, device, &memory))
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
    unsigned long long energy;
    if (WORKS(nvml, power, device, &power)) {
        add(place, "powerWatts", power / 1000.0);
        if (WORKS(nvml, power_limit, device, &limit) && limit) {
            add(place, "enforcedPowerLimitWatts", limit / 1000.0);
            add(place, "powerPercent", 100.0 * power / limit);
        }
    }
    if (WORKS(nvml, energy, device, &energy))
        add_alone(place, "energyJoules", (double)energy / 1000);
}

static void sample_clocks(const accel__wandb_nvml_t *nvml, device_t device, const place_t *place)
{
    unsigned number;
    unsigned long long count;
    if (WORKS(nvml, clock, device, CLOCK_SM, &number))
        add_alone(place, "smClock", number);
    if (WORKS(nvml, clock, device, CLOCK_MEMORY, &number))
        add_alone(place, "memoryClock", number);
    if (WORKS(nvml, fan, device, 0, &number))
        add_alone(place, "fanSpeed", number);
    if (WORKS(nvml, errors, device, ERRORS_CORRECTED, SINCE_RESET, IN_DEVICE_MEMORY, &count))
        add_alone(place, "correctedMemoryErrors", (double)count);
    if (WORKS(nvml, errors, device, ERRORS_UNCORRECTED, SINCE_RESET, IN_DEVICE_MEMORY, &count))
        add_alone(place, "uncorrectedMemoryErrors", (double)count);
}

/* Of a GPU that cannot be profiled, a glance of 20 ms. */
static void sample_link(const accel__wandb_nvml_t *nvml, device_t device, const place_t *place)
{
    unsigned sent, received;
    if (!nvml->gpm[place->index].next && WORKS(nvml, throughput, device, PCIE_TX, &sent) &&
        WORKS(nvml, throughput, device, PCIE_RX, &received)) {
        add_alone(place, "pcieTxBytes", sent * 1024.0);
        add_alone(place, "pcieRxBytes", received * 1024.0);
    }
}

static void add_profile(const accel__wandb_nvml_t *nvml, gpm_metrics_t *asked, const place_t *place)
{
    static const double MIB = 1024.0 * 1024.0;
    static const struct {
        unsigned id;
        const char *key;
        bool is_rate; /* in MiB/s */
    } wanted[] = {
        {2, "smActive", false},         {3, "smOccupancy", false},
        {5, "pipeTensorActive", false}, {10, "dramActive", false},
        {11, "pipeFp64Active", false},  {12, "pipeFp32Active", false},
        {13, "pipeFp16Active", false},  {7, "pipeTensorHmmaActive", false},
        {20, "pcieTxBytes", true},      {21, "pcieRxBytes", true},
        {61, "nvlinkTxBytes", true},    {60, "nvlinkRxBytes", true},
    };
    asked->version = GPM_VERSION;
    asked->count = sizeof(wanted) / sizeof(*wanted);
    for (size_t i = 0; i < asked->count; i++)
        asked->metrics[i].id = wanted[i].id;
    if (!WORKS(nvml, gpm_metrics, asked))
        return;
    for (size_t i = 0; i < asked->count; i++) {
        const gpm_metric_t *metric = &asked->metrics[i];
        if (metric->status == SUCCESS)
            add_alone(place, wanted[i].key, metric->value * (wanted[i].is_rate ? MIB : 1));
    }
}

/* Between the last sample and this one; the first has nothing to tell. */
static void sample_profile(accel__wandb_nvml_t *nvml, device_t device, const place_t *place)
{
    unsigned i = place->index;
    if (!nvml->gpm[i].last || !nvml->gpm[i].next ||
        !WORKS(nvml, gpm_take, device, nvml->gpm[i].next))
        return;
    gpm_metrics_t *asked = nvml->gpm[i].has_last ? calloc(1, sizeof(*asked)) : NULL;
    if (asked) {
        asked->first = nvml->gpm[i].last;
        asked->second = nvml->gpm[i].next;
        add_profile(nvml, asked, place);
    }
    free(asked);
    gpm_sample_t taken = nvml->gpm[i].next;
    nvml->gpm[i].next = nvml->gpm[i].last;
    nvml->gpm[i].last = taken;
    nvml->gpm[i].has_last = true;
}

static void sample_device(accel__wandb_nvml_t *nvml, device_t device, const place_t *place)
{
    utilization_t utilization;
    memory_t memory;
    unsigned celsius;
    if (WORKS(nvml, utilization, device, &utilization)) {
        add(place, "gpu", utilization.gpu);
        add(place, "memory", utilization.memory);
    }
    if (read_memory(nvml, device, &memory) && memory.total) {
        add(place, "memoryAllocated", 100.0 * (double)memory.used / (double)memory.total);
        add(place, "memoryAllocatedBytes", (double)memory.used);
    }
    if (WORKS(nvml, temperature, device, TEMPERATURE_GPU, &celsius))
        add(place, "temp", celsius);
    sample_power(nvml, device, place);
    sample_clocks(nvml, device, place);
    sample_link(nvml, device, place);
    sample_profile(nvml, device, place);
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
