#include "model.h"

#include <cstring>
#include <utility>

namespace burnish::runtime {

std::shared_ptr<const Model> Model::load(File file, const std::string& path,
                                         burnish_weights weights) {
  // Weights stream through once a run: 2 MB pages save the TLB misses of the library's 4 KB pages.
  constexpr std::uint64_t worth_a_copy = 1 << 20;
  const bool wanted = weights != BURNISH_WEIGHTS_DIRECT;
  auto out = std::make_shared<Model>();
  Checked checked = check_artifact(file, path, wanted ? worth_a_copy : ~std::uint64_t{0});
  out->metadata_ = std::move(checked.metadata);
  out->library_ = Library(file, out->metadata_, path);
  const burnish_entry& e = out->entry();
  out->weights_ = e.weights;
  if (out->metadata_.device) return out;  // their copies are in GPUs
  const bool aligned = reinterpret_cast<std::uintptr_t>(e.weights) % 64 == 0;
  const bool copy = weights == BURNISH_WEIGHTS_COPY ||
                    (weights == BURNISH_WEIGHTS_AUTO && e.weights_bytes >= worth_a_copy) ||
                    !aligned;
  if (!copy || e.weights_bytes == 0) return out;
  const std::uint64_t address = out->library_.address_in_file(e.weights);
  if (const std::byte* made = checked.copy.find(address, e.weights_bytes); made && aligned) {
    out->copy_ = std::move(checked.copy.memory);
    out->weights_ = made;
  } else {
    out->copy_ = Buffer(e.weights_bytes, "the weights");
    std::memcpy(out->copy_.data(), e.weights, e.weights_bytes);
    out->weights_ = out->copy_.data();
  }
  out->copy_.make_read_only();
  return out;
}

std::shared_ptr<const cuda::Program> Model::on_gpu(int ordinal) const {
  const std::lock_guard lock(loading_);
  std::shared_ptr<const cuda::Program>& program = on_gpus_[ordinal];
  if (!program) {
    program = std::make_shared<cuda::Program>(
        *metadata_.device,
        std::span(static_cast<const std::byte*>(weights_), metadata_.weights_bytes), ordinal);
  }
  return program;
}

}  // namespace burnish::runtime
