/* A libnvidia-ml.so.1 for machines without a GPU: the real pynvml talks to it.
 *
 * It answers from the text file $NVML_BOARDS, one board a line:
 *   NAME;UUID;TOTAL_BYTES;USED_BYTES;POWER_LIMIT_MW;BUSY_PERCENT;MEMORY_CODE
 *   and, where more is to be said, ;POWER_MW;CELSIUS;SM_MHZ;MEMORY_MHZ;REASONS;PID;PID_BYTES
 * MEMORY_CODE is what a memory question returns: 0 success, 3 not supported, 15 lost, -1 nothing,
 * ever. The file is read again at every memory question. A first line "!18" is what nvmlInit
 * returns. Without the file nvmlInit says 9, "driver not loaded".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, UNINITIALISED = 1, INVALID = 2, UNSUPPORTED = 3, TOO_SMALL = 7, NO_DRIVER = 9, LOST = 15, MISMATCH = 18 };
enum { MAX_BOARDS = 8, TEXT = 80 };

struct board {
    char name[TEXT], uuid[TEXT];
    unsigned long long total, used;
    unsigned limit_mw, busy;
    int memory_code;
    int more; /* how many of the further fields the file has */
    unsigned power_mw, celsius, sm_mhz, memory_mhz, pid;
    unsigned long long reasons, pid_bytes;
};
struct process { unsigned pid; unsigned long long bytes; unsigned part, slice; };
struct memory { unsigned long long total, free, used; };
struct load { unsigned gpu, memory; };

static struct board boards[MAX_BOARDS];
static unsigned count;
static int ready;

static int load_boards(void) {
    const char *path = getenv("NVML_BOARDS");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[512];
    int code = OK;
    if (!file) return NO_DRIVER;
    for (count = 0; count < MAX_BOARDS && fgets(line, sizeof line, file);) {
        struct board *b = &boards[count];
        int read;
        if (sscanf(line, "!%d", &code) == 1) continue;
        read = sscanf(line, "%79[^;];%79[^;];%llu;%llu;%u;%u;%d;%u;%u;%u;%u;%llu;%u;%llu", b->name,
                      b->uuid, &b->total, &b->used, &b->limit_mw, &b->busy, &b->memory_code,
                      &b->power_mw, &b->celsius, &b->sm_mhz, &b->memory_mhz, &b->reasons, &b->pid,
                      &b->pid_bytes);
        b->more = read - 7;
        if (read >= 7) count++;
    }
    fclose(file);
    return code;
}

int nvmlInitWithFlags(unsigned flags) {
    int code = load_boards();
    (void)flags;
    ready = code == OK;
    return code;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { ready = 0; return OK; }

const char *nvmlErrorString(int code) {
    switch (code) {
    case UNSUPPORTED: return "Not Supported";
    case NO_DRIVER: return "Driver Not Loaded";
    case MISMATCH: return "Driver/library version mismatch";
    case LOST: return "GPU is lost";
    default: return "Unknown Error";
    }
}

int nvmlDeviceGetCount_v2(unsigned *out) {
    if (!ready) return UNINITIALISED;
    *out = count;
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct board **out) {
    if (index >= count) return INVALID;
    *out = &boards[index];
    return OK;
}

static int copy_text(char *out, unsigned room, const char *text) {
    if (strlen(text) >= room) return TOO_SMALL;
    strcpy(out, text);
    return OK;
}

int nvmlDeviceGetName(struct board *b, char *out, unsigned room) { return copy_text(out, room, b->name); }
int nvmlDeviceGetUUID(struct board *b, char *out, unsigned room) { return copy_text(out, room, b->uuid); }

int nvmlDeviceGetMemoryInfo(struct board *b, struct memory *out) {
    load_boards();
    while (b->memory_code < 0) pause();
    if (b->memory_code) return b->memory_code;
    out->total = b->total;
    out->used = b->used;
    out->free = b->total - b->used;
    return OK;
}

int nvmlDeviceGetUtilizationRates(struct board *b, struct load *out) {
    out->gpu = b->busy;
    out->memory = 0;
    return OK;
}

int nvmlDeviceGetEnforcedPowerLimit(struct board *b, unsigned *out) {
    *out = b->limit_mw;
    return OK;
}

int nvmlDeviceGetCudaComputeCapability(struct board *b, int *major, int *minor) {
    (void)b;
    *major = 8;
    *minor = 9;
    return OK;
}

static int number(int known, unsigned value, unsigned *out) {
    if (!known) return UNSUPPORTED;
    *out = value;
    return OK;
}

int nvmlDeviceGetPowerUsage(struct board *b, unsigned *out) { return number(b->more > 0, b->power_mw, out); }

int nvmlDeviceGetTemperature(struct board *b, int sensor, unsigned *out) {
    (void)sensor;
    return number(b->more > 1, b->celsius, out);
}

int nvmlDeviceGetClockInfo(struct board *b, int kind, unsigned *out) {
    return kind == 1 ? number(b->more > 2, b->sm_mhz, out) : number(b->more > 3, b->memory_mhz, out);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(struct board *b, unsigned long long *out) {
    if (b->more < 5) return UNSUPPORTED;
    *out = b->reasons;
    return OK;
}

/* As NVML counts: asked with too little room it says how much it needs. */
int nvmlDeviceGetComputeRunningProcesses_v3(struct board *b, unsigned *many, struct process *out) {
    unsigned have = b->more > 6 && b->pid;
    if (b->more < 5) return UNSUPPORTED;
    if (*many < have) {
        *many = have;
        return TOO_SMALL;
    }
    *many = have;
    if (have) {
        out->pid = b->pid;
        out->bytes = b->pid_bytes;
        out->part = out->slice = ~0u;
    }
    return OK;
}
