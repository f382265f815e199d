#include "device_metadata.h"

#include "fields.h"
#include "metadata.h"
#include "parse_device.h"

#include <burnish/artifact_format.h>

#include <cstring>
#include <string_view>

namespace burnish::runtime {

namespace {

constexpr std::uint64_t max_blocks = INT32_MAX, max_threads = 1024, max_block_bytes = 1 << 20,
                        max_cluster = 1024;
constexpr std::size_t max_args = 512;  // a kernel's parameters have 4096 bytes

std::string numbered(const char* list, std::size_t index) {
  return std::string("\"device\": \"") + list + "\" number " + std::to_string(index) + ": ";
}

const Json& object(const Json& json, const std::string& where) {
  if (!json.is_object()) damaged(where + "it is not an object");
  return json;
}

// "sm_90": 9.0; "sm_100f", of a family, counts as sm_100.
void parse_arch(DeviceImage& image, const std::string& where) {
  std::string_view digits = image.arch;
  const bool known = digits.starts_with("sm_");
  if (known) digits.remove_prefix(3);
  if (digits.ends_with('a')) image.this_one_only = true;
  if (digits.ends_with('a') || digits.ends_with('f')) digits.remove_suffix(1);
  int number = 0;
  for (const char c : digits)
    number = c >= '0' && c <= '9' && number >= 0 && number < 1000 ? 10 * number + c - '0' : -1;
  if (!known || digits.size() < 2 || number < 10) {
    damaged(where + "\"arch\" is \"" + image.arch.substr(0, 100) + "\", not of the form sm_90");
  }
  image.major = number / 10;
  image.minor = number % 10;
}

DeviceImage parse_image(const Json& json, const std::string& where, std::uint64_t section) {
  object(json, where);
  DeviceImage out;
  out.arch = Field(json, "arch", where).text();
  parse_arch(out, where);
  const std::string form = Field(json, "form", where).text();
  if (form != "cubin" && form != "ptx") {
    fail(BURNISH_ERROR_UNSUPPORTED,
         "has code for GPUs in the form \"%.100s\", which this runtime does not know; use a newer "
         "runtime",
         form.c_str());
  }
  out.ptx = form == "ptx";
  const Field offset(json, "offset", where);
  out.offset = offset.count(section);
  if (out.offset % 64 != 0) damaged(offset.name() + " is no multiple of 64");
  out.bytes = Field(json, "bytes", where).count(section - out.offset);
  if (out.bytes == 0) damaged(where + "it is empty");
  return out;
}

DeviceKernel parse_kernel(const Json& json, const std::string& where) {
  object(json, where);
  DeviceKernel out;
  out.name = Field(json, "name", where).text();
  if (out.name.empty()) damaged(where + "its name is empty");
  const Field threads(json, "threads", where);
  out.threads = static_cast<std::uint32_t>(threads.count(max_threads));
  if (out.threads == 0) damaged(threads.name() + " is 0");
  out.block_bytes =
      static_cast<std::uint32_t>(Field(json, "block_bytes", where).count(max_block_bytes));
  if (const Field cluster(json, "cluster", where); cluster.present()) {
    out.cluster = static_cast<std::uint32_t>(cluster.count(max_cluster));
    if (out.cluster == 0) damaged(cluster.name() + " is 0");
  }
  return out;
}

class LaunchParser {
 public:
  LaunchParser(const Metadata& model, const DeviceSpec& device) : device_(device) {
    sizes_ = {device.weights_bytes, model.arena_bytes};
    for (const TensorSpec& t : model.inputs) sizes_.push_back(t.bytes);
    for (const TensorSpec& t : model.outputs) sizes_.push_back(t.bytes);
    steps_ = model.steps.size();
  }

  DeviceLaunch operator()(const Json& json, const std::string& where) {
    object(json, where);
    DeviceLaunch out;
    out.step = below(Field(json, "step", where), steps_);
    if (out.step < last_step_)
      damaged(where + "its step comes before that of the launch before it");
    last_step_ = out.step;
    out.kernel = below(Field(json, "kernel", where), device_.kernels.size());
    const Field blocks(json, "blocks", where);
    out.blocks = static_cast<std::uint32_t>(blocks.count(max_blocks));
    if (out.blocks == 0) damaged(blocks.name() + " is 0");
    if (const Field f(json, "dependent", where); f.present()) out.dependent = f.truth();
    const Field args(json, "args", where);
    if (args.array().size() > max_args) damaged(args.name() + " has more than 512 elements");
    for (const Json& arg : args.array()) out.args.push_back(argument(arg, args.name()));
    return out;
  }

 private:
  static std::uint32_t below(const Field& field, std::size_t count) {
    const std::uint64_t n = field.count(UINT32_MAX);
    if (n >= count) {
      damaged(field.name() + " is " + std::to_string(n) + ", there are " + std::to_string(count));
    }
    return static_cast<std::uint32_t>(n);
  }

