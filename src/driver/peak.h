// What this machine reaches at best, measured: the roofs that a kernel's rate is held against.
#pragma once

#include <cstdint>

namespace burnish {

// Of several threads together.
struct Roofs {
  double macs_per_second = 0;                               // multiply-adds of f32 in registers
  double bytes_per_second = 0;                              // read from memory
  double l2_bytes_per_second = 0, l3_bytes_per_second = 0;  // read from these caches; 0: not known
  // What the caches hold, over all threads: level 1 and 2 are of a core each, level 3 is shared.
  int64_t l1_bytes = 0, l2_bytes = 0, l3_bytes = 0;
};

// Multiply-adds per second of f32 that `threads` threads reach in registers, no more of them than
// there are CPUs. Takes about 0.1 s.
double measured_peak(unsigned threads);

// Bytes per second that `threads` threads, no more of them than there are CPUs, read together from
// memory that the caches do not hold. Takes half a second or so, and up to 512 MB of memory
// meanwhile; std::bad_alloc where there is none.
double measured_bandwidth(unsigned threads);

// All of it, about a second. Where there is too little memory to measure, or a cache that the
// system does not tell of, rates are 0.
Roofs measured_roofs(unsigned threads);
// The same with caches of these sizes in bytes, of a core each but for the last; 0: not known.
Roofs measured_roofs(unsigned threads, int64_t l1, int64_t l2, int64_t l3);

}  // namespace burnish
