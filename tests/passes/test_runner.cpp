#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/text.h"
#include "graph/op.h"
#include "passes/oracle.h"
#include "passes/pipeline.h"

namespace burnish {
namespace {

Graph broken(const Graph& g, const Context&) {
  Graph out = g;
  out.values[out.outputs[0]].type.shape.push_back(1);
  return out;
}
Graph same(const Graph& g, const Context&) { return g; }

Graph relu() {
  return parse_graph("graph g { input %x: f32[2]  %y: f32[2] = relu(%x)  output %y }");
}

std::filesystem::path fresh_folder(const char* name) {
  const std::filesystem::path dir = std::filesystem::path(::testing::TempDir()) / name;
  std::filesystem::remove_all(dir);
  return dir;
}

std::vector<std::string> files_in(const std::filesystem::path& dir) {
  std::vector<std::string> names;
  for (const auto& f : std::filesystem::directory_iterator(dir)) names.push_back(f.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// "08": where a graph pass stands first.
std::string place_of(std::string_view pass) {
  const auto all = graph_pipeline();
  const auto it = std::find_if(all.begin(), all.end(), [&](const GraphPass& p) { return p.name == pass; });
  return fmt::format("{:02}", it - all.begin() + 1);
}

TEST(Runner, FailureNamesThePassAndTheDump) {
  const GraphPass passes[] = {{"same", same, ""}, {"broken", broken, ""}};
  Context c;
  c.options.verify = true;
  c.options.dump = {"broken"};
  c.options.dump_dir = fresh_folder("burnish_runner_fail");
  try {
    run_passes(passes, relu(), c);
    FAIL() << "no error";
  } catch (const InternalError& e) {
    const std::string text = e.what();
    EXPECT_NE(text.find("pass broken"), std::string::npos) << text;
    EXPECT_NE(text.find("02-broken.before.txt"), std::string::npos) << text;
  }
  EXPECT_EQ(read_file(c.options.dump_dir / "02-broken.before.txt"), to_text(relu()));
}

TEST(Runner, DumpsBeforeAndAfterByName) {
  Context c;
  c.options.dump = {"fuse"};
  c.options.dump_dir = fresh_folder("burnish_runner_dump");
  optimize_graph(relu(), c);
  EXPECT_EQ(read_file(c.options.dump_dir / (place_of("fuse") + "-fuse.before.txt")), to_text(relu()));
  EXPECT_NE(read_file(c.options.dump_dir / (place_of("fuse") + "-fuse.after.txt")).find("group"), std::string::npos);
  EXPECT_EQ(files_in(c.options.dump_dir).size(), 2u);
}

TEST(Runner, EveryExecutionIsDumpedAndNamesFollowTheOrder) {
  Context c;
  c.target = &test::plain_target();
  c.options.dump = {"all"};
  c.options.dump_dir = fresh_folder("burnish_runner_dump_all");
  compile_graph(relu(), c);
  std::vector<std::string> expected;
  const auto add = [&](std::string_view pass) {
    const int place = static_cast<int>(expected.size() / 2) + 1;
    for (const char* moment : {"after", "before"}) {
      expected.push_back(fmt::format("{:02}-{}.{}.txt", place, pass, moment));
    }
  };
  for (const GraphPass& p : graph_pipeline()) add(p.name);
  add("to_program");
  for (const ProgramPass& p : program_pipeline()) add(p.name);
  EXPECT_EQ(files_in(c.options.dump_dir), expected);
}

TEST(Runner, DumpsIntoWhatIsNoFolder) {
  Context c;
  c.options.dump = {"fuse"};
  c.options.dump_dir = "/dev/null";
  try {
    optimize_graph(relu(), c);
    FAIL() << "no error";
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("the folder /dev/null"), std::string::npos) << e.what();
  }
}

TEST(Runner, StopsAfterAndDisablesByName) {
  Context c;
  c.options.stop_after = "choose_layout";
  EXPECT_EQ(to_text(optimize_graph(relu(), c)), to_text(relu()));
  c.options.stop_after.clear();
  c.options.disable = {"fuse"};
  EXPECT_EQ(to_text(optimize_graph(relu(), c)), to_text(relu()));
}

TEST(Runner, UnknownPassIsTheUsersErrorAndListsThePasses) {
  Context c;
  c.options.stop_after = "fusion";
  try {
    optimize_graph(relu(), c);
    FAIL() << "no error";
  } catch (const UserError& e) {
    EXPECT_NE(std::string(e.what()).find("choose_layout"), std::string::npos) << e.what();
  }
}

TEST(Runner, TimesEveryPassOnce) {
  std::vector<PassTime> times;
  Context c;
  c.times = &times;
  optimize_graph(relu(), c);
  EXPECT_EQ(times.size(), graph_pipeline().size());
  EXPECT_NE(times_text(times).find("fold_batch_norm"), std::string::npos);
}

TEST(Runner, StoppingBeforeTheProgramIsRefusedByCompile) {
  Context c;
  c.target = &test::plain_target();
  c.options.stop_after = "fuse";
  EXPECT_THROW(compile_graph(relu(), c), UserError);
}

}  // namespace
}  // namespace burnish