  DeviceArgument argument(const Json& json, const std::string& where) const {
    if (!json.is_array() || json.size() != 2 || !json[0].is_number_integer() ||
        !json[1].is_number_unsigned()) {
      damaged(where + " has an element that is no pair of a memory and an offset");
    }
    const auto place = json[0].is_number_unsigned() && json[0].get<std::uint64_t>() > INT32_MAX
                           ? std::int64_t{INT32_MAX}
                           : json[0].get<std::int64_t>();
    constexpr std::int64_t first = DeviceArgument::weights;
    if (place < first || place - first >= static_cast<std::int64_t>(sizes_.size())) {
      damaged(where + " names a memory that there is not, " + std::to_string(place));
    }
    const auto offset = json[1].get<std::uint64_t>(),
               size = sizes_[static_cast<std::size_t>(place - first)];
    if (offset > size) {
      damaged(where + " points to byte " + std::to_string(offset) + " of a memory of " +
              std::to_string(size));
    }
    return {static_cast<std::int32_t>(place), offset};
  }

  const DeviceSpec& device_;
  std::vector<std::uint64_t> sizes_;  // of the memories, from that of the lowest place on
  std::size_t steps_;
  std::uint32_t last_step_ = 0;
};

template <class Out, class Parse>
void parse_list(const Json& device, const char* key, std::vector<Out>& out, Parse parse) {
  const Field list(device, key, "\"device\": ");
  out.reserve(list.array().size());
  for (const Json& item : list.array()) out.push_back(parse(item, numbered(key, out.size())));
}

// An ELF file whose tables and sections lie within these bytes.
bool is_whole_elf(std::span<const std::byte> image) {
  using artifact::detail::inside, artifact::detail::read_at;
  struct Section {
    std::uint32_t name, type;
    std::uint64_t flags, addr, offset, size;
    std::uint32_t link, info;
    std::uint64_t align, entsize;
  };
  static_assert(sizeof(Section) == 64);
  constexpr std::uint32_t no_bits = 8;
  const std::uint64_t whole = image.size();
  if (whole < sizeof(artifact::ElfHeader)) return false;
  const auto h = read_at<artifact::ElfHeader>(image, 0);
  if (std::memcmp(h.ident,
                  "\x7f"
                  "ELF\2\1",
                  6) != 0 ||
      h.shentsize != sizeof(Section))
    return false;
  if (h.phnum != 0 && h.phentsize != sizeof(artifact::ProgramHeader)) return false;
  if (!inside(h.phoff, std::uint64_t{h.phnum} * h.phentsize, whole)) return false;
  // Of 65280 sections and more the number stands elsewhere.
  if (h.shnum == 0 || !inside(h.shoff, std::uint64_t{h.shnum} * h.shentsize, whole)) return false;
  for (std::uint64_t i = 0; i < h.phnum; ++i) {
    const auto p = read_at<artifact::ProgramHeader>(image, h.phoff + i * h.phentsize);
    if (!inside(p.offset, p.filesz, whole)) return false;
  }
  for (std::uint64_t i = 0; i < h.shnum; ++i) {
    const auto s = read_at<Section>(image, h.shoff + i * h.shentsize);
    if (s.type != no_bits && !inside(s.offset, s.size, whole)) return false;
  }
  return true;
}

}  // namespace

DeviceSpec parse_device(const Json& json, const Metadata& model) {
  if (const std::string kind = Field(json, "kind", "\"device\": ").text(); kind != "cuda") {
    fail(BURNISH_ERROR_UNSUPPORTED,
         "is for a device of the kind \"%.100s\", which this runtime does not know; use a newer "
         "runtime",
         kind.c_str());
  }
  DeviceSpec out;
  out.weights_bytes = Field(json, "weights_bytes", "\"device\": ").count(model.weights_bytes);
  parse_list(json, "images", out.images, [&](const Json& image, const std::string& where) {
    return parse_image(image, where, model.weights_bytes);
  });
  parse_list(json, "kernels", out.kernels, parse_kernel);
  parse_list(json, "launches", out.launches, LaunchParser(model, out));
  return out;
}

std::string check_images(const DeviceSpec& device, std::span<const std::byte> weights) {
  for (std::size_t i = 0; i < device.images.size(); ++i) {
    const DeviceImage& image = device.images[i];
    const auto bytes = weights.subspan(image.offset, image.bytes);
    if (image.ptx ? bytes.back() != std::byte{0} : !is_whole_elf(bytes)) {
      return "has a damaged image number " + std::to_string(i) + " (" + image.arch +
             (image.ptx ? ", PTX without an end" : ", cubin") + "); compile the model anew";
    }
  }
  return "";
}

}  // namespace burnish::runtime
