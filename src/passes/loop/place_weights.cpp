// Gives constants their offsets in the weights section, in the order in which steps read them first, so that a run
// walks through the file once.
#include "passes/loop/passes.h"

namespace burnish {

namespace {

constexpr int64_t alignment = 64;

}  // namespace

Program place_weights(const Program& p, const Context&) {
  Program out = p;
  std::vector<bool> placed(out.tensors.size(), false);
  int64_t at = 0;
  auto place = [&](uint32_t t) {
    ProgramTensor& tensor = out.tensors[t];
    if (tensor.kind != TensorKind::Constant || placed[t]) return;
    placed[t] = true;
    tensor.offset = at;
    at += (tensor.size * size_of(tensor.dtype) + alignment - 1) / alignment * alignment;
  };
  for (const Step& s : out.steps) {
    for (uint32_t t : s.args) place(t);
  }
  for (uint32_t t = 0; t < out.tensors.size(); ++t) place(t);
  return out;
}

}  // namespace burnish
