// Tiles of matrix instructions on this machine's GPU: times those of a convolution that the
// estimate likes best, and others.
//   bench_cuda_tiles [--precision strict|tf32] [--best N] [--random N] [--seed N] [--csv FILE]
//   [--staged] [--cold] [--source] SHAPE...
// SHAPE: HEIGHTxWIDTHxCHANNELSxFILTERS, then perhaps k3 (filters of 3 x 3), s2 (strides of 2), n16
// (images), r (a residual): 28x28x128x128k3s2. --staged: tiles whose data
// passes through the block's memory. --cold: weights come from memory, as they do in a large model. Without a GPU it prints registers and estimates only; --source prints kernels
// instead.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include "base/error.h"
#include "base/parallel.h"
#include "base/text.h"
#include "gpu.h"
#include "target/cuda/images.h"
#include "target/cuda/tiles.h"
#include "te/builder.h"

using namespace burnish;
using cuda_target::MatrixTile;

namespace {

struct Shape {
  int64_t height = 0, width = 0, in = 0, out = 0, kernel = 1, stride = 1, images = 1;
  bool residual = false;
};

Shape parsed(const std::string& text) {
  Shape s;
  const char* p = text.c_str();
  const auto number = [&] {
    char* end = nullptr;
    const int64_t n = std::strtol(p, &end, 10);
    require(end != p && n > 0 && n < 100000, "{} is no shape: write 28x28x128x128k3", text);
    p = end;
    return n;
  };
  for (int64_t* x : {&s.height, &s.width, &s.in, &s.out}) {
    *x = number();
    if (*p == 'x') ++p;
  }
  while (*p) {
    const char c = *p++;
    if (c == 'r') {
      s.residual = true;
      continue;
    }
    require(c == 'k' || c == 's' || c == 'n', "{} is no shape: '{}'", text, c);
    (c == 'k' ? s.kernel : c == 's' ? s.stride : s.images) = number();
  }
  return s;
}

StageGroup conv(const Shape& s) {
  GroupBuilder b("conv");
  const Layout nhwc = permuted({0, 2, 3, 1});
  const int64_t pad = s.kernel / 2, height = (s.height + 2 * pad - s.kernel) / s.stride + 1,
                width = (s.width + 2 * pad - s.kernel) / s.stride + 1;
  const std::vector<NamedExtent> axes = {
      {"n", s.images}, {"c", s.out}, {"y", height}, {"x", width}};
  const StageId x = b.input("X", DType::F32,
                            {{"n", s.images}, {"c", s.in}, {"y", s.height}, {"x", s.width}}, nhwc);
  const StageId w =
      b.constant("W", DType::F32, {{"c", s.out}, {"k", s.in}, {"ky", s.kernel}, {"kx", s.kernel}});
  const StageId bias = b.constant("B", DType::F32, {{"c", s.out}});
  const StageId r = s.residual ? b.input("R", DType::F32, axes, nhwc) : 0;
  const StageId acc =
      b.reduce("O.acc", DType::F32, axes, {{"k", s.in}, {"ky", s.kernel}, {"kx", s.kernel}},
               Combine::Sum, [&](AxisVars a, AxisVars k) {
                 return b.at(x,
                             {a[0], k[0], a[2] * s.stride + k[1] - Aff(pad),
                              a[3] * s.stride + k[2] - Aff(pad)},
                             pad ? constant(0) : Expr{}) *
                        b.at(w, {a[1], k[0], k[1], k[2]});
               });
  const StageId o = b.compute("O", DType::F32, axes, [&](AxisVars a) {
    const std::vector<Index> here(a.begin(), a.end());
    Expr v = b.at(acc, here) + b.at(bias, {a[1]});
    if (s.residual) v = v + b.at(r, here);
    return max(v, constant(0));
  });
  b[o].layout = nhwc;
  b.output(o);
  return b.group();
}

struct Candidate {
  MatrixTile tile;
  size_t rank = 0;
  double cycles = 0;
  std::vector<c_like::Kernel> kernels;
  std::vector<std::vector<bench::Gpu::Argument>> arguments;
  size_t bytes = 0;
  cuda_target::Code code;
  std::string failure;
};

// The places of a function's arguments one behind the other; `cold`: weights are others every run.
void place_arguments(Candidate& c, const Function& f, const StageGroup& g, bool cold) {
  std::vector<bench::Gpu::Argument> places(f.buffers.size());
  for (const BufferId b : f.params) {
    constexpr size_t align = 256;
    const size_t bytes =
        (static_cast<size_t>(f.buffers[b].size * size_of(f.buffers[b].dtype)) + align - 1) / align *
        align;
    const auto stage = g.named(f.buffers[b].name);
    const bool moves = cold && stage && g[*stage].kind == StageKind::Constant;
    places[b].offset = c.bytes;
    places[b].moves = moves ? bytes : 0;
    c.bytes += moves ? bytes * bench::Gpu::runs : bytes;
  }
  for (const c_like::Kernel& k : c.kernels) {
    auto& args = c.arguments.emplace_back();
    for (const BufferId b : k.args) args.push_back(places[b]);
  }
}

}  // namespace

