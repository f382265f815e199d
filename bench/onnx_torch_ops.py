"""How onnx_torch.py writes each operator of ONNX in functions of torch: converter(importer, node, attributes, *inputs)."""

import math
import operator

import onnx
import torch
import torch.nn.functional as F
from torch import fx

CONVERTERS = {}


def converts(*names):
    def register(function):
        CONVERTERS.update(dict.fromkeys(names, function))
        return function
    return register


def torch_dtype(element_type):
    return torch.from_numpy(onnx.numpy_helper.np.zeros(0, onnx.helper.tensor_dtype_to_np_dtype(element_type))).dtype


def ints(value):
    """A constant list of whole numbers: shapes, axes, sizes. None stays None."""
    if isinstance(value, fx.Node):
        raise NotImplementedError("a shape that depends on data")
    return value if value is None or isinstance(value, list) else [int(x) for x in value.reshape(-1)]


def is_call(value, *functions):
    return isinstance(value, fx.Node) and value.op == "call_function" and value.target in functions


def axes_of(attributes, value, default=None):
    """Axes as an attribute (before opset 13) or an input."""
    return attributes["axes"] if "axes" in attributes else ints(value) if value is not None else default


# ---- convolutions and products

def pads_of(importer, x, attributes, kernel, strides, dilations):
    """(before, after) of every spatial axis."""
    rank, mode = len(kernel), attributes.get("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = attributes.get("pads", [0] * 2 * rank)
        return list(zip(pads[:rank], pads[rank:]))
    if mode == "VALID":
        return [(0, 0)] * rank
    result = []
    for size, k, s, d in zip(importer.shape(x)[2:], kernel, strides, dilations):
        total = max(0, (math.ceil(size / s) - 1) * s + (k - 1) * d + 1 - size)
        result.append((total // 2, total - total // 2) if mode == "SAME_UPPER" else (total - total // 2, total // 2))
    return result


def padded(importer, x, pads, value=0.0):
    """x with what of `pads` is not the same on both sides, and the padding that remains for the operator."""
    if all(before == after for before, after in pads):
        return x, [before for before, _ in pads]
    return importer.call(F.pad, x, [n for pair in reversed(pads) for n in pair], "constant", value), [0] * len(pads)


def scaled(importer, node, weight, bias, channel_axis_of_weight, channel_axis, rank):
    """Weight and bias with the scales and shifts that follow the node, and the name of the value that is then calculated."""
    if not isinstance(weight, torch.Tensor) or isinstance(bias, fx.Node):
        return weight, bias, node.output[0]
    channels = weight.shape[channel_axis_of_weight]
    scale, shift, name = importer.take_affine(node.output[0], channel_axis, rank, channels)
    if name != node.output[0]:
        wide = scale.expand(channels)
        shape = [channels if axis == channel_axis_of_weight % weight.dim() else 1 for axis in range(weight.dim())]
        bias = (bias if bias is not None else 0) * wide + shift
        weight = weight * wide.reshape(shape)
    return weight, bias, name


@converts("Conv")
def conv(importer, node, attributes, x, weight, bias=None):
    kernel = importer.shape(weight)[2:]
    strides, dilations = attributes.get("strides", [1] * len(kernel)), attributes.get("dilations", [1] * len(kernel))
    x, pads = padded(importer, x, pads_of(importer, x, attributes, kernel, strides, dilations))
    weight, bias, name = scaled(importer, node, weight, bias, 0, 1, len(kernel) + 2)
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[len(kernel)]
    importer.values[name] = importer.call(function, x, weight, bias, strides, pads, dilations, attributes.get("group", 1))
    return importer.values[name]


@converts("ConvTranspose")
def conv_transpose(importer, node, attributes, x, weight, bias=None):
    kernel, group = importer.shape(weight)[2:], attributes.get("group", 1)
    strides, dilations = attributes.get("strides", [1] * len(kernel)), attributes.get("dilations", [1] * len(kernel))
    if attributes.get("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in attributes:
        raise NotImplementedError("auto_pad and output_shape of ConvTranspose")
    pads = pads_of(importer, x, attributes, kernel, strides, dilations)
    if any(before != after for before, after in pads):
        raise NotImplementedError("padding that is not the same on both sides of ConvTranspose")
    name = node.output[0]
    if group == 1:
        weight, bias, name = scaled(importer, node, weight, bias, 1, 1, len(kernel) + 2)
    function = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[len(kernel)]
    importer.values[name] = importer.call(function, x, weight, bias, strides, [before for before, _ in pads],
                                          attributes.get("output_padding", [0] * len(kernel)), group, dilations)
    return importer.values[name]


def linear(importer, node, x, weight, bias):
    """weight: (out, in)"""
    weight, bias, name = scaled(importer, node, weight, bias, 0, len(importer.shape(x)) - 1, len(importer.shape(x)))
    importer.values[name] = importer.call(F.linear, x, weight.contiguous(), bias)
    return importer.values[name]


@converts("Gemm")
def gemm(importer, node, attributes, a, b, c=None):
    if attributes.get("transA", 0):
        a = importer.call(torch.t, a)
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    constant = isinstance(b, torch.Tensor) and (c is None or isinstance(c, torch.Tensor))
    if constant and (c is None or c.numel() in (1, importer.shape(b)[0 if attributes.get("transB", 0) else 1])):
        weight = alpha * (b if attributes.get("transB", 0) else b.T)
        return linear(importer, node, a, weight, None if c is None else (beta * c).reshape(-1).expand(weight.shape[0]))
    product = importer.call(torch.matmul, a, importer.call(torch.t, b) if attributes.get("transB", 0) else b)
    if alpha != 1:
        product = importer.call(torch.mul, product, alpha)
    return product if c is None else importer.call(torch.add, product, c, alpha=beta)


@converts("MatMul")
def matmul(importer, node, attributes, a, b):
    if isinstance(a, fx.Node) and isinstance(b, torch.Tensor) and b.dim() == 2:
        return linear(importer, node, a, b.T, None)
    return attention(importer, a, b) or importer.call(torch.matmul, a, b)


def attention(importer, probabilities, v):
    """softmax(q kᵀ · scale + mask) v as PyTorch's fused function; None where it is something else."""
    rank = len(importer.shape(v))
    if not is_call(probabilities, F.softmax) or rank not in (3, 4) or probabilities.kwargs["dim"] not in (-1, rank - 1):
        return None
    scores, mask, scale = probabilities.args[0], None, 1.0
    while True:
        if is_call(scores, torch.mul, torch.div) and isinstance(scores.args[1], (int, float)):
            scale = scale * scores.args[1] if scores.target is torch.mul else scale / scores.args[1]
            scores = scores.args[0]
        elif is_call(scores, torch.add) and mask is None and scale == 1.0 and all(isinstance(x, fx.Node) for x in scores.args):
            inner = [x for x in scores.args if is_call(x, torch.mul, torch.div, torch.matmul)]
            if not inner:
                return None
            scores, mask = inner[0], scores.args[1] if inner[0] is scores.args[0] else scores.args[0]
        else:
            break
    if not is_call(scores, torch.matmul) or len(importer.shape(scores)) != rank:
        return None
    q, k = scores.args[0], importer.call(torch.transpose, scores.args[1], -1, -2)
    if importer.shape(q)[:-2] != importer.shape(k)[:-2] or importer.shape(k)[:-2] != importer.shape(v)[:-2]:
        return None
    if mask is not None:
        mask = importer.call(torch.broadcast_to, mask, importer.shape(scores))
    if rank == 3:
        q, k, v, mask = (x if x is None else importer.call(torch.unsqueeze, x, 0) for x in (q, k, v, mask))
    result = importer.call(F.scaled_dot_product_attention, q, k, v, attn_mask=mask, scale=scale)
    return result if rank == 4 else importer.call(torch.squeeze, result, 0)


# ---- elementwise

def scalar_or_tensor(importer, value, other):
    """A constant of one element as a number where this changes no shape."""
    if isinstance(value, torch.Tensor) and isinstance(other, fx.Node) and value.numel() == 1 and value.dim() <= len(importer.shape(other)):
        return value.item()
    return value


@converts("Add", "Sub", "Mul", "Div", "Pow")
def binary(importer, node, attributes, a, b):
    op = node.op_type
    a, b = scalar_or_tensor(importer, a, b), scalar_or_tensor(importer, b, a)
    if op in ("Add", "Mul") and not isinstance(a, fx.Node):
        a, b = b, a
    if op == "Mul" and (found := silu(importer, a, b) or silu(importer, b, a) or gelu(importer, a, b)):
        return found
    if op in ("Mul", "Div") and (found := hard_swish(importer, op, a, b)):
        return found
    if op == "Div" and all(not isinstance(x, (fx.Node, torch.Tensor)) or not importer.is_float(x) for x in (a, b)) \
            and not any(isinstance(x, float) for x in (a, b)):
        return importer.call(torch.div, a, b, rounding_mode="trunc")
    if op == "Sub" and not isinstance(a, (fx.Node, torch.Tensor)):
        return importer.call(torch.rsub, b, a)
    if op == "Div" and not isinstance(a, (fx.Node, torch.Tensor)):
        return importer.call(torch.mul, importer.call(torch.reciprocal, b), a)
    function = {"Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div, "Pow": torch.pow}[op]
    return importer.call(function, a, b)


def silu(importer, x, gate):
    return importer.call(F.silu, x) if is_call(gate, torch.sigmoid) and gate.args[0] is x else None


def factors(value):
    return [f for arg in value.args for f in factors(arg)] if is_call(value, torch.mul) else [value]


def gelu(importer, a, b):
    """x · (1 + erf(x / √2)) · 0.5 in any order"""
    numbers, nodes = [], []
    for factor in [*factors(a), *factors(b)]:
        (nodes if isinstance(factor, fx.Node) else numbers).append(factor)
    if len(nodes) != 2 or not all(isinstance(n, float) for n in numbers) or not math.isclose(math.prod(numbers), 0.5, rel_tol=1e-6):
        return None
    for x, one_more in (nodes, nodes[::-1]):
        if is_call(one_more, torch.add) and one_more.args[1] == 1 and is_call(one_more.args[0], torch.erf):
            inner = one_more.args[0].args[0]
            scale = {torch.div: math.sqrt(2), torch.mul: math.sqrt(0.5)}.get(inner.target) if is_call(inner, torch.div, torch.mul) else None
            if scale and inner.args[0] is x and isinstance(inner.args[1], float) and math.isclose(inner.args[1], scale, rel_tol=1e-6):
                return importer.call(F.gelu, x)
    return None


def hard_swish(importer, op, a, b):
    """x · clip(x + 3, 0, 6) / 6, or x · hard_sigmoid(x)"""
    if op == "Mul":
        for x, gate in ((a, b), (b, a)):
            if is_call(gate, F.hardsigmoid) and gate.args[0] is x:
                return importer.call(F.hardswish, x)
        return None
    if b != 6 or not is_call(a, torch.mul):
        return None
    for x, clip in (a.args, a.args[::-1]):
        if is_call(clip, torch.clamp) and clip.args[1:] == (0, 6) and is_call(clip.args[0], torch.add) and clip.args[0].args[0] is x and clip.args[0].args[1] == 3:
            return importer.call(F.hardswish, x)
    return None


def unary(function, *names):
    CONVERTERS.update({name: lambda importer, node, attributes, x, f=function: importer.call(f, x) for name in names})


for function, *names in (
        (F.relu, "Relu"), (torch.sigmoid, "Sigmoid"), (torch.tanh, "Tanh"), (torch.erf, "Erf"), (torch.exp, "Exp"), (torch.log, "Log"),
        (torch.sqrt, "Sqrt"), (torch.abs, "Abs"), (torch.neg, "Neg"), (torch.floor, "Floor"), (torch.ceil, "Ceil"),
        (torch.reciprocal, "Reciprocal"), (F.softplus, "Softplus"), (F.hardswish, "HardSwish"), (torch.logical_not, "Not"),
        (torch.sin, "Sin"), (torch.cos, "Cos")):
    unary(function, *names)


def comparison(function, *names):
    CONVERTERS.update({name: lambda importer, node, attributes, a, b, f=function: importer.call(f, a, b) for name in names})


for function, *names in ((torch.eq, "Equal"), (torch.lt, "Less"), (torch.gt, "Greater"), (torch.logical_and, "And"),
                         (torch.minimum, "Min"), (torch.maximum, "Max")):
    comparison(function, *names)


@converts("Identity", "Dropout")
def identity(importer, node, attributes, x, *_):
    return x


@converts("Clip")
def clip(importer, node, attributes, x, low=None, high=None):
    low = attributes.get("min") if low is None else low.item()
    high = attributes.get("max") if high is None else high.item()
    return importer.call(torch.clamp, x, low, high)


@converts("HardSigmoid")
def hard_sigmoid(importer, node, attributes, x):
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return importer.call(F.hardsigmoid, x)
    return importer.call(torch.clamp, importer.call(torch.add, importer.call(torch.mul, x, alpha), beta), 0.0, 1.0)


@converts("LeakyRelu")
def leaky_relu(importer, node, attributes, x):
    return importer.call(F.leaky_relu, x, attributes.get("alpha", 0.01))


@converts("PRelu")
def prelu(importer, node, attributes, x, slope):
    return importer.call(torch.where, importer.call(torch.gt, x, 0), x, importer.call(torch.mul, x, slope))


@converts("Gelu")
def gelu_node(importer, node, attributes, x):
    return importer.call(F.gelu, x, approximate=attributes.get("approximate", "none"))


@converts("Where")
def where(importer, node, attributes, condition, a, b):
    return importer.call(torch.where, condition, a, b)


def as_float(x, like):
    return x.to(like.dtype)


@converts("Cast")
def cast(importer, node, attributes, x):
    dtype = torch_dtype(attributes["to"])
    if dtype.is_floating_point:  # whatever the module calculates in
        return importer.call(as_float, x, torch.zeros((), dtype=torch.float64))
    return importer.call(torch.Tensor.to, x, dtype)


# ---- normalisations, softmax, reductions, pools

@converts("BatchNormalization")
def batch_norm(importer, node, attributes, x, gamma, beta, mean, variance):
    return importer.call(F.batch_norm, x, mean, variance, gamma, beta, False, 0.0, attributes.get("epsilon", 1e-5))


@converts("LayerNormalization")
def layer_norm(importer, node, attributes, x, gamma, beta=None):
    shape = importer.shape(x)
    return importer.call(F.layer_norm, x, shape[attributes.get("axis", -1) % len(shape):], gamma, beta, attributes.get("epsilon", 1e-5))


@converts("Softmax")
def softmax(importer, node, attributes, x):
    shape = importer.shape(x)
    axis = attributes.get("axis", -1 if importer.opset >= 13 else 1) % len(shape)
    if importer.opset >= 13 or axis == len(shape) - 1:
        return importer.call(F.softmax, x, dim=axis)
    flat = importer.call(torch.reshape, x, [math.prod(shape[:axis]), -1])
    return importer.call(torch.reshape, importer.call(F.softmax, flat, dim=1), shape)


def reduction(function, name):
    def convert(importer, node, attributes, x, axes=None):
        return importer.call(function, x, axes_of(attributes, axes, list(range(len(importer.shape(x))))),
                             keepdim=bool(attributes.get("keepdims", 1)))
    CONVERTERS[name] = convert


for function, name in ((torch.mean, "ReduceMean"), (torch.sum, "ReduceSum"), (torch.amax, "ReduceMax"), (torch.amin, "ReduceMin")):
    reduction(function, name)


@converts("GlobalAveragePool")
def global_average_pool(importer, node, attributes, x):
    return importer.call(torch.mean, x, list(range(2, len(importer.shape(x)))), keepdim=True)


@converts("MaxPool", "AveragePool")
def pool(importer, node, attributes, x):
    kernel = attributes["kernel_shape"]
    strides, dilations = attributes.get("strides", [1] * len(kernel)), attributes.get("dilations", [1] * len(kernel))
    pads, ceil = pads_of(importer, x, attributes, kernel, strides, dilations), bool(attributes.get("ceil_mode", 0))
    if node.op_type == "MaxPool":
        x, pads = padded(importer, x, pads, -math.inf)
        if any(p > k // 2 for p, k in zip(pads, kernel)):
            x, pads = importer.call(F.pad, x, [n for p in reversed(pads) for n in (p, p)], "constant", -math.inf), [0] * len(kernel)
        return importer.call({1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[len(kernel)], x, kernel, strides, pads, dilations, ceil)
    included = bool(attributes.get("count_include_pad", 0))
    if any(before != after for before, after in pads) and not included:
        raise NotImplementedError("AveragePool with padding that is not the same on both sides")
    x, pads = padded(importer, x, pads)
    return importer.call({1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[len(kernel)], x, kernel, strides, pads, ceil, included)


@converts("Resize", "Upsample")
def resize(importer, node, attributes, x, *rest):
    shape = importer.shape(x)
    scales, sizes = (rest[0], None) if node.op_type == "Upsample" or len(rest) == 1 else (rest[1], rest[2] if len(rest) > 2 else None)
    if sizes is not None and sizes.numel():
        sizes = ints(sizes)
    else:
        sizes = [math.floor(n * float(s)) for n, s in zip(shape, scales)]
    if sizes[:2] != shape[:2]:
        raise NotImplementedError("Resize of batch or channels")
    mode = attributes.get("mode", "nearest")
    how = attributes.get("coordinate_transformation_mode", "asymmetric" if node.op_type == "Upsample" else "half_pixel")
    whole = all(new % old == 0 for new, old in zip(sizes, shape))
    if mode == "nearest" and (whole or how == "asymmetric" and attributes.get("nearest_mode", "floor") == "floor"):
        return importer.call(F.interpolate, x, size=sizes[2:], mode="nearest")
    if mode == "linear" and how in ("half_pixel", "pytorch_half_pixel", "align_corners"):
        return importer.call(F.interpolate, x, size=sizes[2:], mode={3: "linear", 4: "bilinear", 5: "trilinear"}[len(shape)],
                             align_corners=how == "align_corners")
    raise NotImplementedError(f"Resize {mode}, {how}")


# ---- shapes and movement

@converts("Constant")
def constant(importer, node, attributes):
    import onnx_torch

    if "value" in attributes:
        return onnx_torch.tensor_of(attributes["value"])
    (name, value), = attributes.items()
    return torch.tensor(value, dtype=torch.float64 if "float" in name else torch.int64)


@converts("Shape")
def shape(importer, node, attributes, x):
    return torch.tensor(importer.shape(x)[attributes.get("start", 0):attributes.get("end")], dtype=torch.int64)


@converts("ConstantOfShape")
def constant_of_shape(importer, node, attributes, shape):
    value = attributes.get("value")
    value = torch.zeros((), dtype=torch.float64) if value is None else torch.from_numpy(onnx.numpy_helper.to_array(value).copy())
    return torch.full(ints(shape), value.item(), dtype=torch.float64 if value.is_floating_point() else value.dtype)


@converts("Range")
def range_(importer, node, attributes, start, limit, delta):
    return torch.arange(start.item(), limit.item(), delta.item(), dtype=start.dtype)


@converts("Reshape")
def reshape(importer, node, attributes, x, shape):
    old, new = importer.shape(x), ints(shape)
    if not attributes.get("allowzero", 0):
        new = [old[i] if size == 0 else size for i, size in enumerate(new)]
    return importer.call(torch.reshape, x, new)


@converts("Flatten")
def flatten(importer, node, attributes, x):
    old = importer.shape(x)
    return importer.call(torch.reshape, x, [math.prod(old[:attributes.get("axis", 1)]), -1])


@converts("Squeeze")
def squeeze(importer, node, attributes, x, axes=None):
    old = importer.shape(x)
    axes = axes_of(attributes, axes, [i for i, size in enumerate(old) if size == 1])
    return importer.call(torch.reshape, x, [size for i, size in enumerate(old) if i not in {axis % len(old) for axis in axes}])


@converts("Unsqueeze")
def unsqueeze(importer, node, attributes, x, axes=None):
    axes, new = axes_of(attributes, axes), importer.shape(x)
    for axis in sorted(axis % (len(new) + len(axes)) for axis in axes):
        new.insert(axis, 1)
    return importer.call(torch.reshape, x, new)


@converts("Transpose")
def transpose(importer, node, attributes, x):
    return importer.call(torch.permute, x, attributes.get("perm", list(range(len(importer.shape(x))))[::-1]))


@converts("Concat")
def concat(importer, node, attributes, *parts):
    return parts[0] if len(parts) == 1 else importer.call(torch.cat, list(parts), attributes["axis"])


@converts("Split")
def split(importer, node, attributes, x, sizes=None):
    axis, count = attributes.get("axis", 0), len(node.output)
    sizes = attributes.get("split") or ints(sizes)
    if sizes is None:
        each = math.ceil(importer.shape(x)[axis] / count)
        sizes = [each] * (count - 1) + [importer.shape(x)[axis] - each * (count - 1)]
    parts = importer.call(torch.split, x, sizes, axis)
    return [importer.call(operator.getitem, parts, i) for i in range(count)]


@converts("Slice")
def slice_(importer, node, attributes, x, starts=None, ends=None, axes=None, steps=None):
    starts, ends = ints(starts) or attributes["starts"], ints(ends) or attributes["ends"]
    axes = axes_of(attributes, axes, list(range(len(starts))))
    steps, place = ints(steps) or [1] * len(starts), [slice(None)] * len(importer.shape(x))
    for start, end, axis, step in zip(starts, ends, axes, steps):
        if step < 0:
            raise NotImplementedError("Slice backwards")
        place[axis] = slice(start, end, step)
    return importer.call(operator.getitem, x, tuple(place))


@converts("Gather")
def gather(importer, node, attributes, x, indices):
    axis = attributes.get("axis", 0) % len(importer.shape(x))
    if isinstance(indices, fx.Node):
        if axis == 0 and len(importer.shape(x)) == 2:
            return importer.call(F.embedding, indices, x)
        flat = importer.call(torch.index_select, x, axis, importer.call(torch.reshape, indices, [-1]))
        old = importer.shape(x)
        return importer.call(torch.reshape, flat, old[:axis] + importer.shape(indices) + old[axis + 1:])
    if indices.numel() == 1:
        picked = importer.call(torch.select, x, axis, int(indices.reshape(())))
        old = importer.shape(x)
        return picked if indices.dim() == 0 else importer.call(torch.reshape, picked, old[:axis] + [1] * indices.dim() + old[axis + 1:])
    place = [slice(None)] * axis + [indices]
    return importer.call(operator.getitem, x, tuple(place))


@converts("Expand")
def expand(importer, node, attributes, x, shape):
    return importer.call(torch.broadcast_to, x, list(torch.broadcast_shapes(importer.shape(x), ints(shape))))


@converts("Tile")
def tile(importer, node, attributes, x, repeats):
    return importer.call(torch.tile, x, ints(repeats))


@converts("Pad")
def pad(importer, node, attributes, x, pads=None, value=None, axes=None):
    amounts, rank = attributes.get("pads") or ints(pads), len(importer.shape(x))
    if axes is not None or attributes.get("mode", "constant") != "constant":
        raise NotImplementedError("Pad of chosen axes, or not with a constant")
    flat = [n for axis in reversed(range(rank)) for n in (amounts[axis], amounts[axis + rank])]
    return importer.call(F.pad, x, flat, "constant", attributes.get("value", 0.0) if value is None else value.item())


@converts("DepthToSpace")
def depth_to_space(importer, node, attributes, x):
    b, (n, c, h, w) = attributes["blocksize"], importer.shape(x)
    if attributes.get("mode", "DCR") == "CRD":
        return importer.call(F.pixel_shuffle, x, b)
    y = importer.call(torch.permute, importer.call(torch.reshape, x, [n, b, b, c // b // b, h, w]), [0, 3, 4, 1, 5, 2])
    return importer.call(torch.reshape, y, [n, c // b // b, h * b, w * b])
