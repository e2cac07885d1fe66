/* A libnvidia-ml.so.1 for machines without a GPU: the real pynvml talks to it.
 *
 * It answers from the text file $NVML_BOARDS, one board a line:
 *   NAME;UUID;TOTAL_BYTES;USED_BYTES;POWER_LIMIT_MW;BUSY_PERCENT;MEMORY_CODE
 * MEMORY_CODE is what a memory question returns: 0 success, 3 not supported, 15 lost.
 * Without the file nvmlInit says 9, "driver not loaded".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, UNINITIALISED = 1, INVALID = 2, UNSUPPORTED = 3, TOO_SMALL = 7, NO_DRIVER = 9, LOST = 15 };
enum { MAX_BOARDS = 8, TEXT = 80 };

struct board {
    char name[TEXT], uuid[TEXT];
    unsigned long long total, used;
    unsigned limit_mw, busy;
    int memory_code;
};
struct memory { unsigned long long total, free, used; };
struct load { unsigned gpu, memory; };

static struct board boards[MAX_BOARDS];
static unsigned count;
static int ready;

int nvmlInitWithFlags(unsigned flags) {
    const char *path = getenv("NVML_BOARDS");
    FILE *file = path ? fopen(path, "r") : NULL;
    char line[512];
    (void)flags;
    if (!file) return NO_DRIVER;
    for (count = 0; count < MAX_BOARDS && fgets(line, sizeof line, file);) {
        struct board *b = &boards[count];
        if (sscanf(line, "%79[^;];%79[^;];%llu;%llu;%u;%u;%d", b->name, b->uuid, &b->total,
                   &b->used, &b->limit_mw, &b->busy, &b->memory_code) == 7)
            count++;
    }
    fclose(file);
    ready = 1;
    return OK;
}

int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { ready = 0; return OK; }

const char *nvmlErrorString(int code) {
    switch (code) {
    case UNSUPPORTED: return "Not Supported";
    case NO_DRIVER: return "Driver Not Loaded";
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
