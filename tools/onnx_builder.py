"""Builds ONNX graphs node by node, in the way that exporters write them."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 17


class Builder:
    def __init__(self, name, seed):
        self.name = name
        self.random = np.random.default_rng(seed)
        self.nodes, self.weights = [], []

    def node(self, op, inputs, outputs=1, **attributes):
        """The name of the node's output, or the names of them."""
        name = f"{op.lower()}_{len(self.nodes)}"
        names = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=name, **attributes))
        return name if outputs == 1 else names

    def weight(self, array, dtype=np.float32):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array, dtype=dtype, order="C"), name))
        return name

    def normal(self, shape, mean, deviation):
        return self.random.normal(mean, deviation, shape)

    def finished(self, inputs, outputs):
        """The model; `inputs` and `outputs` are pairs of a name and (element type, shape)."""
        def tensors(pairs):
            return [helper.make_tensor_value_info(name, *of) for name, of in pairs.items()]

        graph = helper.make_graph(self.nodes, self.name, tensors(inputs), tensors(outputs), self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        onnx.checker.check_model(model)
        return model
