// The C++ interface.
#include "support.h"

#include <burnish/burnish.hpp>

#include <span>
#include <type_traits>

namespace burnish::test {
namespace {

static_assert(std::is_nothrow_move_constructible_v<Model> && !std::is_copy_constructible_v<Model>);
static_assert(std::is_nothrow_move_constructible_v<Session> &&
              !std::is_copy_constructible_v<Session>);

Model load_affine() {
  const Bytes library = affine();
  return Model::load(library.data(), library.size());
}

template <class E, class Body> std::string thrown(Body body) {
  try {
    body();
  } catch (const E& e) {
    return e.what();
  }
  return "nothing was thrown";
}

TEST(Cpp, LoadRunRead) {
  const Model model = load_affine();
  Session session = model.session({.threads = 2});
  EXPECT_EQ(session.threads(), 2u);
  float i = 0;
  for (float& x : session.input<float>("x")) x = ++i;
  const double k = 10;
  session.set_input("k", &k, 1);
  session.run();
  const auto y = session.output<float>("y");
  EXPECT_EQ(y.shape(), (std::vector<std::int64_t>{2, 3}));
  const std::span<float> span = y;
  EXPECT_EQ(std::vector<float>(span.begin(), span.end()),
            (std::vector<float>{11, 14, 19, 26, 35, 46}));
}

TEST(Cpp, ModelTellsWhatItTakes) {
  const Model model = load_affine();
  ASSERT_EQ(model.inputs().size(), 2u);
  EXPECT_EQ(model.inputs()[0].name, "x");
  EXPECT_EQ(model.inputs()[0].size(), 6u);
  EXPECT_EQ(model.outputs()[0].shape, (std::vector<std::int64_t>{2, 3}));
  ASSERT_EQ(model.steps().size(), 1u);
  EXPECT_EQ(model.steps()[0].sources, (std::vector<std::string>{"mul", "add"}));
  EXPECT_EQ(model.metadata(), affine_metadata());
}

TEST(Cpp, SessionsOutliveModelAndPool) {
  Session session = [] {
    const ThreadPool pool(2);
    return load_affine().session({.pool = &pool});
  }();
  EXPECT_EQ(session.threads(), 2u);
  session.run();
  EXPECT_EQ(session.output<float>("y")[0], 0);
}

TEST(Cpp, Errors) {
  Session session = load_affine().session();
  EXPECT_EQ(thrown<UserError>([&] { session.input<int>("x"); }),
            "input \"x\" has elements of type f32, not i32");
  EXPECT_EQ(thrown<Error>([&] { session.output<float>("z"); }),
            "there is no output \"z\"; the model's outputs are \"y\"");
  const float x[4]{};
  EXPECT_EQ(thrown<UserError>([&] { session.bind_input("x", x, 4); }),
            "input \"x\" is f32 of shape 2x3 (24 bytes), but 16 bytes was given");
  const Bytes library = compile_model("affine", affine_metadata(), "-DENTRY_ABI=9");
  EXPECT_NE(
      thrown<Unsupported>([&] { Model::load(library.data(), library.size()); }).find("has ABI 9"),
      std::string::npos);
  EXPECT_EQ(thrown<UserError>([] { Model::load("/no/such/m.so"); }),
            "/no/such/m.so cannot be opened: No such file or directory");
}

TEST(Cpp, Profile) {
  const Profile profile = load_affine().session().profile();
  EXPECT_EQ(profile.step_ns.size(), 1u);
  EXPECT_GT(profile.total_ns, 0u);
}

}  // namespace
}  // namespace burnish::test