int main(int argc, char** argv) try {
  size_t best = 24, random = 24;
  unsigned seed = 1;
  bool source = false, cold = false, staged = false;
  std::FILE* csv = nullptr;
  auto precision = cuda_target::Precision::Strict;
  std::vector<std::string> shapes;
  for (int i = 1; i < argc; ++i) {
    const std::string a = argv[i];
    const auto next = [&]() -> std::string {
      require(i + 1 < argc, "{} needs a value", a);
      return argv[++i];
    };
    if (a == "--best")
      best = std::stoul(next());
    else if (a == "--random")
      random = std::stoul(next());
    else if (a == "--seed")
      seed = static_cast<unsigned>(std::stoul(next()));
    else if (a == "--source")
      source = true;
    else if (a == "--staged")
      staged = true;
    else if (a == "--cold")
      cold = true;
    else if (a == "--csv")
      require((csv = std::fopen(next().c_str(), "a")) != nullptr, "cannot write the table");
    else if (a == "--precision")
      precision = next() == "tf32" ? cuda_target::Precision::Tf32 : cuda_target::Precision::Strict;
    else
      shapes.push_back(a);
  }
  cuda_target::Device device;
  if (precision != cuda_target::Precision::Strict) device.products = 1;
  const char* name = precision == cuda_target::Precision::Strict ? "strict" : "tf32";
  bench::Gpu gpu;
  if (!gpu.missing().empty()) std::fprintf(stderr, "%s: no times\n", gpu.missing().c_str());
  for (const std::string& text : shapes) {
    const StageGroup g = conv(parsed(text));
    Schedule s(g);
    inline_cheap(s);
    const auto roles = roles_of(s, s.group().outputs.back());
    require(roles.has_value(), "{} is no product", text);
    std::vector<Candidate> all;
    const std::vector<MatrixTile> tiles = staged ? cuda_target::staged_tiles(s, *roles, device)
                                                 : cuda_target::matrix_tiles(s, *roles, device);
    std::mt19937 engine(seed);
    for (size_t i = 0; i < std::min(best, tiles.size()); ++i)
      all.push_back({.tile = tiles[i], .rank = i});
    for (size_t i = 0; i < random && best < tiles.size(); ++i) {
      const size_t k = best + engine() % (tiles.size() - best);
      all.push_back({.tile = tiles[k], .rank = k});
    }
    parallel_for(all.size(), std::max(1u, std::thread::hardware_concurrency()), [&](size_t i) {
      Candidate& c = all[i];
      Schedule t = s;
      c.cycles = cuda_target::matrix_cycles(s, *roles, c.tile, device);
      if (!cuda_target::by_matrix(t, *roles, c.tile, device)) {
        c.failure = "does not lower";
        return;
      }
      const Function f = *lower(t);
      c.kernels = c_like::kernels_of(f, cuda_target::dialect(precision));
      place_arguments(c, f, t.group(), cold);
    });
    if (source) {
      for (const Candidate& c : all)
        if (c.failure.empty()) std::puts(cuda_target::source_of(c.kernels).c_str());
      continue;
    }
    parallel_for(all.size(), std::max(1u, std::thread::hardware_concurrency()), [&](size_t i) {
      const std::vector<std::string> arch = {"sm_90"};
      if (all[i].failure.empty())
        all[i].code = cuda_target::compile_kernels(all[i].kernels, arch, precision);
    });
    std::vector<std::pair<double, std::string>> lines;
    for (const Candidate& c : all) {
      const MatrixTile& t = c.tile;
      if (!c.failure.empty()) {
        std::printf("%s %s %ld %ld %ld %ld %ld %ld %ld %s\n", text.c_str(), name, t.rows, t.columns,
                    t.warps_m, t.warps_n, t.warps_k, t.ahead, t.staged, c.failure.c_str());
        continue;
      }
      std::vector<std::string> cubins;
      for (size_t k = 0; k < c.kernels.size(); ++k) cubins.push_back(c.code.images[k].bytes);
      const double us =
          gpu.missing().empty() ? gpu.microseconds(c.kernels, cubins, c.arguments, c.bytes) : 0;
      const std::string line =
          fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{:.0f},{:.3f}", text, name, t.rows,
                      t.columns, t.warps_m, t.warps_n, t.warps_k, t.ahead, t.staged, c.kernels[0].blocks,
                      c.kernels[0].threads, c.kernels[0].block_bytes, c.code.registers[0],
                      c.code.spill_bytes[0], c.rank, c.cycles, us);
      lines.emplace_back(us, line);
      if (csv) std::fprintf(csv, "%s\n", line.c_str());
    }
    if (lines.empty()) continue;
    std::printf("shape,precision,rows,columns,warps_m,warps_n,warps_k,ahead,staged,blocks,threads,block_"
                "bytes,registers,spill_bytes,rank,cycles,us\n");
    std::printf("%s  <- the estimate's choice\n", lines.front().second.c_str());
    std::ranges::sort(lines);
    for (size_t i = 0; i < std::min<size_t>(lines.size(), gpu.missing().empty() ? 6 : lines.size());
         ++i)
      std::printf("%s\n", lines[i].second.c_str());
    std::fflush(stdout);
    if (csv) std::fflush(csv);
  }
  if (csv) std::fclose(csv);
  return 0;
} catch (const Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
