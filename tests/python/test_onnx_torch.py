"""bench/onnx_torch.py against ONNX Runtime, and bench/strip_weights.py; the former where PyTorch is installed."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))


def model_of(nodes, weights, shape):
    graph = helper.make_graph(nodes, "test", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(array, name) for name, array in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def convolutions(random):
    """What is folded into weights, and activations written out."""
    def normal(*shape):
        return random.standard_normal(shape, dtype=np.float32)

    weights = {"w": normal(6, 2, 3, 3), "b": normal(6), "g": normal(6), "s": normal(6), "m": normal(6), "v": np.abs(normal(6)) + 1,
               "c": normal(1, 6, 1, 1), "w2": normal(4, 6, 1, 1), "half": np.float32(0.5), "one": np.float32(1), "root": np.float32(2**0.5)}
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["a"], pads=[0, 1, 1, 1], strides=[2, 1], group=2),
             helper.make_node("BatchNormalization", ["a", "g", "s", "m", "v"], ["n"]),
             helper.make_node("Mul", ["n", "c"], ["k"]),
             helper.make_node("Sigmoid", ["k"], ["i"]), helper.make_node("Mul", ["k", "i"], ["u"]),
             helper.make_node("Conv", ["u", "w2"], ["p"]),
             helper.make_node("Div", ["p", "root"], ["d"]), helper.make_node("Erf", ["d"], ["e"]), helper.make_node("Add", ["e", "one"], ["f"]),
             helper.make_node("Mul", ["p", "f"], ["h"]), helper.make_node("Mul", ["h", "half"], ["q"]),
             helper.make_node("MaxPool", ["q"], ["y"], kernel_shape=[2, 3], pads=[0, 2, 0, 0])]
    return model_of(nodes, weights, [2, 4, 11, 9])


def attention(random):
    weights = {"w": random.standard_normal((8, 24), dtype=np.float32), "b": random.standard_normal(24, dtype=np.float32),
               "scale": np.float32(0.3), "mask": random.standard_normal((1, 1, 1, 5), dtype=np.float32),
               "shape": np.array([2, 5, 2, 12], np.int64), "sizes": np.array([4, 4, 4], np.int64), "flat": np.array([0, 0, -1], np.int64)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["l"]),
             helper.make_node("Reshape", ["l", "shape"], ["r"]), helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1, 3]),
             helper.make_node("Split", ["t", "sizes"], ["q", "k", "v"], axis=3), helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]),
             helper.make_node("MatMul", ["q", "kt"], ["s"]), helper.make_node("Mul", ["s", "scale"], ["ss"]), helper.make_node("Add", ["ss", "mask"], ["sm"]),
             helper.make_node("Softmax", ["sm"], ["p"]), helper.make_node("MatMul", ["p", "v"], ["o"]),
             helper.make_node("Transpose", ["o"], ["ot"], perm=[0, 2, 1, 3]), helper.make_node("Reshape", ["ot", "flat"], ["y"])]
    return model_of(nodes, weights, [2, 5, 8])


@pytest.mark.parametrize("make, used", [(convolutions, {"conv2d", "silu", "gelu", "max_pool2d"}),
                                        (attention, {"linear", "scaled_dot_product_attention"})])
def test_modules_compute_what_onnxruntime_does(make, used):
    torch = pytest.importorskip("torch")
    onnxruntime = pytest.importorskip("onnxruntime")
    from onnx_torch import torch_module

    random = np.random.default_rng(3)
    model = make(random)
    x = random.standard_normal([dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim], dtype=np.float32)
    expected, = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})
    module = torch_module(model, {})
    names = {node.target.__name__ for node in module.graph.nodes if node.op == "call_function"}
    assert used <= names and not names & {"batch_norm", "sigmoid", "erf", "softmax", "add", "mul"}
    for precision, tolerance in ((module.double(), 1e-5), (module.float(), 1e-5)):
        result, = precision(torch.from_numpy(x).to(next(precision.buffers()).dtype))
        assert result.shape == expected.shape
        np.testing.assert_allclose(result.numpy(), expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_stripped_weights_are_restored_alike():
    from strip_weights import restored, stripped

    random = np.random.default_rng(5)
    large = (0.25 + 3 * random.standard_normal((64, 80), dtype=np.float32)).astype(np.float32)
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(large + 1))
    whole = model_of([constant, helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "c"], ["y"])],
                     {"w": large, "small": np.ones(3, np.float32)}, [64, 64])
    small = stripped(onnx.ModelProto.FromString(whole.SerializeToString()))
    assert small.ByteSize() < 2000 < whole.ByteSize()
    once, again = (restored(onnx.ModelProto.FromString(small.SerializeToString())) for _ in range(2))
    assert once.SerializeToString() == again.SerializeToString()
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in once.graph.initializer}
    assert weights["w"].shape == large.shape and (weights["small"] == 1).all()
    assert weights["w"].mean() == pytest.approx(large.mean(), abs=0.15) and weights["w"].std() == pytest.approx(large.std(), rel=0.05)
    assert (weights["w"] != large).all()
    assert numpy_helper.to_array(once.graph.node[0].attribute[0].t).shape == large.shape
    assert not once.metadata_props
