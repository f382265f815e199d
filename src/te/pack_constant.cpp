#include "te/pack_constant.h"

#include <cstring>

namespace burnish {

namespace {

// Copies elements of `Bytes` bytes. A layout's dimensions each depend on one axis, so the position is a sum of one
// term an axis, looked up in a table.
template <size_t Bytes>
void scatter(const Tensor& t, const std::vector<std::vector<int64_t>>& place, std::byte* out) {
  const size_t rank = t.shape.size();
  std::vector<int64_t> at(rank, 0);
  const int64_t row = rank == 0 ? 1 : t.shape[rank - 1];
  const std::byte* in = t.bytes.data();
  for (int64_t done = 0; done < t.size(); done += row) {
    int64_t base = 0;
    for (size_t a = 0; a + 1 < rank; ++a) base += place[a][static_cast<size_t>(at[a])];
    for (int64_t i = 0; i < row; ++i, in += Bytes) {
      const int64_t inner = rank == 0 ? 0 : place[rank - 1][static_cast<size_t>(i)];
      std::memcpy(out + static_cast<size_t>(base + inner) * Bytes, in, Bytes);
    }
    for (size_t a = rank - (rank > 0); a-- > 0;) {
      if (++at[a] < t.shape[a]) break;
      at[a] = 0;
    }
  }
}

}  // namespace

std::shared_ptr<const std::vector<std::byte>> pack_constant(const Tensor& t, const Layout& layout) {
  if (layout.empty()) return std::make_shared<const std::vector<std::byte>>(t.bytes);
  const size_t bytes = static_cast<size_t>(size_of(t.dtype));
  auto out = std::make_shared<std::vector<std::byte>>(
      static_cast<size_t>(physical_size(layout, t.shape)) * bytes);
  std::vector<std::vector<int64_t>> place(t.shape.size());
  for (size_t a = 0; a < place.size(); ++a) place[a].assign(static_cast<size_t>(t.shape[a]), 0);
  for (const PhysicalDim& d : physical(layout, t.shape)) {
    std::vector<int64_t>& of_axis = place[d.dim.axis];
    for (size_t i = 0; i < of_axis.size(); ++i) {
      int64_t index = static_cast<int64_t>(i) / d.dim.div;
      if (d.dim.mod != 0) index %= d.dim.mod;
      of_axis[i] += index * d.stride;
    }
  }
  if (t.size() == 0) return out;
  switch (bytes) {
    case 1: scatter<1>(t, place, out->data()); break;
    case 2: scatter<2>(t, place, out->data()); break;
    case 4: scatter<4>(t, place, out->data()); break;
    default: scatter<8>(t, place, out->data()); break;
  }
  return out;
}

}  // namespace burnish
