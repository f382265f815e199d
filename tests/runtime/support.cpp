#include "support.h"

#include <burnish/artifact_format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace burnish::test {

namespace {

#if defined(__x86_64__)
constexpr const char* triple = "x86_64-linux-gnu";
#else
constexpr const char* triple = "aarch64-linux-gnu";
#endif
// Notes are padded to this, so that tests can write other metadata in place.
constexpr std::size_t metadata_at_least = 2048;

burnish_tensor tensor(void* data, std::uint64_t bytes, burnish_dtype dtype) {
  return {.data = data, .bytes = bytes, .dtype = dtype, .rank = 0, .shape = nullptr};
}

}  // namespace

std::string metadata_head() {
  return std::string(R"({"abi":1,"compiler":"burnish 0.1.0","triple":")") + triple +
         R"(","cpu":"test","features":[],"target":"llvm:cpu=test","threads":2,"weights_hash":"0",)";
}

std::string affine_metadata() {
  return metadata_head() +
         R"("inputs":[{"name":"x","dtype":"f32","shape":[2,3]},{"name":"k","dtype":"f64","shape":[]}],)"
         R"("outputs":[{"name":"y","dtype":"f32","shape":[2,3]}],)"
         R"("arena_bytes":0,"scratch_bytes":0,"weights_bytes":24,"macs":6,)"
         R"("steps":[{"name":"affine","source":["mul","add"],"macs":6,"bytes":80,"schedule":"split i"}]})";
}

std::string rounds_metadata() {
  return metadata_head() +
         R"("inputs":[{"name":"x","dtype":"u32","shape":[997]}],"outputs":[{"name":"y","dtype":"u32","shape":[997]}],)"
         R"("arena_bytes":7976,"scratch_bytes":64,"weights_bytes":0,"macs":0,)"
         R"("steps":[{"name":"copy","source":[]},{"name":"rounds","source":["r"]}]})";
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  if (at == text.npos) throw std::logic_error("no \"" + from + "\" in \"" + text + "\"");
  return text.replace(at, from.size(), to);
}

Bytes compile_model(const std::string& name, const std::string& metadata,
                    const std::string& flags) {
  const TempDir dir;
  const std::size_t metadata_capacity = std::max(metadata_at_least, metadata.size() / 4 * 4 + 256);
  std::ofstream inc(dir.path("metadata.inc"));
  for (const char c : metadata) inc << static_cast<int>(static_cast<unsigned char>(c)) << ',';
  for (std::size_t i = metadata.size(); i < metadata_capacity; ++i) inc << "32,";
  inc.close();
  const std::string models = BURNISH_TEST_DATA "/models";
  const std::string command =
      std::string(BURNISH_TEST_CC) + " -O2 -std=gnu11 -shared -fPIC -nostdlib -ffreestanding" +
      " -fno-tree-loop-distribute-patterns -fvisibility=hidden -fno-asynchronous-unwind-tables" +
      " -DMETADATA_BYTES=" + std::to_string(metadata_capacity) + " -I" + dir.path("") + " -I" +
      models + " -I" BURNISH_SOURCE_DIR "/include " + flags + " " + models + "/" + name + ".c -o " +
      dir.path("model.so");
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
  Bytes library = read_file(dir.path("model.so"));
  stamp(library);
  return library;
}

Bytes affine() { return compile_model("affine", affine_metadata()); }

Bytes rounds() { return compile_model("rounds", rounds_metadata()); }

void stamp(Bytes& library) {
  if (const char* error = artifact::stamp_checksum(library)) throw std::runtime_error(error);
}

Bytes with_metadata(Bytes library, const std::string& metadata) {
  const artifact::Layout layout = artifact::read_layout(library);
  if (layout.error || metadata.size() > layout.metadata.size)
    throw std::logic_error("metadata does not fit");
  std::memset(library.data() + layout.metadata.offset, ' ', layout.metadata.size);
  std::memcpy(library.data() + layout.metadata.offset, metadata.data(), metadata.size());
  stamp(library);
  return library;
}

TempDir::TempDir() {
  std::string name = std::filesystem::temp_directory_path() / "burnish-test-XXXXXX";
  if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder");
  path_ = name;
}

