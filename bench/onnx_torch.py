"""ONNX models as PyTorch modules, so that PyTorch can do its best with them.

    module = torch_module(onnx.load(path), {"input": (1, 3, 224, 224)}).half().cuda()

The module is an fx.GraphModule over the functions of torch: shapes are bound, whatever depends on shapes and weights alone
is calculated at once, weights are buffers, and nothing of Python depends on data: it can be captured and compiled. What a
user who writes for PyTorch would write is recognised (onnx_torch_ops.py): scales and biases are in the weights, SiLU, GELU,
hard-swish and attention are PyTorch's own functions. All is calculated in float64, and `.float()` or `.half()` round once.
"""

import collections

import onnx
import torch
from onnx import numpy_helper
from torch import fx

import onnx_torch_ops


def torch_module(model, shapes):
    """`shapes`: of inputs by name; the model's own where one is missing. The module returns the list of its outputs."""
    return Importer(model, shapes).module()


def tensor_of(proto):
    """A constant: floats as float64."""
    array = torch.from_numpy(numpy_helper.to_array(proto).copy())
    return array.double() if array.is_floating_point() else array


class Importer:
    """Walks over the nodes. A value is a torch.Tensor, which is a constant, or an fx.Node, whose meta["val"] is a tensor
    without memory that has its shape."""

    def __init__(self, model, shapes):
        self.model = model
        self.opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        self.graph, self.root = fx.Graph(), torch.nn.Module()
        self.values = {"": None} | {tensor.name: tensor_of(tensor) for tensor in model.graph.initializer}
        self.attributes = {}  # of constants that the graph uses, by identity; each keeps its tensor alive
        self.done = set()  # nodes that others have taken in
        self.users = collections.defaultdict(list)
        for node in model.graph.node:
            for name in set(node.input):
                self.users[name].append(node)
        self.results = {tensor.name for tensor in model.graph.output}
        for tensor in model.graph.input:
            if tensor.name not in self.values:
                self.values[tensor.name] = self.placeholder(tensor, shapes)

    def placeholder(self, tensor, shapes):
        kind = tensor.type.tensor_type
        shape = shapes.get(tensor.name) or [dim.dim_value for dim in kind.shape.dim]
        if any(size <= 0 for size in shape):
            raise ValueError(f"input {tensor.name} has no fixed shape")
        numbers = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        dtype = onnx_torch_ops.torch_dtype(kind.elem_type) if numbers.kind != "f" else torch.float64
        node = self.graph.placeholder("input_" + "".join(c if c.isalnum() else "_" for c in tensor.name))
        node.meta["val"] = torch.empty(tuple(shape), dtype=dtype, device="meta")
        return node

    def module(self):
        for node in self.model.graph.node:
            if id(node) not in self.done:
                self.convert(node)
        self.graph.output([self.operand(self.values[tensor.name]) for tensor in self.model.graph.output])
        self.graph.eliminate_dead_code()
        return fx.GraphModule(self.root, self.graph).eval().requires_grad_(False)

    def convert(self, node):
        converter = onnx_torch_ops.CONVERTERS.get(node.op_type)
        if converter is None or node.domain not in ("", "ai.onnx"):
            raise NotImplementedError(f"{node.op_type} of node {node.name or node.output[0]}")
        attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
        attributes = {name: value.decode() if isinstance(value, bytes) else value for name, value in attributes.items()}
        try:
            results = converter(self, node, attributes, *(self.values[name] for name in node.input))
        except Exception as error:
            error.add_note(f"in node {node.name or node.output[0]} ({node.op_type})")
            raise
        results = results if isinstance(results, (list, tuple)) else [results]
        for name, value in zip(node.output, results):
            self.values.setdefault(name, value)  # a converter that took in what follows has set more

    def call(self, function, *args, **kwargs):
        """A node that calls the function; of constants alone the result."""
        everything = [*args, *kwargs.values()]
        everything += [element for entry in everything if isinstance(entry, (list, tuple)) for element in entry]
        if not any(isinstance(entry, fx.Node) for entry in everything):
            return function(*args, **kwargs)
        operands, named = fx.node.map_aggregate((args, kwargs), self.operand)
        node = self.graph.call_function(function, tuple(operands), dict(named))
        shadows, named = fx.node.map_aggregate((tuple(operands), dict(named)), lambda entry: entry.meta["val"] if isinstance(entry, fx.Node) else entry)
        node.meta["val"] = function(*shadows, **named)
        return node

    def operand(self, value):
        """What stands for a constant in the graph: an attribute of the module."""
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) not in self.attributes:
            name = f"constant_{len(self.attributes)}"
            self.root.register_buffer(name, value.contiguous())
            node = self.graph.get_attr(name)
            node.meta["val"] = value.to("meta")
            self.attributes[id(value)] = (node, value)
        return self.attributes[id(value)][0]

    def shape(self, value):
        return list(value.shape if isinstance(value, torch.Tensor) else value.meta["val"].shape)

    def is_float(self, value):
        return (value if isinstance(value, torch.Tensor) else value.meta["val"]).is_floating_point()

    def only_user(self, name):
        """The one node that uses a value which is no output of the model."""
        users = self.users[name]
        return users[0] if len(users) == 1 and name not in self.results else None

    def take_affine(self, name, axis, rank, channels):
        """Scales and shifts per channel that follow the value `name`, one after the other, as (scale, shift, the name of
        the last value); their nodes are not converted any more. The constants have one element or one a channel."""
        scale, shift = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        while (node := self.only_user(name)) is not None:
            found = self.affine_of(node, name, axis, rank, channels)
            if found is None:
                break
            scale, shift = scale * found[0], shift * found[0] + found[1]
            self.done.add(id(node))
            name = node.output[0]
        return scale, shift, name

    def affine_of(self, node, name, axis, rank, channels):
        others = [self.values.get(other) for other in node.input if other != name]
        if not others or not all(isinstance(other, torch.Tensor) and other.is_floating_point() for other in others):
            return None
        if node.op_type == "BatchNormalization":
            gamma, beta, mean, variance = others
            epsilon = next((entry.f for entry in node.attribute if entry.name == "epsilon"), 1e-5)
            scale = gamma / torch.sqrt(variance + epsilon)
            return scale, beta - mean * scale
        if node.op_type not in ("Add", "Mul", "Sub", "Div") or len(others) != 1 or node.input[0] != name and node.op_type in ("Sub", "Div"):
            return None
        shape = [1] * (rank - others[0].dim()) + list(others[0].shape)
        if len(shape) > rank or shape != [1] * rank and shape != [channels if i == axis else 1 for i in range(rank)]:
            return None
        value = others[0].flatten() if others[0].numel() > 1 else others[0].reshape(())
        one, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        return {"Add": (one, value), "Sub": (one, -value), "Mul": (value, zero), "Div": (1 / value, zero)}[node.op_type]
