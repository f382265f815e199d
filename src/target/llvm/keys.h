// Keys of remembered values: what was made, then of what.
#pragma once

#include <cstdint>

namespace burnish::llvm_target {

enum class Made : uint64_t { Sum, Quotient, Pointer, MovingPointer, SafePointer, Load, Comparison, Conjunction, Limit };

inline uint64_t key_of(Made m) { return static_cast<uint64_t>(m); }
inline uint64_t key_of(const void* p) { return reinterpret_cast<uint64_t>(p); }
inline uint64_t key_of(int64_t v) { return static_cast<uint64_t>(v); }

}  // namespace burnish::llvm_target
