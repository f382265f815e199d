// Tiles of matrix instructions on this machine's GPU: times those of a convolution or product that
// the estimate likes best, and others.
//   bench_cuda_tiles [--precision strict|tf32|fp16|bf16] [--ways matrix,staged,warpgroups,split] [--best N]
//   [--each N] [--random N] [--seed N] [--csv FILE] [--cold] [--source] SHAPE...
// SHAPE: HEIGHTxWIDTHxCHANNELSxFILTERS, then perhaps k3 (filters of 3 x 3), s2 (strides of 2), n16
// (images), r (a residual): 28x28x128x128k3s2; or ROWSxDEPTHxCOLUMNS, a product. --ways: tiles of
// these, so many of each; --each: at most so many that differ by chunks alone. --cold: weights come
// from memory, as they do in a large model. Without a
// GPU it prints registers and estimates only; --source prints kernels instead.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
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
using cuda_target::SplitTile;

namespace {

struct Shape {
  int64_t height = 0, width = 0, in = 0, out = 0, kernel = 1, stride = 1, images = 1;
  bool residual = false, product = false;  // of width x in by in x out
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
  s.product = std::ranges::count(text, 'x') == 2;
  for (int64_t* x : {&s.height, &s.width, &s.in, &s.out}) {
    if (s.product && x == &s.height) continue;
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

Expr as(DType t, const Expr& e) { return e.dtype() == t ? e : cast(t, e); }
Expr as_f32(const Expr& e) { return as(DType::F32, e); }

StageGroup product(const Shape& s, DType storage, DType weights) {
  GroupBuilder b("product");
  const std::vector<NamedExtent> axes = {{"m", s.width}, {"n", s.out}};
  const StageId x = b.input("X", storage, {{"m", s.width}, {"k", s.in}});
  const StageId w = b.constant("W", weights, {{"k", s.in}, {"n", s.out}});
  const StageId bias = b.constant("B", DType::F32, {{"n", s.out}});
  const StageId acc = b.reduce("O.acc", DType::F32, axes, {{"k", s.in}}, Combine::Sum, [&](AxisVars a, AxisVars k) {
    return as_f32(b.at(x, {a[0], k[0]})) * as_f32(b.at(w, {k[0], a[1]}));
  });
  b.output(b.compute("O", storage, axes, [&](AxisVars a) { return as(storage, b.at(acc, {a[0], a[1]}) + b.at(bias, {a[1]})); }));
  return b.group();
}

StageGroup conv(const Shape& s, DType storage, DType weights) {
  GroupBuilder b("conv");
  const Layout nhwc = permuted({0, 2, 3, 1});
  const int64_t pad = s.kernel / 2, height = (s.height + 2 * pad - s.kernel) / s.stride + 1,
                width = (s.width + 2 * pad - s.kernel) / s.stride + 1;
  const std::vector<NamedExtent> axes = {
      {"n", s.images}, {"c", s.out}, {"y", height}, {"x", width}};
  const StageId x = b.input("X", storage,
                            {{"n", s.images}, {"c", s.in}, {"y", s.height}, {"x", s.width}}, nhwc);
  const StageId w =
      b.constant("W", weights, {{"c", s.out}, {"k", s.in}, {"ky", s.kernel}, {"kx", s.kernel}});
  const StageId bias = b.constant("B", DType::F32, {{"c", s.out}});
  const StageId r = s.residual ? b.input("R", storage, axes, nhwc) : 0;
  const StageId acc =
      b.reduce("O.acc", DType::F32, axes, {{"k", s.in}, {"ky", s.kernel}, {"kx", s.kernel}},
               Combine::Sum, [&](AxisVars a, AxisVars k) {
                 return as_f32(b.at(x,
                                    {a[0], k[0], a[2] * s.stride + k[1] - Aff(pad),
                                     a[3] * s.stride + k[2] - Aff(pad)},
                                    pad ? constant(0, storage) : Expr{})) *
                        as_f32(b.at(w, {a[1], k[0], k[1], k[2]}));
               });
  const StageId o = b.compute("O", storage, axes, [&](AxisVars a) {
    const std::vector<Index> here(a.begin(), a.end());
    Expr v = b.at(acc, here) + b.at(bias, {a[1]});
    if (s.residual) v = v + as_f32(b.at(r, here));
    return as(storage, max(v, constant(0)));
  });
  b[o].layout = nhwc;
  b.output(o);
  return b.group();
}

struct Candidate {
  std::string way;
  SplitTile split;  // of one part where it is none
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
  for (BufferId b = 0; b < f.buffers.size(); ++b) {
    if (f.buffers[b].scope != Scope::Param && f.buffers[b].scope != Scope::Shared) continue;
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
  size_t best = 24, random = 24, each = 1000;
  unsigned seed = 1;
  bool source = false, cold = false;
  std::string ways = "matrix";
  std::FILE* csv = nullptr;
  auto precision = cuda_target::Precision::Strict;
  std::string name = "strict";
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
    else if (a == "--each")
      each = std::stoul(next());
    else if (a == "--seed")
      seed = static_cast<unsigned>(std::stoul(next()));
    else if (a == "--source")
      source = true;
    else if (a == "--ways")
      ways = next();
    else if (a == "--cold")
      cold = true;
    else if (a == "--csv")
      require((csv = std::fopen(next().c_str(), "a")) != nullptr, "cannot write the table");
    else if (a == "--precision") {
      name = next();
      precision = name == "fp16"   ? cuda_target::Precision::Fp16
                  : name == "bf16" ? cuda_target::Precision::Bf16
                  : name == "tf32" ? cuda_target::Precision::Tf32
                                   : cuda_target::Precision::Strict;
    } else
      shapes.push_back(a);
  }
  cuda_target::Device device;
  if (precision != cuda_target::Precision::Strict) device.products = 1;
  device.storage = cuda_target::storage_of(precision);
  const DType weights = precision == cuda_target::Precision::Tf32 ? DType::TF32 : device.storage;
  bench::Gpu gpu;
  if (!gpu.missing().empty()) std::fprintf(stderr, "%s: no times\n", gpu.missing().c_str());
  for (const std::string& text : shapes) {
    const Shape shape = parsed(text);
    const StageGroup g = shape.product ? product(shape, device.storage, weights) : conv(shape, device.storage, weights);
    Schedule s(g);
    inline_cheap(s);
    const auto roles = roles_of(s, s.group().outputs.back());
    require(roles.has_value(), "{} is no product", text);
    std::vector<Candidate> all;
    std::mt19937 engine(seed);
    const auto add = [&](const std::string& way, const std::vector<SplitTile>& tiles) {
      std::map<std::string, size_t> taken;
      for (size_t i = 0, n = 0; i < tiles.size() && n < best; ++i) {
        const MatrixTile& t = tiles[i].tile;
        if (taken[fmt::format("{}:{}x{}:{}x{}x{}", tiles[i].parts, t.rows, t.columns, t.warps_m, t.warps_n, t.warps_k)]++ >= each) continue;
        all.push_back({.way = way, .split = tiles[i], .rank = i});
        ++n;
      }
      for (size_t i = 0; i < random && best < tiles.size(); ++i) {
        const size_t k = best + engine() % (tiles.size() - best);
        all.push_back({.way = way, .split = tiles[k], .rank = k});
      }
    };
    const auto whole = [&](const std::vector<MatrixTile>& tiles) {
      std::vector<SplitTile> out;
      for (const MatrixTile& t : tiles)
        out.push_back({1, t, cuda_target::matrix_cycles(s, *roles, t, device)});
      return out;
    };
    if (ways.find("matrix") != std::string::npos)
      add("matrix", whole(cuda_target::matrix_tiles(s, *roles, device)));
    if (ways.find("staged") != std::string::npos)
      add("staged", whole(cuda_target::staged_tiles(s, *roles, device)));
    if (ways.find("warpgroups") != std::string::npos)
      add("warpgroups", whole(cuda_target::warpgroup_tiles(s, *roles, device)));
    if (ways.find("split") != std::string::npos)
      add("split", cuda_target::split_tiles(s, *roles, device));
    parallel_for(all.size(), std::max(1u, std::thread::hardware_concurrency()), [&](size_t i) {
      Candidate& c = all[i];
      Schedule t = s;
      c.cycles = c.split.cycles;
      if (!(c.split.parts > 1 ? cuda_target::by_split(t, *roles, c.split, device)
                              : cuda_target::by_matrix(t, *roles, c.split.tile, device))) {
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
      const MatrixTile& t = c.split.tile;
      const std::string knobs = fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{}", text, name, c.way, c.split.parts, t.rows, t.columns,
                                            t.warps_m, t.warps_n, t.warps_k, t.ahead, t.staged, t.staged ? t.stages : 0, int{t.weights});
      if (!c.failure.empty()) {
        std::printf("%s,%s\n", knobs.c_str(), c.failure.c_str());
        continue;
      }
      std::vector<std::string> cubins;
      for (size_t k = 0; k < c.kernels.size(); ++k) cubins.push_back(c.code.images[k].bytes);
      const double us =
          gpu.missing().empty() ? gpu.microseconds(c.kernels, cubins, c.arguments, c.bytes) : 0;
      const std::string line =
          fmt::format("{},{},{},{},{},{},{},{:.0f},{:.3f}", knobs, c.kernels[0].blocks,
                      c.kernels[0].threads, c.kernels[0].block_bytes, c.code.registers[0],
                      c.code.spill_bytes[0], c.rank, c.cycles, us);
      lines.emplace_back(us, line);
      if (csv) std::fprintf(csv, "%s\n", line.c_str());
    }
    if (lines.empty()) continue;
    std::printf("shape,precision,way,parts,rows,columns,warps_m,warps_n,warps_k,ahead,staged,stages,weights,"
                "blocks,threads,block_bytes,registers,spill_bytes,rank,cycles,us\n");
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