TempDir::~TempDir() { std::filesystem::remove_all(path_); }

void write_file(const std::string& path, std::span<const std::byte> bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  if (!out) throw std::runtime_error("cannot write " + path);
}

Bytes read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  Bytes bytes(std::filesystem::file_size(path));
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!in) throw std::runtime_error("cannot read " + path);
  return bytes;
}

ModelHandle load(std::span<const std::byte> library) {
  burnish_model* model = nullptr;
  EXPECT_EQ(burnish_model_load_memory(library.data(), library.size(), nullptr, &model), BURNISH_OK)
      << burnish_last_error();
  return ModelHandle(model);
}

SessionHandle new_session(const ModelHandle& model, std::uint32_t threads, burnish_pool* pool,
                          std::int32_t spin_us, bool pin) {
  const burnish_session_options options = {.struct_size = sizeof options,
                                           .threads = threads,
                                           .spin_us = spin_us,
                                           .pin = pin,
                                           .pool = pool};
  burnish_session* session = nullptr;
  EXPECT_EQ(burnish_session_create(model.get(), &options, &session), BURNISH_OK)
      << burnish_last_error();
  return SessionHandle(session);
}

PoolHandle new_pool(std::uint32_t threads) {
  const burnish_pool_options options = {
      .struct_size = sizeof options, .threads = threads, .spin_us = 0, .pin = 0};
  burnish_pool* pool = nullptr;
  EXPECT_EQ(burnish_pool_create(&options, &pool), BURNISH_OK) << burnish_last_error();
  return PoolHandle(pool);
}

Refusal refusal(std::span<const std::byte> library) {
  burnish_model* model = nullptr;
  const burnish_status status =
      burnish_model_load_memory(library.data(), library.size(), nullptr, &model);
  burnish_model_release(model);
  return {status, status == BURNISH_OK ? "" : burnish_last_error()};
}

std::vector<std::uint32_t> rounds_input(std::uint32_t seed) {
  std::vector<std::uint32_t> x(997);
  for (std::uint32_t& v : x) v = seed = seed * 1664525 + 1013904223;
  return x;
}

std::vector<std::uint32_t> rounds_expected(const std::vector<std::uint32_t>& x) {
  std::vector<std::uint32_t> a = x, b(x.size());
  for (std::uint32_t r = 0; r < 50; ++r) {
    for (std::uint32_t i = 0; i < a.size(); ++i) b[i] = a[(i * 7 + 3) % a.size()] * 31 + r + i;
    a.swap(b);
  }
  return a;
}

bool run_rounds(burnish_session* session, std::uint32_t seed) {
  auto x = rounds_input(seed);
  const burnish_tensor in = tensor(x.data(), x.size() * 4, BURNISH_U32);
  burnish_tensor out{};
  if (burnish_session_set_input(session, "x", &in) != BURNISH_OK ||
      burnish_session_run(session) != BURNISH_OK ||
      burnish_session_get_output(session, "y", &out) != BURNISH_OK) {
    ADD_FAILURE() << burnish_last_error();
    return false;
  }
  const auto expected = rounds_expected(x);
  return std::memcmp(out.data, expected.data(), expected.size() * 4) == 0;
}

std::vector<float> run_affine(const ModelHandle& model) {
  const SessionHandle session = new_session(model, 1);
  float x[] = {1, 2, 3, 4, 5, 6};
  double k = 10;
  std::vector<float> y(6);
  const burnish_tensor tx = tensor(x, sizeof x, BURNISH_F32),
                       tk = tensor(&k, sizeof k, BURNISH_F64),
                       ty = tensor(y.data(), 24, BURNISH_F32);
  if (burnish_session_bind_input(session.get(), "x", &tx) != BURNISH_OK ||
      burnish_session_set_input(session.get(), "k", &tk) != BURNISH_OK ||
      burnish_session_bind_output(session.get(), "y", &ty) != BURNISH_OK ||
      burnish_session_run(session.get()) != BURNISH_OK) {
    ADD_FAILURE() << burnish_last_error();
  }
  return y;
}

}  // namespace burnish::test
