// RNN, GRU and LSTM, one copy of the cell a time step. The products with the inputs of all steps
// are one matrix product before the steps.
#include <algorithm>
#include <array>

#include "import/onnx/node_context.h"

namespace burnish::onnx {

namespace {

constexpr int64_t max_steps = 1024;

struct Cell {
  NodeContext& n;
  int64_t hidden;
  std::vector<std::string> activations;
  double clip;  // 0: none

  ValueId activate(size_t which, ValueId v) const {
    if (clip > 0) v = n.add("clip", {v, n.scalar_like(-clip, v), n.scalar_like(clip, v)});
    std::string name = activations[which];
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    for (const char* plain : {"sigmoid", "tanh", "relu", "softsign", "softplus"}) {
      if (name == plain) return n.add(plain, {v});
    }
    n.gap("the activation '{}' is not supported", activations[which]);
  }
  // Columns of gate g.
  ValueId gate(ValueId v, int64_t g) const {
    const auto last = static_cast<int64_t>(n.type_of(v).shape.size()) - 1;
    return n.slice(v, last, g * hidden, (g + 1) * hidden);
  }
  ValueId add(ValueId a, ValueId b) const { return n.add("add", {a, b}); }
  ValueId mul(ValueId a, ValueId b) const { return n.add("mul", {a, b}); }
};

// What the cells of one direction need.
struct Direction {
  ValueId r;                // recurrence weights [hidden, gates * hidden]
  ValueId recurrence_bias;  // [gates * hidden] or none: GRU alone keeps it apart
  ValueId peepholes;        // [3 * hidden] or none
  bool linear_before_reset, input_forget;
};

struct State {
  ValueId h, c;
};

using Step = State (*)(const Cell&, const Direction&, ValueId x, State);

State rnn_step(const Cell& cell, const Direction& d, ValueId x, State s) {
  return {cell.activate(0, cell.add(x, cell.n.add("matmul", {s.h, d.r}))), no_value};
}

// Gates z, r, h.
State gru_step(const Cell& cell, const Direction& d, ValueId x, State s) {
  NodeContext& n = cell.n;
  const auto biased = [&](ValueId v, int64_t g) {
    return d.recurrence_bias == no_value ? v : cell.add(v, cell.gate(d.recurrence_bias, g));
  };
  const ValueId rec = n.add("matmul", {s.h, d.r});
  const ValueId z = cell.activate(0, cell.add(cell.gate(x, 0), biased(cell.gate(rec, 0), 0)));
  const ValueId r = cell.activate(0, cell.add(cell.gate(x, 1), biased(cell.gate(rec, 1), 1)));
  ValueId inner = no_value;
  if (d.linear_before_reset) {
    inner = cell.mul(r, biased(cell.gate(rec, 2), 2));
  } else {
    inner = biased(n.add("matmul", {cell.mul(r, s.h), cell.gate(d.r, 2)}), 2);
  }
  const ValueId h = cell.activate(1, cell.add(cell.gate(x, 2), inner));
  const ValueId kept = cell.mul(z, s.h);
  return {cell.add(cell.mul(n.add("sub", {n.scalar_like(1, z), z}), h), kept), no_value};
}

// Gates i, o, f, c; peepholes i, o, f.
State lstm_step(const Cell& cell, const Direction& d, ValueId x, State s) {
  NodeContext& n = cell.n;
  const ValueId gates = cell.add(x, n.add("matmul", {s.h, d.r}));
  const auto with_peephole = [&](int64_t g, ValueId state) {
    const ValueId v = cell.gate(gates, g);
    return d.peepholes == no_value ? v : cell.add(v, cell.mul(cell.gate(d.peepholes, g), state));
  };
  const ValueId i = cell.activate(0, with_peephole(0, s.c));
  const ValueId f = d.input_forget ? n.add("sub", {n.scalar_like(1, i), i})
                                   : cell.activate(0, with_peephole(2, s.c));
  const ValueId candidate = cell.activate(1, cell.gate(gates, 3));
  const ValueId c = cell.add(cell.mul(f, s.c), cell.mul(i, candidate));
  const ValueId o = cell.activate(0, with_peephole(1, c));
  return {cell.mul(o, cell.activate(2, c)), c};
}

struct Kind {
  int64_t gates;
  std::vector<std::string> activations;
  Step step;
};

ValueId one_direction(NodeContext& n, ValueId v, int64_t direction) {
  return n.add("squeeze", {n.slice(v, 0, direction, direction + 1)}, attrs({{"axes", ints({0})}}));
}

ValueId joined(NodeContext& n, const std::vector<ValueId>& parts, int64_t axis) {
  std::vector<ValueId> in;
  for (ValueId v : parts) in.push_back(n.add("unsqueeze", {v}, attrs({{"axes", ints({axis})}})));
  return in.size() == 1 ? in[0] : n.add("concat", in, attrs({{"axis", integer(axis)}}));
}

std::vector<ValueId> recurrent(NodeContext& n, const Kind& kind) {
  const bool batch_first = n.attr_i("layout", 0) != 0;
  const std::string direction = n.attr_s("direction", "forward");
  require(direction == "forward" || direction == "reverse" || direction == "bidirectional",
          "'direction' is '{}', but forward, reverse or bidirectional is needed", direction);
  n.ignore({"output_sequence"});
  for (const char* name : {"activation_alpha", "activation_beta"}) {
    if (!n.attr_floats(name).empty()) n.gap("the attribute '{}' is not supported", name);
  }
  require(n.rank(0) == 3 && n.rank(1) == 3 && n.rank(2) == 3,
          "its input and weights need three axes");
  const ValueId x = batch_first ? n.transpose(n.in(0), {1, 0, 2}) : n.in(0);
  const Shape xs = n.type_of(x).shape;  // steps, batch, features
  const int64_t hidden = n.shape(2)[2], directions = n.shape(1)[0];
  require(n.attr_i("hidden_size", hidden) == hidden, "'hidden_size' differs from the weights' {}",
          hidden);
  require(directions == (direction == "bidirectional" ? 2 : 1),
          "weights for {} directions do not fit '{}'", directions, direction);
  if (xs[0] > max_steps || xs[0] == 0)
    n.gap("{} time steps are not supported, but 1 to {}", xs[0], max_steps);
  if (n.has(4)) {
    for (int64_t length : n.int_list(4)) {
      if (length != xs[0]) n.gap("sequences of different lengths are not supported");
    }
  }
  std::vector<std::string> activations = kind.activations;
  if (n.has_attr("activations")) {
    activations = n.attr_strings("activations");
    require(activations.size() == kind.activations.size() * static_cast<size_t>(directions),
            "{} activations are given", activations.size());
  } else if (directions == 2) {
    activations.insert(activations.end(), kind.activations.begin(), kind.activations.end());
  }

  const auto initial = [&](size_t i, int64_t d) {
    if (!n.has(i)) {
      return n.constant_of(std::make_shared<Tensor>(n.dtype(0), Shape{xs[1], hidden}));
    }
    return one_direction(n, batch_first ? n.transpose(n.in(i), {1, 0, 2}) : n.in(i), d);
  };
  const bool is_gru = kind.gates == 3, is_lstm = kind.gates == 4;
  const bool linear = is_gru && n.attr_i("linear_before_reset", 0) != 0;
  const bool coupled = is_lstm && n.attr_i("input_forget", 0) != 0;
  const double clip = n.attr_f("clip", 0);
  std::vector<std::vector<ValueId>> steps(
      static_cast<size_t>(xs[0]));  // a step: one value a direction
  std::vector<ValueId> last_h, last_c;
  for (int64_t d = 0; d < directions; ++d) {
    const auto first = activations.begin() + d * static_cast<int64_t>(kind.activations.size());
    const Cell cell{
        n, hidden, {first, first + static_cast<int64_t>(kind.activations.size())}, clip};
    ValueId projected = n.add("matmul", {x, n.transpose(one_direction(n, n.in(1), d), {1, 0})});
    Direction parts{.r = n.transpose(one_direction(n, n.in(2), d), {1, 0}),
                    .recurrence_bias = no_value,
                    .peepholes = is_lstm && n.has(7) ? one_direction(n, n.in(7), d) : no_value,
                    .linear_before_reset = linear,
                    .input_forget = coupled};
    if (n.has(3)) {
      const ValueId bias = one_direction(n, n.in(3), d);
      const ValueId own = n.slice(bias, 0, 0, kind.gates * hidden);
      const ValueId recurrence = n.slice(bias, 0, kind.gates * hidden, 2 * kind.gates * hidden);
      projected = n.add("add", {projected, own});
      if (is_gru) {
        parts.recurrence_bias = recurrence;
      } else {
        projected = n.add("add", {projected, recurrence});
      }
    }
    State state{initial(5, d), is_lstm ? initial(6, d) : no_value};
    const bool backwards = direction == "reverse" || d == 1;
    for (int64_t k = 0; k < xs[0]; ++k) {
      const int64_t t = backwards ? xs[0] - 1 - k : k;
      const ValueId xt =
          n.add("squeeze", {n.slice(projected, 0, t, t + 1)}, attrs({{"axes", ints({0})}}));
      state = kind.step(cell, parts, xt, state);
      steps[static_cast<size_t>(t)].push_back(state.h);
    }
    last_h.push_back(state.h);
    last_c.push_back(state.c);
  }

  std::vector<ValueId> stacked;
  for (const auto& parts : steps) stacked.push_back(joined(n, parts, 0));
  ValueId y = joined(n, stacked, 0);  // steps, directions, batch, hidden
  if (batch_first) y = n.transpose(y, {2, 0, 1, 3});
  std::vector<ValueId> out{y, joined(n, last_h, batch_first ? 1 : 0)};
  if (is_lstm) out.push_back(joined(n, last_c, batch_first ? 1 : 0));
  return out;
}

std::vector<ValueId> rnn(NodeContext& n) { return recurrent(n, {1, {"Tanh"}, rnn_step}); }
std::vector<ValueId> gru(NodeContext& n) {
  return recurrent(n, {3, {"Sigmoid", "Tanh"}, gru_step});
}
std::vector<ValueId> lstm(NodeContext& n) {
  return recurrent(n, {4, {"Sigmoid", "Tanh", "Tanh"}, lstm_step});
}

constexpr OnnxOp table[] = {
    {"RNN", rnn},
    {"GRU", gru},
    {"LSTM", lstm},
};

}  // namespace

std::span<const OnnxOp> recurrent_conversions() { return table; }

}  // namespace burnish::onnx
