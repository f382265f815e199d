// What a converter sees of one ONNX node, and how it adds operators to the graph.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "graph/op.h"

namespace burnish::onnx_pb {
class AttributeProto;
class GraphProto;
class NodeProto;
}  // namespace burnish::onnx_pb

namespace burnish::onnx {

class Importer;
struct Scope;

// A gap, thrown by a converter and collected by the importer, which goes on with the next node.
struct Gap {
  std::string reason;
};

class NodeContext {
 public:
  NodeContext(Importer& importer, Scope& scope, const onnx_pb::NodeProto& node, std::string source,
              int64_t opset, std::vector<ValueId> inputs);

  int64_t opset() const { return opset_; }
  std::string_view op_type() const;

  // Inputs. An optional one is absent when its name is empty or the list ends before it.
  size_t inputs() const { return inputs_.size(); }
  bool has(size_t i) const { return i < inputs_.size() && inputs_[i] != no_value; }
  ValueId in(size_t i) const;  // UserError when absent
  ValueId in_or_none(size_t i) const { return has(i) ? inputs_[i] : no_value; }
  const std::vector<ValueId>& all_inputs() const { return inputs_; }
  const TensorType& type(size_t i) const { return type_of(in(i)); }
  const Shape& shape(size_t i) const { return type(i).shape; }
  DType dtype(size_t i) const { return type(i).dtype; }
  int64_t rank(size_t i) const { return static_cast<int64_t>(shape(i).size()); }
  // The value of a constant input, else null.
  TensorPtr constant(size_t i) const;
  // Content of an integer input that has to be constant: a Gap when it is only known at run time.
  std::vector<int64_t> int_list(size_t i) const;
  std::vector<double> float_list(size_t i) const;

  // Sequences exist only while a model is imported: a list of values, handled by number like a
  // value.
  const std::vector<ValueId>& sequence(size_t i) const;  // UserError when the input is none
  ValueId make_sequence(std::vector<ValueId> values);

  // Attributes. Reading one marks it as understood; those left over make the node unsupported.
  bool has_attr(std::string_view name);
  int64_t attr_i(std::string_view name, int64_t otherwise = 0);
  double attr_f(std::string_view name, double otherwise = 0);
  std::string attr_s(std::string_view name, std::string otherwise = {});
  std::vector<int64_t> attr_ints(std::string_view name, std::vector<int64_t> otherwise = {});
  std::vector<double> attr_floats(std::string_view name, std::vector<double> otherwise = {});
  std::vector<std::string> attr_strings(std::string_view name);
  TensorPtr attr_tensor(std::string_view name);  // null when absent
  const onnx_pb::GraphProto* attr_graph(std::string_view name);
  void
  ignore(std::initializer_list<std::string_view> names);  // attributes without effect on the result
  // Names of attributes that no call asked for.
  std::vector<std::string> unread_attributes() const;

  // Outputs.
  size_t outputs() const;
  bool wants(size_t i) const;  // the output has a name

  // Building. Nodes over small constants are evaluated at once, so that arithmetic on shapes leaves
  // constants.
  ValueId add(std::string_view op, std::vector<ValueId> inputs, Attrs attrs = {});
  std::vector<ValueId> add_many(std::string_view op, std::vector<ValueId> inputs, Attrs attrs = {});
  ValueId constant_of(TensorPtr data);
  ValueId int_vector(const std::vector<int64_t>& values);  // i64[n]
  ValueId int_scalar(int64_t value);                       // i64[]
  ValueId scalar(double value, DType dtype);               // [] of any type
  ValueId scalar_like(double value, ValueId like) { return scalar(value, type_of(like).dtype); }
  const TensorType& type_of(ValueId v) const;
  TensorPtr constant_value(ValueId v) const;  // null when it is not constant

  ValueId cast(ValueId v, DType to);  // the value itself when it has that type
  ValueId reshape(ValueId v, const Shape& shape);
  ValueId transpose(ValueId v, const std::vector<int64_t>& perm);
  ValueId slice(ValueId v, int64_t axis, int64_t start, int64_t end);
  ValueId reduce(std::string_view op, ValueId v, const std::vector<int64_t>& axes, bool keepdims);

  // The outputs of a subgraph whose inputs are given; it may read the names around this node.
  std::vector<ValueId> inline_graph(const onnx_pb::GraphProto& graph,
                                    const std::vector<ValueId>& inputs);

  template <class... Args>
  [[noreturn]] void gap(fmt::format_string<Args...> text, Args&&... args) const {
    throw Gap{fmt::format(text, std::forward<Args>(args)...)};
  }

 private:
  void require_tensor(ValueId v) const;  // UserError when it is a sequence
  const onnx_pb::AttributeProto* find(std::string_view name, int type);

  Importer& importer_;
  Scope& scope_;
  const onnx_pb::NodeProto& node_;
  std::string source_;
  int64_t opset_;
  std::vector<ValueId> inputs_;
  std::set<std::string, std::less<>> read_;
};

// Attributes in one expression: attrs({{"axis", 1}, {"mode", "edge"}}).
Attrs attrs(std::initializer_list<std::pair<const char*, AttrValue>> list);
inline AttrValue ints(std::vector<int64_t> v) { return v; }
inline AttrValue integer(int64_t v) { return v; }
inline AttrValue real(double v) { return v; }
inline AttrValue text(std::string v) { return v; }

// Gives the values of a node's outputs; fewer than the node names are an error.
using Converter = std::vector<ValueId> (*)(NodeContext&);

struct OnnxOp {
  std::string_view name;
  Converter convert;
  std::string_view domain = "";
  bool sequences = false;  // takes sequences; the others never see one
};

const OnnxOp* find_onnx_op(std::string_view domain, std::string_view name);

// The families, one file each: convert_<family>.cpp.
std::span<const OnnxOp> math_conversions();
std::span<const OnnxOp> nn_conversions();
std::span<const OnnxOp> norm_conversions();
std::span<const OnnxOp> reduce_conversions();
std::span<const OnnxOp> shape_conversions();
std::span<const OnnxOp> index_conversions();
std::span<const OnnxOp> resize_conversions();
std::span<const OnnxOp> quant_conversions();
std::span<const OnnxOp> attention_conversions();
std::span<const OnnxOp> recurrent_conversions();
std::span<const OnnxOp> loss_conversions();
std::span<const OnnxOp> signal_conversions();
std::span<const OnnxOp> sequence_conversions();
std::span<const OnnxOp> control_conversions();

// An axis of -rank..rank-1 made non-negative; UserError otherwise.
int64_t normal_axis(int64_t axis, int64_t rank);

}  // namespace burnish::onnx
