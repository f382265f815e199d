// Whole libraries in turns, so that what disturbs the machine disturbs them alike.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "base/clock.h"
#include "base/error.h"
#include "expr/dtype.h"
#include "search/statistics.h"
#include "search/worker/kernel_library.h"
#include "search/worker/values.h"
#include "search/worker/worker.h"

namespace burnish::search {

namespace {

constexpr int least_rounds = 3;
// Of a device, whose caches hold what a model touches: runs that come first, since others have had their turn, and that are timed together.
constexpr int warming_runs = 3, runs_in_a_row = 20;

struct Contestant {
  Handle<burnish_model> model;
  Handle<burnish_session> session;
  std::vector<std::vector<double>> steps;  // by step: seconds of every run
  std::vector<double> runs;
  std::vector<uint64_t> last;
  bool device = false;

  void run_on_device(int times) {
    for (int i = 0; i < times; ++i) succeed(burnish_session_run_async(session.get(), nullptr));
    succeed(burnish_session_synchronize(session.get()));
  }

  void run(bool with_steps, bool counts) {
    if (device) run_on_device(warming_runs);
    const bool in_a_row = device && !with_steps;
    const auto start = Clock::now();
    if (in_a_row) run_on_device(runs_in_a_row);
    else
      succeed(with_steps ? burnish_session_profile(session.get(), last.data(), static_cast<uint32_t>(last.size()), nullptr)
                         : burnish_session_run(session.get()));
    const double seconds =
        since(start) / (in_a_row ? runs_in_a_row : 1);
    if (!counts) return;
    runs.push_back(seconds);
    for (size_t i = 0; with_steps && i < last.size(); ++i) steps[i].push_back(static_cast<double>(last[i]) * 1e-9);
  }
};

void fill_inputs(Contestant& c) {
  burnish_model_info info{};
  info.struct_size = sizeof info;
  succeed(burnish_model_get_info(c.model.get(), &info));
  for (uint32_t i = 0; i < info.inputs; ++i) {
    burnish_tensor_info t{};
    succeed(burnish_model_get_input(c.model.get(), i, &t));
    const auto dtype = dtype_named(burnish_dtype_name(t.dtype));
    check(dtype.has_value(), "input {} has dtype {}", t.name, static_cast<int>(t.dtype));
    const Tensor values = random_tensor({.name = t.name, .dtype = *dtype, .shape = {t.shape, t.shape + t.rank}}, 1);
    std::vector<std::byte> bytes = values.bytes;
    const burnish_tensor given{.data = bytes.data(), .bytes = bytes.size(), .dtype = t.dtype, .rank = 0, .shape = nullptr};
    succeed(burnish_session_set_input(c.session.get(), t.name, &given));
  }
  c.last.resize(info.steps);
  c.steps.resize(info.steps);
}

// From now on tensors stay on the device, as what runs there before and after would have them.
void leave_on_device(Contestant& c) {
  burnish_device_info gpu{};
  gpu.struct_size = sizeof gpu;
  if (burnish_session_get_device(c.session.get(), &gpu) != BURNISH_OK) return;
  c.device = true;
  burnish_model_info info{};
  info.struct_size = sizeof info;
  succeed(burnish_model_get_info(c.model.get(), &info));
  burnish_tensor_info t{};
  burnish_tensor place{};
  for (uint32_t i = 0; i < info.inputs; ++i) {
    succeed(burnish_model_get_input(c.model.get(), i, &t));
    succeed(burnish_session_get_device_input(c.session.get(), t.name, &place));
  }
  for (uint32_t i = 0; i < info.outputs; ++i) {
    succeed(burnish_model_get_output(c.model.get(), i, &t));
    succeed(burnish_session_get_device_output(c.session.get(), t.name, &place));
  }
}

struct Output {
  std::string name;
  DType dtype;
  std::vector<std::byte> bytes;
};

std::vector<Output> outputs_of(const Contestant& c) {
  burnish_model_info info{};
  info.struct_size = sizeof info;
  succeed(burnish_model_get_info(c.model.get(), &info));
  std::vector<Output> all;
  for (uint32_t i = 0; i < info.outputs; ++i) {
    burnish_tensor_info t{};
    succeed(burnish_model_get_output(c.model.get(), i, &t));
    burnish_tensor got{};
    succeed(burnish_session_get_output(c.session.get(), t.name, &got));
    const auto dtype = dtype_named(burnish_dtype_name(t.dtype));
    check(dtype.has_value(), "output {} has dtype {}", t.name, static_cast<int>(t.dtype));
    const auto* data = static_cast<const std::byte*>(got.data);
    all.push_back({t.name, *dtype, {data, data + got.bytes}});
  }
  return all;
}

// Of floats: integers, which are indices and counts, change by whole numbers where two of these are about equal.
double deviation(const std::vector<Output>& got, const std::vector<Output>& expected) {
  double most = 0;
  for (const Output& e : expected) {
    if (!is_float(e.dtype)) continue;
    const auto g = std::ranges::find(got, e.name, &Output::name);
    const bool there = g != got.end() && g->dtype == e.dtype;
    most = std::max(most, there ? search::deviation(e.dtype, g->bytes, e.bytes) : std::numeric_limits<double>::infinity());
  }
  return most;
}

}  // namespace

CompareReply compare(const CompareRequest& r) {
  CompareReply reply;
  try {
    const Handle<burnish_pool> pool = new_pool(r.threads);
    std::vector<Contestant> all(r.paths.size());
    std::vector<Output> expected;
    for (size_t i = 0; i < all.size(); ++i) {
      burnish_model* model = nullptr;
      succeed(burnish_model_load(r.paths[i].c_str(), nullptr, &model));
      all[i].model.reset(model);
      burnish_session_options o{.struct_size = sizeof o, .threads = 0, .spin_us = 0, .pin = 0, .pool = pool.get()};
      burnish_session* session = nullptr;
      succeed(burnish_session_create(model, &o, &session));
      all[i].session.reset(session);
      fill_inputs(all[i]);
      all[i].run(r.steps, false);
      std::vector<Output> outputs = outputs_of(all[i]);
      if (i == 0) expected = outputs;
      reply.comparison.deviation.push_back(deviation(outputs, expected));
      leave_on_device(all[i]);
    }
    const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(r.seconds));
    for (int round = 0; round < least_rounds || Clock::now() < end; ++round) {
      // Every other round backwards: nobody always runs after the same neighbour.
      for (size_t i = 0; i < all.size(); ++i) all[round % 2 == 0 ? i : all.size() - 1 - i].run(r.steps, true);
    }
    for (Contestant& c : all) {
      std::vector<double> medians;
      for (auto& s : c.steps) medians.push_back(median(std::move(s)));
      reply.comparison.steps.push_back(r.steps ? std::move(medians) : std::vector<double>{});
      reply.comparison.runs.push_back(std::move(c.runs));
    }
  } catch (const RunFailure& f) {
    reply.failure = f.message;
  } catch (const std::exception& e) {
    reply.failure = e.what();
  }
  return reply;
}

}  // namespace burnish::search
