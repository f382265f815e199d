// The narrow float formats as bits. Conversion to 16 bits rounds to nearest, ties to even; to 10 bits of TF32, ties away from 0.
#pragma once

#include <bit>
#include <cstdint>

#include "expr/dtype.h"

namespace burnish {

inline bool is_half(DType t) { return t == DType::F16 || t == DType::BF16; }

inline float float_of_half(uint16_t h) {
  uint32_t sign = uint32_t{h & 0x8000u} << 16;
  uint32_t exponent = (h >> 10) & 0x1f;
  uint32_t mantissa = h & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, exact in float
    float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

inline uint16_t half_of_float(float f) {
  uint32_t bits = std::bit_cast<uint32_t>(f);
  uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00u;         // NaN
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;        // 65520 and more
  if (magnitude < 0x38800000u) {                              // below 2^-14: subnormal
    // Adding 0.5 aligns the last half bit with the last float bit; the addition rounds.
    float aligned = std::bit_cast<float>(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(aligned) - 0x3f000000u);
  }
  uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return sign | static_cast<uint16_t>((rounded - 0x38000000u) >> 13);
}

inline float float_of_bfloat(uint16_t b) { return std::bit_cast<float>(uint32_t{b} << 16); }

inline uint16_t bfloat_of_float(float f) {
  uint32_t bits = std::bit_cast<uint32_t>(f);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float tf32_of_float(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return std::bit_cast<float>((bits & 0xffffe000u) | 0x400000u);  // NaN
  return std::bit_cast<float>((bits + 0x1000u) & 0xffffe000u);  // infinity has room
}

}  // namespace burnish
