/* A model for GPUs: WEIGHTS_FILE holds weights and images; there is nothing that the CPU could run. */
#include "note.h"

__asm__(".pushsection .rodata\n"
        ".balign 64\n"
        ".hidden device_weights\n"
        ".globl device_weights\n"
        "device_weights: .incbin \"" WEIGHTS_FILE "\"\n"
        ".popsection");
extern const unsigned char device_weights[];

static int32_t run(const burnish_frame* frame, uint32_t thread, const burnish_host* host) {
  return 99;
}

static const burnish_entry entry = {ENTRY_ABI, 0, run, 0, device_weights, WEIGHTS_BYTES};

__attribute__((visibility("default"))) const burnish_entry* burnish_model_entry(void) {
  return &entry;
}
