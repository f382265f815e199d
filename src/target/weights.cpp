#include "target/weights.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace burnish {

int64_t weights_bytes(const Program& p) {
  constexpr int64_t limit = int64_t{1} << 40;
  int64_t end = 0;
  for (const ProgramTensor& t : p.tensors) {
    if (t.kind != TensorKind::Constant) continue;
    check(t.offset >= 0 && t.size >= 0 && t.offset < limit && t.size < limit,
          "constant {} stands at {} with {} elements", t.name, t.offset, t.size);
    const int64_t bytes = t.size * size_of(t.dtype);
    check(t.data && static_cast<int64_t>(t.data->size()) == bytes, "constant {} has {} bytes, not {}", t.name,
          t.data ? t.data->size() : 0, bytes);
    end = std::max(end, t.offset + bytes);
  }
  return end;
}

std::vector<std::byte> weights_of(const Program& p) {
  std::vector<std::byte> all(static_cast<size_t>(weights_bytes(p)));
  for (const ProgramTensor& t : p.tensors) {
    if (t.kind == TensorKind::Constant && !t.data->empty())
      std::memcpy(all.data() + t.offset, t.data->data(), t.data->size());
  }
  return all;
}

}  // namespace burnish
