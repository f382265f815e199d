#include "model.h"

#include <cstring>

namespace burnish::runtime {

std::shared_ptr<const Model> Model::load(File file, const std::string& path,
                                         burnish_weights weights) {
  auto out = std::make_shared<Model>();
  out->metadata_ = check_artifact(file, path);
  out->library_ = Library(file, out->metadata_, path);
  const burnish_entry& e = out->entry();
  out->weights_ = e.weights;
  // Weights stream through once a run: 2 MB pages save the TLB misses of the library's 4 KB pages.
  constexpr std::uint64_t worth_a_copy = 1 << 20;
  const bool aligned = reinterpret_cast<std::uintptr_t>(e.weights) % 64 == 0;
  const bool copy = weights == BURNISH_WEIGHTS_COPY ||
                    (weights == BURNISH_WEIGHTS_AUTO && e.weights_bytes >= worth_a_copy) ||
                    !aligned;
  if (copy && e.weights_bytes != 0) {
    out->copy_ = Buffer(e.weights_bytes, "the weights");
    std::memcpy(out->copy_.data(), e.weights, e.weights_bytes);
    out->copy_.make_read_only();
    out->weights_ = out->copy_.data();
  }
  return out;
}

}  // namespace burnish::runtime
