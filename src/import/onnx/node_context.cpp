#include "import/onnx/node_context.h"

#include <array>

#include "import/onnx/importer.h"
#include "onnx.pb.h"

namespace burnish::onnx {

using onnx_pb::AttributeProto;

NodeContext::NodeContext(Importer& importer, Scope& scope, const onnx_pb::NodeProto& node,
                         std::string source, int64_t opset, std::vector<ValueId> inputs)
    : importer_(importer), scope_(scope), node_(node), source_(std::move(source)), opset_(opset),
      inputs_(std::move(inputs)) {}

std::string_view NodeContext::op_type() const { return node_.op_type(); }

// ---- inputs

ValueId NodeContext::in(size_t i) const {
  require(has(i), "input {} is missing", i);
  return inputs_[i];
}

TensorPtr NodeContext::constant(size_t i) const {
  return has(i) ? constant_value(inputs_[i]) : nullptr;
}

std::vector<int64_t> NodeContext::int_list(size_t i) const {
  const TensorPtr data = constant_value(in(i));
  if (!data) gap("input {} is computed at run time, but it has to be a constant", i);
  require(is_int(data->dtype), "input {} has elements of type {}, but integers are needed", i,
          name_of(data->dtype));
  std::vector<int64_t> values;
  for (int64_t k = 0; k < data->size(); ++k) values.push_back(data->get(k).i);
  return values;
}

std::vector<double> NodeContext::float_list(size_t i) const {
  const TensorPtr data = constant_value(in(i));
  if (!data) gap("input {} is computed at run time, but it has to be a constant", i);
  std::vector<double> values;
  for (int64_t k = 0; k < data->size(); ++k) {
    const Scalar s = data->get(k);
    values.push_back(is_float(s.dtype) ? s.f : static_cast<double>(s.i));
  }
  return values;
}

const std::vector<ValueId>& NodeContext::sequence(size_t i) const {
  require(Importer::is_sequence(in(i)), "input {} is a tensor, but a sequence is needed", i);
  return importer_.sequence(in(i));
}

void NodeContext::require_tensor(ValueId v) const {
  require(!Importer::is_sequence(v), "a sequence is given where a tensor is needed");
}

ValueId NodeContext::make_sequence(std::vector<ValueId> values) {
  return importer_.add_sequence(std::move(values));
}

// ---- attributes

const AttributeProto* NodeContext::find(std::string_view name, int type) {
  read_.emplace(name);
  for (const AttributeProto& attribute : node_.attribute()) {
    if (attribute.name() != name) continue;
    const AttributeProto* a = &attribute;
    if (!a->ref_attr_name().empty()) {
      require(scope_.attributes != nullptr,
              "attribute '{}' refers to '{}', but this is no function's body", name,
              a->ref_attr_name());
      const auto it = scope_.attributes->find(a->ref_attr_name());
      if (it == scope_.attributes->end()) return nullptr;
      a = it->second;
    }
    require(type == AttributeProto::UNDEFINED || a->type() == type,
            "attribute '{}' has type {}, but {} is needed", name, static_cast<int>(a->type()),
            type);
    return a;
  }
  return nullptr;
}

bool NodeContext::has_attr(std::string_view name) {
  return find(name, AttributeProto::UNDEFINED) != nullptr;
}

int64_t NodeContext::attr_i(std::string_view name, int64_t otherwise) {
  const AttributeProto* a = find(name, AttributeProto::INT);
  return a ? a->i() : otherwise;
}

double NodeContext::attr_f(std::string_view name, double otherwise) {
  const AttributeProto* a = find(name, AttributeProto::FLOAT);
  return a ? static_cast<double>(a->f()) : otherwise;
}

std::string NodeContext::attr_s(std::string_view name, std::string otherwise) {
  const AttributeProto* a = find(name, AttributeProto::STRING);
  return a ? a->s() : otherwise;
}

std::vector<int64_t> NodeContext::attr_ints(std::string_view name, std::vector<int64_t> otherwise) {
  const AttributeProto* a = find(name, AttributeProto::INTS);
  if (!a) return otherwise;
  return {a->ints().begin(), a->ints().end()};
}

std::vector<double> NodeContext::attr_floats(std::string_view name, std::vector<double> otherwise) {
  const AttributeProto* a = find(name, AttributeProto::FLOATS);
  if (!a) return otherwise;
  return {a->floats().begin(), a->floats().end()};
}

std::vector<std::string> NodeContext::attr_strings(std::string_view name) {
  const AttributeProto* a = find(name, AttributeProto::STRINGS);
  if (!a) return {};
  return {a->strings().begin(), a->strings().end()};
}

TensorPtr NodeContext::attr_tensor(std::string_view name) {
  const AttributeProto* a = find(name, AttributeProto::TENSOR);
  return a ? importer_.tensor(a->t(), std::string(name)) : nullptr;
}

const onnx_pb::GraphProto* NodeContext::attr_graph(std::string_view name) {
  const AttributeProto* a = find(name, AttributeProto::GRAPH);
  return a ? &a->g() : nullptr;
}

void NodeContext::ignore(std::initializer_list<std::string_view> names) {
  for (std::string_view name : names) read_.emplace(name);
}

std::vector<std::string> NodeContext::unread_attributes() const {
  std::vector<std::string> names;
  for (const AttributeProto& a : node_.attribute()) {
    if (!read_.contains(a.name())) names.push_back(a.name());
  }
  return names;
}

// ---- outputs

size_t NodeContext::outputs() const { return static_cast<size_t>(node_.output_size()); }

bool NodeContext::wants(size_t i) const {
  return i < outputs() && !node_.output(static_cast<int>(i)).empty();
}

// ---- building

std::vector<ValueId> NodeContext::add_many(std::string_view op, std::vector<ValueId> inputs,
                                           Attrs attrs) {
  const OpDef* def = find_op(op);
  if (def == nullptr) gap("there is no operator '{}' yet", op);
  for (ValueId v : inputs) require_tensor(v);
  return importer_.emit(*def, std::move(inputs), std::move(attrs), source_);
}

ValueId NodeContext::add(std::string_view op, std::vector<ValueId> inputs, Attrs attrs) {
  const std::vector<ValueId> out = add_many(op, std::move(inputs), std::move(attrs));
  check(out.size() == 1, "{} has {} outputs where one was expected", op, out.size());
  return out[0];
}

ValueId NodeContext::constant_of(TensorPtr data) {
  return importer_.add_made_constant(std::move(data));
}

ValueId NodeContext::int_vector(const std::vector<int64_t>& values) {
  auto t = std::make_shared<Tensor>(DType::I64, Shape{static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), t->data<int64_t>());
  return constant_of(std::move(t));
}

ValueId NodeContext::int_scalar(int64_t value) {
  auto t = std::make_shared<Tensor>(DType::I64, Shape{});
  t->data<int64_t>()[0] = value;
  return constant_of(std::move(t));
}

ValueId NodeContext::scalar(double value, DType dtype) {
  auto t = std::make_shared<Tensor>(dtype, Shape{});
  t->set(0, evaluate_cast(dtype, Scalar{.dtype = DType::F64, .f = value}));
  return constant_of(std::move(t));
}

const TensorType& NodeContext::type_of(ValueId v) const {
  require_tensor(v);
  return importer_.graph().type(v);
}

TensorPtr NodeContext::constant_value(ValueId v) const {
  require_tensor(v);
  return importer_.graph().values[v].constant;
}

ValueId NodeContext::cast(ValueId v, DType to) {
  if (type_of(v).dtype == to) return v;
  return add("cast", {v}, attrs({{"to", text(std::string(name_of(to)))}}));
}

ValueId NodeContext::reshape(ValueId v, const Shape& shape) {
  if (type_of(v).shape == shape) return v;
  return add("reshape", {v, int_vector(shape)}, attrs({{"allowzero", integer(1)}}));
}

ValueId NodeContext::transpose(ValueId v, const std::vector<int64_t>& perm) {
  return add("transpose", {v}, attrs({{"perm", ints(perm)}}));
}

ValueId NodeContext::slice(ValueId v, int64_t axis, int64_t start, int64_t end) {
  return add("slice", {v, int_vector({start}), int_vector({end}), int_vector({axis})});
}

ValueId NodeContext::reduce(std::string_view op, ValueId v, const std::vector<int64_t>& axes,
                            bool keepdims) {
  return add(op, {v}, attrs({{"axes", ints(axes)}, {"keepdims", integer(keepdims)}}));
}

std::vector<ValueId> NodeContext::inline_graph(const onnx_pb::GraphProto& graph,
                                               const std::vector<ValueId>& inputs) {
  return importer_.inline_graph(graph, inputs, scope_);
}

// ---- the table

Attrs attrs(std::initializer_list<std::pair<const char*, AttrValue>> list) {
  Attrs a;
  for (const auto& [name, value] : list) a.set(name, value);
  return a;
}

const OnnxOp* find_onnx_op(std::string_view domain, std::string_view name) {
  if (domain == "ai.onnx") domain = "";
  for (const auto family :
       {math_conversions(), nn_conversions(), norm_conversions(), reduce_conversions(),
        shape_conversions(), index_conversions(), resize_conversions(), quant_conversions(),
        attention_conversions(), recurrent_conversions(), loss_conversions(), signal_conversions(),
        sequence_conversions(), control_conversions()}) {
    for (const OnnxOp& op : family) {
      if (op.name == name && op.domain == domain) return &op;
    }
  }
  return nullptr;
}

int64_t normal_axis(int64_t axis, int64_t rank) {
  require(axis >= -rank && axis < rank, "axis {} lies outside of rank {}", axis, rank);
  return axis < 0 ? axis + rank : axis;
}

}  // namespace burnish::onnx
