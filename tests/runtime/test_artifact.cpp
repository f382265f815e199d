// What the loader refuses, and that it refuses with a sentence.
#include "support.h"

#include <burnish/artifact_format.h>

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace burnish::test {
namespace {

const std::vector<float> affine_result = {11, 14, 19, 26, 35, 46};

void expect_refused(std::span<const std::byte> library, burnish_status status,
                    const std::string& text) {
  const Refusal r = refusal(library);
  EXPECT_EQ(r.status, status) << r.text;
  EXPECT_NE(r.text.find(text), r.text.npos) << "expected: ..." << text << "...\ngot: " << r.text;
}

TEST(Artifact, LoadsAndRuns) {
  const Bytes library = affine();
  EXPECT_EQ(run_affine(load(library)), affine_result);
}

TEST(Artifact, Xxh64OfKnownTexts) {
  const auto hash = [](std::string_view text) {
    artifact::Xxh64 h;
    h.update(reinterpret_cast<const std::byte*>(text.data()), text.size());
    return h.digest();
  };
  EXPECT_EQ(hash(""), 0xEF46DB3751D8E999u);
  EXPECT_EQ(hash("a"), 0xD24EC4F1A98C6E5Bu);
  EXPECT_EQ(hash("abc"), 0x44BC2CF5AD770999u);
  EXPECT_EQ(hash("Nobody inspects the spammish repetition"), 0xFBCEA83C8A378BF1u);
}

TEST(Artifact, Xxh64InPiecesIsTheSame) {
  std::byte data[257];
  for (std::size_t i = 0; i < sizeof data; ++i) data[i] = static_cast<std::byte>(i * 37);
  artifact::Xxh64 whole;
  whole.update(data, sizeof data);
  for (std::size_t piece = 1; piece < 70; ++piece) {
    artifact::Xxh64 pieces;
    for (std::size_t at = 0; at < sizeof data; at += piece) {
      pieces.update(data + at, std::min(piece, sizeof data - at));
    }
    EXPECT_EQ(pieces.digest(), whole.digest()) << "pieces of " << piece;
  }
}

TEST(Artifact, TruncatedAnywhereIsRefused) {
  const Bytes library = affine();
  for (std::size_t size = 0; size < library.size(); ++size) {
    if (size > 4200 && size + 700 < library.size() && size % 17 != 0) continue;
    const Refusal r = refusal(std::span(library).first(size));
    ASSERT_EQ(r.status, BURNISH_ERROR_USER)
        << "cut to " << size << " of " << library.size() << ": " << r.text;
    ASSERT_NE(r.text, "");
  }
}

// Is this byte part of what the system's loader uses?
bool is_covered(const artifact::Layout& layout, std::size_t at) {
  if (at < 64) return !(at >= 40 && at < 48) && !(at >= 60);
  for (const auto& p : layout.program()) {
    if (p.type == artifact::kLoad && at >= p.offset && at < p.offset + p.filesz) return true;
  }
  return false;
}

TEST(Artifact, FlippedByteIsRefusedOrChangesNothing) {
  const Bytes library = affine();
  const artifact::Layout layout = artifact::read_layout(library);
  ASSERT_EQ(layout.error, nullptr);
  std::size_t accepted = 0, refused = 0;
  for (std::size_t at = 0; at < library.size(); ++at) {
    for (const unsigned flip : {1u << (at % 8), 0xffu}) {
      Bytes damaged = library;
      damaged[at] ^= static_cast<std::byte>(flip);
      burnish_model* model = nullptr;
      if (burnish_model_load_memory(damaged.data(), damaged.size(), nullptr, &model) !=
          BURNISH_OK) {
        ++refused;
        ASSERT_STRNE(burnish_last_error(), "");
        continue;
      }
      ++accepted;
      // Fields of PT_PHDR that strip rewrites are the one exception inside what is loaded.
      const bool phdr_sizes =
          at >= layout.header.phoff &&
          at < layout.header.phoff + layout.header.phnum * sizeof(artifact::ProgramHeader);
      ASSERT_TRUE(!is_covered(layout, at) || phdr_sizes) << "byte " << at << " flipped by " << flip;
      ASSERT_EQ(run_affine(ModelHandle(model)), affine_result) << "byte " << at;
    }
  }
  EXPECT_GT(refused, 4000u);
  EXPECT_GT(accepted, 0u);  // the section table and symbol names are not used
}

TEST(Artifact, StripDoesNotBreakIt) {
  if (!*BURNISH_TEST_STRIP) GTEST_SKIP() << "no strip";
  // lld is what the compiler links with; GNU strip rewrites more of its files than of GNU ld's.
  for (const char* linker : {"bfd", "lld"}) {
    SCOPED_TRACE(linker);
    if (std::system((std::string("ld.") + linker + " --version > /dev/null 2>&1").c_str()) != 0) {
      continue;
    }
    const Bytes library =
        compile_model("affine", affine_metadata(), std::string("-g -fuse-ld=") + linker);
    const TempDir dir;
    write_file(dir.path("m.so"), library);
    ASSERT_EQ(std::system((BURNISH_TEST_STRIP " " + dir.path("m.so")).c_str()), 0);
    const Bytes stripped = read_file(dir.path("m.so"));
    EXPECT_LT(stripped.size(), library.size());
    EXPECT_EQ(run_affine(load(stripped)), affine_result);
  }
}

TEST(Artifact, NoSharedLibrary) {
  const auto bytes = [](const std::string& text) {
    Bytes out(text.size());
    std::memcpy(out.data(), text.data(), text.size());
    return out;
  };
  expect_refused(bytes("x"), BURNISH_ERROR_USER, "is too short");
  expect_refused(bytes(std::string(1000, 'x')), BURNISH_ERROR_USER, "is not an ELF shared library");
  expect_refused(read_file("/bin/true"), BURNISH_ERROR_USER, "Burnish");
}

TEST(Artifact, NotAFileThatCanBeRead) {
  const TempDir dir;
  const auto text = [](const std::string& path) {
    burnish_model* model = nullptr;
    EXPECT_EQ(burnish_model_load(path.c_str(), nullptr, &model), BURNISH_ERROR_USER);
    return std::string(burnish_last_error());
  };
  EXPECT_EQ(text("/no/such/m.so"), "/no/such/m.so cannot be opened: No such file or directory");
  EXPECT_EQ(text("/tmp"), "/tmp is not a file");
  const std::string pipe = dir.path("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(text(pipe), pipe + " is not a file");
  write_file(dir.path("empty"), {});
  EXPECT_EQ(text(dir.path("empty")), dir.path("empty") + " is empty");
}

TEST(Artifact, AnotherMachine) {
  Bytes library = affine();
  const std::uint16_t machine = 243;
  std::memcpy(library.data() + offsetof(artifact::ElfHeader, machine), &machine, 2);
  stamp(library);
  expect_refused(library, BURNISH_ERROR_UNSUPPORTED, "is for RISC-V, this machine is");
  library = affine();
  const std::string triple =
      affine_metadata().find("x86_64") != std::string::npos ? "x86_64" : "aarch64";
  expect_refused(with_metadata(library, replaced(affine_metadata(), triple, "armv7a")),
                 BURNISH_ERROR_UNSUPPORTED, "was compiled for armv7a-linux-gnu, this machine is");
  expect_refused(with_metadata(library, replaced(affine_metadata(), "-linux-gnu", "-apple-darwin")),
                 BURNISH_ERROR_UNSUPPORTED, "was compiled for");
}

TEST(Artifact, CpuFeatures) {
  const Bytes library = affine();
  const auto with = [&](const std::string& features) {
    return with_metadata(
        library, replaced(affine_metadata(), "\"features\":[]", "\"features\":[" + features + "]"));
  };
  expect_refused(
      with(R"("flux-capacitor","time-circuits")"), BURNISH_ERROR_UNSUPPORTED,
      "needs CPU features that this runtime does not know: flux-capacitor, time-circuits "
      "(compiled for cpu=test)");
#if defined(__x86_64__)
  // No CPU has both of these.
  expect_refused(with(R"("sse2","fma4","avx512fp16","amx-fp16")"), BURNISH_ERROR_UNSUPPORTED,
                 "needs CPU features that this machine does not have: ");
  EXPECT_EQ(refusal(with(R"("64bit","cmov","cx8","fxsr","mmx","sse","sse2")")).text, "");
  for (const char* name : {"avx2", "fma", "avx512f", "avx512vl", "avx512bw", "avx512dq",
                           "avx512vnni", "bmi2", "f16c"}) {
    const bool has = std::string_view(name) == "avx2"         ? __builtin_cpu_supports("avx2")
                     : std::string_view(name) == "fma"        ? __builtin_cpu_supports("fma")
                     : std::string_view(name) == "avx512f"    ? __builtin_cpu_supports("avx512f")
                     : std::string_view(name) == "avx512vl"   ? __builtin_cpu_supports("avx512vl")
                     : std::string_view(name) == "avx512bw"   ? __builtin_cpu_supports("avx512bw")
                     : std::string_view(name) == "avx512dq"   ? __builtin_cpu_supports("avx512dq")
                     : std::string_view(name) == "avx512vnni" ? __builtin_cpu_supports("avx512vnni")
                     : std::string_view(name) == "bmi2"       ? __builtin_cpu_supports("bmi2")
                                                              : __builtin_cpu_supports("f16c");
    EXPECT_EQ(refusal(with('"' + std::string(name) + '"')).status == BURNISH_OK, has) << name;
  }
#endif
}

TEST(Artifact, AnotherAbi) {
  expect_refused(with_metadata(affine(), replaced(affine_metadata(), "\"abi\":1", "\"abi\":2")),
                 BURNISH_ERROR_UNSUPPORTED,
                 "has ABI 2 (compiled by burnish 0.1.0), this runtime has ABI 1; use a newer");
  expect_refused(compile_model("affine", affine_metadata(), "-DENTRY_ABI=99"),
                 BURNISH_ERROR_UNSUPPORTED, "has ABI 99, this runtime has ABI 1");
}

TEST(Artifact, MustNotImportOrInitialise) {
  expect_refused(compile_model("affine", affine_metadata(), "-DIMPORTS"), BURNISH_ERROR_USER,
                 "imports the symbol \"imported_function\"");
  expect_refused(compile_model("affine", affine_metadata(), "-DINITIALISER"), BURNISH_ERROR_USER,
                 "runs code while it is loaded");
  expect_refused(compile_model("affine", affine_metadata(), "-Wl,--no-as-needed -lc"),
                 BURNISH_ERROR_USER, "needs other libraries");
}

TEST(Artifact, EntryMustMatchMetadata) {
  const Bytes library = affine();
  const auto refuse = [&](const char* from, const char* to, const char* text) {
    expect_refused(with_metadata(library, replaced(affine_metadata(), from, to)),
                   BURNISH_ERROR_USER, text);
  };
  refuse("\"weights_bytes\":24", "\"weights_bytes\":28",
         "has 24 bytes of weights, its metadata says 28");
  refuse("\"steps\":[", "\"steps\":[{\"name\":\"more\"},", "has 1 steps, its metadata lists 2");
  expect_refused(compile_model("affine", affine_metadata(), "-Dburnish_model_entry=other_name"),
                 BURNISH_ERROR_USER, "has no function burnish_model_entry");
}

TEST(Artifact, MalformedMetadata) {
  const Bytes library = affine();
  const auto refuse = [&](const std::string& json, const char* text,
                          burnish_status status = BURNISH_ERROR_USER) {
    expect_refused(with_metadata(library, json), status, text);
  };
  const std::string good = affine_metadata();
  refuse("", "malformed metadata: it is not a JSON object");
  refuse("[]", "malformed metadata: it is not a JSON object");
  refuse(good.substr(0, good.size() - 1), "it is not a JSON object");
  refuse(good + "x", "it is not a JSON object");
  refuse(std::string(1000, '['), "it is nested too deeply");
  refuse("{}", "\"abi\" is missing");
  refuse(replaced(good, "\"abi\":1", "\"abi\":\"1\""), "\"abi\" is not a whole number");
  refuse(replaced(good, "\"abi\":1", "\"abi\":-1"), "\"abi\" is not a whole number");
  refuse(replaced(good, "\"threads\":2", "\"threads\":2000"),
         "\"threads\" is 2000, more than 1024");
  refuse(replaced(good, "\"threads\":2", "\"threads\":2,\"most_threads\":0"), "\"most_threads\" is 0");
  refuse(replaced(good, "\"arena_bytes\":0", "\"arena_bytes\":99999999999999999999"),
         "is not a whole number");
  refuse(replaced(good, "\"arena_bytes\":0", "\"arena_bytes\":9999999999999999"),
         "more than 70368744177664");
  refuse(replaced(good, "\"name\":\"x\"", "\"name\":7"),
         "\"inputs\" number 0: \"name\" is not a text");
  refuse(replaced(good, "\"name\":\"x\"", "\"name\":\"a\\u0000b\""), "contains a zero byte");
  refuse(replaced(good, "\"name\":\"k\"", "\"name\":\"x\""), "\"inputs\" names \"x\" twice");
  refuse(replaced(good, "[2,3]", "[2,-3]"), "is not a whole number from 0 to 2^46");
  refuse(replaced(good, "[2,3]", "[4294967296,4294967296,4294967296]"),
         "describes more than 2^46 bytes");
  refuse(replaced(good, "[2,3]",
                  "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"),
         "has more than 32 dimensions");
  refuse(replaced(good, "[2,3]", "7"), "is not a list");
  refuse(replaced(good, "\"outputs\"", "\"outpits\""), "\"outputs\" is missing");
  refuse(replaced(good, "f32", "f31"), "uses the dtype \"f31\" (tensor \"x\")",
         BURNISH_ERROR_UNSUPPORTED);
  refuse(replaced(good, "[2,3]", "[2,\"n\"]"), "has the symbolic dimension \"n\"",
         BURNISH_ERROR_UNSUPPORTED);
}

TEST(Artifact, ForgedNotesNeverCrash) {
  // Stamped after the damage where that is possible, so that the checks behind the checksum are met
  // too.
  const Bytes library = affine();
  const artifact::Layout layout = artifact::read_layout(library);
  std::uint32_t seed = 20261;
  SCOPED_TRACE("seed " + std::to_string(seed));
  const auto random = [&seed] { return (seed = seed * 1664525 + 1013904223) >> 8; };
  std::size_t note_header = 0;
  while (layout.segments[note_header].type != artifact::kNote) ++note_header;
  note_header = layout.header.phoff + note_header * sizeof(artifact::ProgramHeader);
  std::size_t stamped = 0;
  for (int i = 0; i < 3000; ++i) {
    Bytes damaged = library;
    const std::size_t field =
        i % 3 == 0   ? note_header + 8 + random() % 48              // the segment's place and size
        : i % 3 == 1 ? layout.metadata.offset - 20 + random() % 20  // the note's header
                     : layout.metadata.offset + random() % 400;     // the JSON
    damaged[field] = static_cast<std::byte>(random());
    stamped += artifact::stamp_checksum(damaged) == nullptr;
    const Refusal r = refusal(damaged);
    EXPECT_EQ(r.status == BURNISH_OK, r.text.empty());
  }
  EXPECT_GT(stamped, 1000u);
}

TEST(Artifact, FileReplacedUnderALoadedModel) {
  const TempDir dir;
  const std::string path = dir.path("m.so");
  const auto load_path = [&] {
    burnish_model* model = nullptr;
    EXPECT_EQ(burnish_model_load(path.c_str(), nullptr, &model), BURNISH_OK)
        << burnish_last_error();
    return ModelHandle(model);
  };
  write_file(path, affine());
  const ModelHandle first = load_path();
  write_file(dir.path("new.so"), compile_model("affine", affine_metadata(), "-DSCALE=2"));
  ASSERT_EQ(std::rename(dir.path("new.so").c_str(), path.c_str()), 0);
  const ModelHandle second = load_path();
  EXPECT_EQ(run_affine(first), affine_result);
  EXPECT_EQ(run_affine(second), (std::vector<float>{12, 18, 28, 42, 60, 82}));
}

TEST(Artifact, LoadedAgainAndAgainUnderTheSameDescriptor) {
  const Bytes one = affine(), two = compile_model("affine", affine_metadata(), "-DSCALE=2");
  const ModelHandle kept = load(one);
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(run_affine(load(i % 2 ? one : two))[0], i % 2 ? 11 : 12);
  }
  EXPECT_EQ(run_affine(kept), affine_result);
}

TEST(Artifact, PrivateCopySurvivesOverwriting) {
  const TempDir dir;
  const std::string path = dir.path("m.so");
  const Bytes library = affine();
  write_file(path, library);
  const burnish_load_options options = {
      .struct_size = sizeof options, .weights = BURNISH_WEIGHTS_DIRECT, .private_copy = 1};
  burnish_model* model = nullptr;
  ASSERT_EQ(burnish_model_load(path.c_str(), &options, &model), BURNISH_OK) << burnish_last_error();
  write_file(path, Bytes(library.size()));
  EXPECT_EQ(run_affine(ModelHandle(model)), affine_result);
}

TEST(Artifact, WeightsCopiedOrDirectGiveTheSame) {
  const Bytes library = affine();
  for (const burnish_weights weights :
       {BURNISH_WEIGHTS_AUTO, BURNISH_WEIGHTS_COPY, BURNISH_WEIGHTS_DIRECT}) {
    const burnish_load_options options = {
        .struct_size = sizeof options, .weights = weights, .private_copy = 0};
    burnish_model* model = nullptr;
    ASSERT_EQ(burnish_model_load_memory(library.data(), library.size(), &options, &model),
              BURNISH_OK);
    EXPECT_EQ(run_affine(ModelHandle(model)), affine_result);
  }
}

// Many pieces, several threads, and weights at the very end of what is copied.
TEST(Artifact, LargeWeights) {
  constexpr std::size_t floats = 2'300'001;
  const Bytes library = compile_model(
      "affine",
      replaced(affine_metadata(), "\"weights_bytes\":24",
               "\"weights_bytes\":" + std::to_string(4 * (floats + 6))),
      "-DUNUSED_WEIGHTS=" + std::to_string(floats));
  const artifact::Layout layout = artifact::read_layout(library);
  ASSERT_GE(artifact::pieces_of(layout).size(), 6u);
  for (const burnish_weights weights :
       {BURNISH_WEIGHTS_AUTO, BURNISH_WEIGHTS_COPY, BURNISH_WEIGHTS_DIRECT}) {
    const burnish_load_options options = {
        .struct_size = sizeof options, .weights = weights, .private_copy = 0};
    burnish_model* model = nullptr;
    ASSERT_EQ(burnish_model_load_memory(library.data(), library.size(), &options, &model),
              BURNISH_OK)
        << burnish_last_error();
    EXPECT_EQ(run_affine(ModelHandle(model)), affine_result);
  }
  for (const artifact::Extent& piece : artifact::pieces_of(layout)) {
    for (const std::uint64_t at : {std::uint64_t{100}, piece.size / 2, piece.size - 1}) {
      if (at >= piece.size || !is_covered(layout, piece.offset + at)) continue;
      Bytes damaged = library;
      damaged[piece.offset + at] ^= std::byte{1};
      const Refusal r = refusal(damaged);
      EXPECT_EQ(r.status, BURNISH_ERROR_USER) << piece.offset << " + " << at;
    }
  }
  Bytes exchanged = library;  // two pieces in each other's place
  const auto pieces = artifact::pieces_of(layout);
  const auto a = exchanged.begin() + static_cast<std::ptrdiff_t>(pieces[0].offset + 65536);
  std::fill_n(a, 4096, std::byte{1});
  std::swap_ranges(a, a + 4096, a + static_cast<std::ptrdiff_t>(artifact::kPiece));
  expect_refused(exchanged, BURNISH_ERROR_USER, "checksum does not match");
}

TEST(Artifact, ChecksumIsThatOfThePieces) {
  const Bytes library = affine();
  const artifact::Layout layout = artifact::read_layout(library);
  std::vector<std::uint64_t> digests;
  for (const artifact::Extent& piece : artifact::pieces_of(layout)) {
    Bytes bytes(library.begin() + static_cast<std::ptrdiff_t>(piece.offset),
                library.begin() + static_cast<std::ptrdiff_t>(piece.offset + piece.size));
    artifact::Xxh64 in_parts;  // the same in blocks of any size
    for (std::size_t at = 0; at < bytes.size(); at += 61) {
      artifact::Cover(layout).feed(in_parts, piece.offset + at, bytes.data() + at,
                                   std::min<std::size_t>(61, bytes.size() - at));
    }
    digests.push_back(in_parts.digest());
  }
  EXPECT_EQ(artifact::checksum_of(library, layout, digests),
            artifact::checksum_of(library, layout));
}

}  // namespace
}  // namespace burnish::test
