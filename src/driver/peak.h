// What this machine reaches at best, measured: the two roofs that a kernel's rate is held against.
#pragma once

namespace burnish {

// Multiply-adds per second of f32 that `threads` threads reach in registers, no more of them than
// there are CPUs. Takes about 0.1 s.
double measured_peak(unsigned threads);

// Bytes per second that `threads` threads, no more of them than there are CPUs, read together from
// memory that the caches do not hold. Takes half a second or so, and up to 512 MB of memory
// meanwhile; std::bad_alloc where there is none.
double measured_bandwidth(unsigned threads);

}  // namespace burnish
