"""The networks that the figures are taken on, and how a model file is prepared for the peers."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build/models"

# File, and the shape that each input is bound to.
MODELS = {
    "centerface": ("centerface.onnx", {"input.1": (1, 3, 544, 960)}),
    "nudenet_320": ("nudenet_320n.onnx", {"images": (1, 3, 320, 320)}),
    "nudenet_640": ("nudenet_320n.onnx", {"images": (1, 3, 640, 640)}),
    "ppocr_det": ("ppocr_det.onnx", {"x": (1, 3, 640, 640)}),
    "ppocr_rec": ("ppocr_rec.onnx", {"x": (1, 3, 48, 320)}),
    "ppocr_cls": ("ppocr_cls.onnx", {"x": (1, 3, 48, 192)}),
    "mobilenetv2": ("mobilenetv2.onnx", {"input": (1, 3, 224, 224)}),
    "efficientnet_b0": ("efficientnet_b0.onnx", {"input": (1, 3, 224, 224)}),
    "resnet50": ("resnet50.onnx", {"input": (1, 3, 224, 224)}),
    "minilm_l6": ("minilm_l6.onnx", {}),
    "vit_b16": ("vit_b16.onnx", {"input": (1, 3, 224, 224)}),
}


def extra():
    """The networks of tools/extra_models.py, which nothing was tuned on, in the form of MODELS."""
    if str(ROOT / "tools") not in sys.path:
        sys.path.insert(0, str(ROOT / "tools"))
    import extra_models

    return {name: (f"{name}.onnx", {"input": tuple(shape)}) for name, (_, shape) in extra_models.MODELS.items()}


def ensure_models(names):
    """Makes and fetches what is missing of MODELS and of `extra`."""
    tools = ["fetch_models.py", "make_models.py"] if any(name in MODELS for name in names) else []
    if any(name not in MODELS for name in names):
        tools.append("extra_models.py")
    for tool in tools:
        subprocess.run([sys.executable, ROOT / "tools" / tool, "--into", FOLDER], check=True)


def batched(model, shapes, batch):
    """Shapes of all inputs with `batch` of them at once."""
    result = {}
    for tensor in inputs_of(model):
        shape = shapes.get(tensor.name) or [dim.dim_value for dim in tensor.type.tensor_type.shape.dim]
        result[tensor.name] = (batch, *shape[1:])
    return result


def inputs_of(model):
    """The inputs that are no weights."""
    weights = {weight.name for weight in model.graph.initializer}
    return [tensor for tensor in model.graph.input if tensor.name not in weights]


def prepared(model, shapes):
    """The model as a peer gets it, so that it can do its best: weights are constants and no inputs (ONNX Runtime folds
    and packs only those), shapes are bound, and what was derived from other shapes is left out."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    inputs = inputs_of(result)
    del result.graph.input[:]
    result.graph.input.extend(inputs)
    result.ir_version = max(result.ir_version, 4)
    del result.graph.value_info[:]
    for tensor in result.graph.output:
        tensor.type.tensor_type.ClearField("shape")
    for tensor in result.graph.input:
        if tensor.name in shapes:
            shape = tensor.type.tensor_type.shape
            del shape.dim[:]
            for size in shapes[tensor.name]:
                shape.dim.add().dim_value = size
    return result


def table_sizes(model):
    """Inputs that are indices into a table of weights (tokens), with its length."""
    lengths = {weight.name: weight.dims[0] for weight in model.graph.initializer if weight.dims}
    return {node.input[1]: lengths[node.input[0]] for node in model.graph.node
            if node.op_type == "Gather" and node.input[0] in lengths}


def feeds_for(model, shapes, seed=0):
    """A random array for each input: images' 0-255 would do as well as 0-1, and networks here take either."""
    random = np.random.default_rng(seed)
    limits = table_sizes(model)
    feeds = {}
    for tensor in inputs_of(model):
        kind = tensor.type.tensor_type
        shape = shapes.get(tensor.name) or tuple(dim.dim_value for dim in kind.shape.dim)
        if any(size <= 0 for size in shape):
            raise SystemExit(f"input {tensor.name} has no fixed shape; give --shape {tensor.name}=1x3x...")
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        if np.issubdtype(dtype, np.floating):
            feeds[tensor.name] = random.random(shape, dtype=np.float32).astype(dtype)
        else:
            feeds[tensor.name] = random.integers(0, limits.get(tensor.name, 2), shape).astype(dtype)
    return feeds
