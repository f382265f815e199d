/* What every test model has: the two notes of docs/artifact.md. metadata.inc is written by
 * support.cpp. */
#include <burnish/abi.h>

struct metadata_note {
  uint32_t name_size, size, type;
  char owner[8];
  unsigned char text[METADATA_BYTES];
};
struct checksum_note {
  uint32_t name_size, size, type;
  char owner[8];
  unsigned char sum[8];
};

#define NOTE __attribute__((section(".note.burnish"), used, aligned(4)))

NOTE static const struct metadata_note metadata_note = {8,
                                                        METADATA_BYTES,
                                                        BURNISH_NOTE_METADATA,
                                                        BURNISH_NOTE_OWNER,
                                                        {
#include "metadata.inc"
                                                        }};
NOTE static const struct checksum_note checksum_note = {
    8, 8, BURNISH_NOTE_CHECKSUM, BURNISH_NOTE_OWNER, {0}};

#ifndef ENTRY_ABI
#define ENTRY_ABI BURNISH_ABI_VERSION
#endif
