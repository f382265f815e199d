// Element types. Integers wrap; casts from floats to integers truncate and saturate. TF32 is an F32 whose significand has 10 bits behind
// the point, the others of which are 0.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace burnish {

enum class DType : uint8_t { Bool, I8, U8, I16, U16, I32, U32, I64, U64, F16, BF16, F32, F64, TF32 };

int size_of(DType t);  // bytes; Bool is one byte holding 0 or 1
std::string_view name_of(DType t);  // bool i8 u8 i16 u16 i32 u32 i64 u64 f16 bf16 f32 f64 tf32
std::optional<DType> dtype_named(std::string_view name);
bool is_float(DType t);
bool is_signed(DType t);  // signed integers and floats
inline bool is_int(DType t) { return !is_float(t) && t != DType::Bool; }

}  // namespace burnish
