#include "expr/dtype.h"

#include <array>

namespace burnish {

namespace {
struct Row {
  std::string_view name;
  int size;
  bool real, sign;
};
constexpr std::array<Row, 14> rows = {{{"bool", 1, false, false}, {"i8", 1, false, true},
                                       {"u8", 1, false, false},   {"i16", 2, false, true},
                                       {"u16", 2, false, false},  {"i32", 4, false, true},
                                       {"u32", 4, false, false},  {"i64", 8, false, true},
                                       {"u64", 8, false, false},  {"f16", 2, true, true},
                                       {"bf16", 2, true, true},   {"f32", 4, true, true},
                                       {"f64", 8, true, true},    {"tf32", 4, true, true}}};
const Row& row(DType t) { return rows[static_cast<size_t>(t)]; }
}  // namespace

int size_of(DType t) { return row(t).size; }
std::string_view name_of(DType t) { return row(t).name; }
bool is_float(DType t) { return row(t).real; }
bool is_signed(DType t) { return row(t).sign; }

std::optional<DType> dtype_named(std::string_view name) {
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].name == name) return static_cast<DType>(i);
  }
  return std::nullopt;
}

}  // namespace burnish
