#include "program.h"

#include "../failure.h"

#include <algorithm>
#include <tuple>

namespace burnish::runtime::cuda {

namespace {

constexpr std::uint32_t largest_everywhere = 8;  // clusters that every GPU with any can start

// Cubins run on GPUs of their major number from their minor one on; PTX on all from there on.
bool runs(const DeviceImage& image, int major, int minor) {
  if (image.this_one_only) return image.major == major && image.minor == minor;
  if (image.ptx) return std::tie(image.major, image.minor) <= std::tie(major, minor);
  return image.major == major && image.minor <= minor;
}

// Greater is better.
auto rank(const DeviceImage& image) {
  return std::tuple(!image.ptx, image.major, image.minor, image.this_one_only);
}

std::string architectures(const DeviceSpec& device) {
  std::vector<std::string> all;
  for (const DeviceImage& image : device.images) {
    std::string text = image.arch + (image.ptx ? " (PTX)" : "");
    if (std::find(all.begin(), all.end(), text) == all.end()) all.push_back(std::move(text));
  }
  std::string out;
  for (const std::string& text : all) out += (out.empty() ? "" : ", ") + text;
  return out.empty() ? "none" : out;
}

OwnedModule load(Context& context, const DeviceImage& image, const void* bytes) {
  char log[1000] = "";
  int keys[] = {jit_error_log, jit_error_log_bytes};
  void* values[] = {log, reinterpret_cast<void*>(sizeof log)};
  Module module = nullptr;
  const Result result = context.driver().module_load(&module, bytes, 2, keys, values);
  log[sizeof log - 1] = '\0';
  const std::string doing = "loading the code for " + image.arch + (image.ptx ? " (PTX)" : "") +
                            (log[0] != '\0' ? std::string(" (") + log + ")" : "");
  context.check(result, doing.c_str());
  return {context, module};
}

}  // namespace

std::vector<const DeviceImage*> images_for(const DeviceSpec& device, int major, int minor) {
  std::vector<const DeviceImage*> best;
  for (const DeviceImage& image : device.images) {
    if (!runs(image, major, minor)) continue;
    if (!best.empty() && rank(image) > rank(*best[0])) best.clear();
    if (best.empty() || rank(image) == rank(*best[0])) best.push_back(&image);
  }
  return best;
}

Program::Program(const DeviceSpec& device, std::span<const std::byte> weights, int ordinal)
    : context_(Context::of(ordinal)) {
  const Current current(context_);
  const auto images = images_for(device, context_.major(), context_.minor());
  if (images.empty() && !device.kernels.empty()) {
    fail(BURNISH_ERROR_UNSUPPORTED,
         "the model has no code for %s: it holds %s; compile it with --target cuda:sm_%d%d",
         context_.name().c_str(), architectures(device).c_str(), context_.major(),
         context_.minor());
  }
  for (const DeviceImage* image : images) {
    modules_.push_back(load(context_, *image, weights.data() + image->offset));
  }
  find_kernels(device);
  weights_ = DeviceBuffer(context_, device.weights_bytes, "the weights");
  if (device.weights_bytes != 0) {
    context_.check(
        context_.driver().copy_to_device(weights_.address(), weights.data(), device.weights_bytes),
        "copying the weights");
    // The call may return when the bytes are in a buffer on their way.
    context_.check(context_.driver().stream_synchronize(nullptr), "copying the weights");
  }
}

// Only some GPUs have room for so many blocks that meet, and must be asked for it.
void Program::allow_clusters(const DeviceKernel& kernel, Function function) {
  const Driver& driver = context_.driver();
  const LaunchConfig config{
      .grid_x = kernel.cluster, .block_x = kernel.threads, .block_bytes = kernel.block_bytes};
  int clusters = 0;
  if (driver.function_set(function, function_large_clusters, 1) == success &&
      driver.clusters_at_once(&clusters, function, &config) == success && clusters > 0)
    return;
  fail(BURNISH_ERROR_UNSUPPORTED,
       "kernel \"%.200s\" needs clusters of %u blocks, which %s cannot start; compile the model "
       "with --target cuda:sm_%d%d",
       kernel.name.c_str(), kernel.cluster, context_.name().c_str(), context_.major(),
       context_.minor());
}

// A kernel is in one of the modules, most likely behind that of the kernel before it.
void Program::find_kernels(const DeviceSpec& device) {
  const Driver& driver = context_.driver();
  std::size_t at = 0;
  for (const DeviceKernel& kernel : device.kernels) {
    Function function = nullptr;
    for (std::size_t tried = 0; !function && tried < modules_.size(); ++tried) {
      const Result result =
          driver.module_function(&function, modules_[at].get(), kernel.name.c_str());
      if (result != not_found) context_.check(result, "looking for a kernel");
      if (result != success) {
        function = nullptr;
        at = (at + 1) % modules_.size();
      }
    }
    if (!function) {
      fail(BURNISH_ERROR_USER, "the model's code has no kernel \"%.200s\"; compile it anew",
           kernel.name.c_str());
    }
    if (kernel.block_bytes > context_.most_block_bytes()) {
      fail(BURNISH_ERROR_UNSUPPORTED,
           "kernel \"%.200s\" needs %u bytes of memory a block, %s has %u; compile the model with "
           "--target cuda:sm_%d%d",
           kernel.name.c_str(), kernel.block_bytes, context_.name().c_str(),
           context_.most_block_bytes(), context_.major(), context_.minor());
    }
    constexpr std::uint32_t without_asking = 48 << 10;
    if (kernel.block_bytes > without_asking) {
      const std::string doing = "giving kernel \"" + kernel.name + "\" its memory";
      context_.check(
          driver.function_set(function, function_block_bytes, static_cast<int>(kernel.block_bytes)),
          doing.c_str());
    }
    if (kernel.cluster > largest_everywhere) allow_clusters(kernel, function);
    kernels_.push_back(function);
  }
}

}  // namespace burnish::runtime::cuda
