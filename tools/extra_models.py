#!/usr/bin/env python3
"""Writes networks that nothing in Burnish was tuned on, as ONNX files: what is slow or wrong here is missing in general.

Each stands for a family (grouped convolutions, dense concatenation, channel shuffles, dilation, transposed
convolutions, convolutions in time, recurrence ...), shortened where it repeats itself. Weights are random, from a seed,
and scaled as in make_models.py.

    tools/extra_models.py [--into FOLDER] [--force] [NAME ...]       default: all, into build/models
"""

import argparse

import numpy as np
import onnx
from make_models import Network, Value, add_options, write_models
from onnx import TensorProto, helper, shape_inference
from onnx_builder import OPSET


class Extra(Network):
    """What the networks below need beside convolutions."""

    def __init__(self, name, seed, shape):
        super().__init__(name, seed)
        self.shape = shape

    def input(self):
        return Value("input", self.shape[1], 1.0)

    def op(self, op, x, *more, channels=None, square=None, **attributes):
        name = self.node(op, [x.name, *more], **attributes)
        return Value(name, channels or x.channels, square or x.square)

    def ints(self, values):
        return self.weight(values, np.int64)

    def any_conv(self, x, channels, kernel, stride=1, groups=1, dilation=1, pads=None, bias=False):
        """With a kernel of any rank, [kh, kw] or [k]."""
        rank = len(kernel)
        fan_in = x.channels // groups * int(np.prod(kernel))
        inputs = [x.name, self.weight(self.normal((channels, x.channels // groups, *kernel), 0, (1 / fan_in) ** 0.5))]
        if bias:
            inputs.append(self.weight(self.normal((channels,), 0, 0.1)))
        pads = pads or [(k - 1) // 2 * dilation for k in kernel] * 2
        name = self.node("Conv", inputs, kernel_shape=list(kernel), strides=[stride] * rank, group=groups,
                         dilations=[dilation] * rank, pads=pads)
        return Value(name, channels, x.square)

    def conv_relu(self, x, channels, kernel, stride=1, groups=1):
        return self.relu(self.batch_norm(self.conv(x, channels, kernel, stride, groups)))

    def up(self, x, channels, kernel=2, stride=2):
        fan_in = x.channels * (kernel // stride) ** 2
        weight = self.weight(self.normal((x.channels, channels, kernel, kernel), 0, (1 / fan_in) ** 0.5))
        bias = self.weight(self.normal((channels,), 0, 0.1))
        return Value(self.node("ConvTranspose", [x.name, weight, bias], kernel_shape=[kernel] * 2, strides=[stride] * 2,
                               pads=[(kernel - stride) // 2] * 4), channels, x.square)

    def concat(self, *parts):
        channels = sum(p.channels for p in parts)
        square = sum(p.square * p.channels for p in parts) / channels
        return Value(self.node("Concat", [p.name for p in parts], axis=1), channels, square)

    def pool(self, x, kernel=2, stride=2, pad=0, kind="MaxPool", **attributes):
        return self.op(kind, x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, **attributes)

    def linear(self, x, channels, bias=True, square=None):
        """MatMul over the last axis."""
        scale = (1 / x.channels / x.square) ** 0.5
        y = self.op("MatMul", x, self.weight(self.normal((x.channels, channels), 0, scale)), channels=channels, square=1.0)
        return self.op("Add", y, self.weight(self.normal((channels,), 0, 0.1))) if bias else y

    def layer_norm(self, x):
        n = (x.channels,)
        return self.op("LayerNormalization", x, self.weight(np.ones(n)), self.weight(np.zeros(n)), square=1.0, axis=-1)

    def gelu(self, x):
        erf = self.op("Erf", self.op("Div", x, self.weight(np.float32(2**0.5))))
        y = self.op("Mul", x, self.op("Add", erf, self.weight(np.float32(1))).name)
        return self.op("Mul", y, self.weight(np.float32(0.5)), square=0.35 * x.square)

    def model_of(self, output):
        """`output`: the value that is returned; its shape is left to inference."""
        self.nodes.append(helper.make_node("Identity", [output.name], ["output"], name="output"))
        graph = helper.make_graph(
            self.nodes, self.name, [helper.make_tensor_value_info("input", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, None)], self.weights)
        model = shape_inference.infer_shapes(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8), strict_mode=True)
        del model.graph.value_info[:]
        onnx.checker.check_model(model)
        return model


def head(net, x, classes=1000):
    mean = net.op("Flatten", net.op("GlobalAveragePool", x), axis=1)
    return net.linear(mean, classes)


def resnet18(net):
    """He et al. 2015: two 3x3 convolutions a block."""
    x = net.max_pool(net.relu(net.batch_norm(net.conv(net.input(), 64, 7, stride=2))))
    for width, stride in [(64, 1), (128, 2), (256, 2), (512, 2)]:
        for s in (stride, 1):
            y = net.batch_norm(net.conv(net.conv_relu(x, width, 3, s), width, 3), scale=0.5)
            if s != 1:
                x = net.batch_norm(net.conv(x, width, 1, s), scale=0.5)
            x = net.relu(net.add(x, y))
    return head(net, x)


def resnext(net):
    """Xie et al. 2017: grouped 3x3 convolutions, 32 groups; one block a stage."""
    x = net.max_pool(net.relu(net.batch_norm(net.conv(net.input(), 64, 7, stride=2))))
    for width, stride in [(128, 1), (256, 2), (512, 2), (1024, 2)]:
        y = net.conv_relu(net.conv_relu(x, width, 1), width, 3, stride, groups=32)
        y = net.batch_norm(net.conv(y, 2 * width, 1), scale=0.5)
        x = net.relu(net.add(net.batch_norm(net.conv(x, 2 * width, 1, stride), scale=0.5), y))
    return head(net, x)


def squeezenet(net):
    """Iandola et al. 2016, version 1.1: no normalisation, pools that round up."""
    x = net.relu(net.conv(net.input(), 64, 3, stride=2, bias=True))
    for at, (squeeze, expand) in enumerate([(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)]):
        if at in (0, 2, 4):
            x = net.pool(x, 3, 2, ceil_mode=1)
        s = net.relu(net.conv(x, squeeze, 1, bias=True))
        x = net.concat(net.relu(net.conv(s, expand, 1, bias=True)), net.relu(net.conv(s, expand, 3, bias=True)))
    x = net.op("GlobalAveragePool", net.relu(net.conv(x, 1000, 1, bias=True)))
    return net.op("Flatten", x, axis=1)


def mobilenetv3_small(net):
    """Howard et al. 2019: hard-swish, gates by hard-sigmoid, 5x5 depthwise convolutions."""

    def act(x, hard):
        return net.op("HardSwish", x, square=0.4 * x.square) if hard else net.relu(x)

    x = act(net.batch_norm(net.conv(net.input(), 16, 3, stride=2)), True)
    for k, hidden, out, gate, hard, stride in [
        (3, 16, 16, 1, 0, 2), (3, 72, 24, 0, 0, 2), (3, 88, 24, 0, 0, 1), (5, 96, 40, 1, 1, 2), (5, 240, 40, 1, 1, 1),
        (5, 240, 40, 1, 1, 1), (5, 120, 48, 1, 1, 1), (5, 144, 48, 1, 1, 1), (5, 288, 96, 1, 1, 2), (5, 576, 96, 1, 1, 1),
        (5, 576, 96, 1, 1, 1),
    ]:
        y = act(net.batch_norm(net.conv(x, hidden, 1)), hard) if hidden != x.channels else x
        y = act(net.batch_norm(net.conv(y, hidden, k, stride, groups=hidden)), hard)
        if gate:
            mean = net.op("GlobalAveragePool", y, square=0.2 * y.square)
            inner = net.relu(net.conv(mean, max(8, hidden // 4), 1, bias=True))
            s = net.op("HardSigmoid", net.conv(inner, hidden, 1, bias=True), alpha=1 / 6, beta=0.5)
            y = net.op("Mul", y, s.name, square=y.square / 4)
        same = stride == 1 and x.channels == out
        y = net.batch_norm(net.conv(y, out, 1), scale=0.5 if same else 1.0)
        x = net.add(x, y) if same else y
    x = act(net.batch_norm(net.conv(x, 576, 1)), True)
    mean = net.op("Flatten", net.op("GlobalAveragePool", x), axis=1)
    return net.linear(act(net.linear(mean, 1024), True), 1000)


def shufflenetv2(net):
    """Ma et al. 2018, width 1: splits, and shuffles of channels as reshape, transpose, reshape."""

    def branch(x, channels, stride, first):
        y = net.conv_relu(x, channels, 1) if first else x
        y = net.batch_norm(net.conv(y, y.channels, 3, stride, groups=y.channels))
        return net.conv_relu(y, channels, 1)

    def shuffle(x, size):
        y = net.op("Reshape", x, net.ints([1, 2, x.channels // 2, size, size]))
        y = net.op("Transpose", y, perm=[0, 2, 1, 3, 4])
        return net.op("Reshape", y, net.ints([1, x.channels, size, size]))

    x, size = net.max_pool(net.conv_relu(net.input(), 24, 3, stride=2)), net.shape[2] // 4
    for channels, repeats in [(116, 4), (232, 8), (464, 4)]:
        size //= 2
        half = channels // 2
        for i in range(repeats):
            if i == 0:
                a, b = branch(x, half, 2, False), branch(x, half, 2, True)
            else:
                names = net.node("Split", [x.name, net.ints([half, half])], outputs=2, axis=1)
                a, b = (Value(name, half, x.square) for name in names)
                b = branch(b, half, 1, True)
            x = shuffle(net.concat(a, b), size)
    return head(net, net.conv_relu(x, 1024, 1))


def unet(net):
    """Ronneberger et al. 2015 at a quarter of its width: skips by concatenation, transposed convolutions 2x2."""

    def double(x, width):
        return net.conv_relu(net.conv_relu(x, width, 3), width, 3)

    x, skips = net.input(), []
    for width in (16, 32, 64, 128):
        skips.append(double(x, width))
        x = net.pool(skips[-1])
    x = double(x, 256)
    for skip in reversed(skips):
        x = double(net.concat(skip, net.up(x, skip.channels)), skip.channels)
    return net.op("Sigmoid", net.conv(x, 1, 1, bias=True))


def vgg11(net):
    """Simonyan and Zisserman 2014 with a narrower classifier: 3x3 convolutions and a matrix of 25,088 x 1,024."""
    x = net.input()
    for width, repeats in [(64, 1), (128, 1), (256, 2), (512, 2), (512, 2)]:
        for _ in range(repeats):
            x = net.relu(net.conv(x, width, 3, bias=True))
            x.square = 1.0
        x = net.pool(x)
    side = net.shape[2] // 32
    x = net.op("Flatten", x, axis=1, channels=x.channels * side * side)
    return net.linear(net.relu(net.linear(x, 1024)), 1000)


def densenet(net):
    """Huang et al. 2017, growth 32, blocks of 6, 6, 6: normalisation and ReLU stand before the convolutions."""
    x = net.max_pool(net.conv_relu(net.input(), 64, 7, stride=2))
    for at in range(3):
        if at > 0:
            x = net.pool(net.conv(net.relu(net.batch_norm(x)), x.channels // 2, 1), kind="AveragePool")
        for _ in range(6):
            y = net.conv(net.relu(net.batch_norm(x)), 128, 1)
            x = net.concat(x, net.conv(net.relu(net.batch_norm(y)), 32, 3))
    return head(net, net.relu(net.batch_norm(x)))


def inception(net):
    """Szegedy et al. 2015: parallel branches, 1x7 and 7x1 kernels, average pools of stride 1."""

    def line(x, channels, *kernels):
        for kernel in kernels:
            x = net.relu(net.batch_norm(net.any_conv(x, channels, kernel)))
        return x

    x = net.conv_relu(net.conv_relu(net.input(), 32, 3, stride=2), 64, 3)
    x = net.conv_relu(net.max_pool(x), 192, 3, stride=2)
    for _ in range(2):
        mean = net.pool(x, 3, 1, 1, kind="AveragePool", count_include_pad=0)
        x = net.concat(line(x, 64, [1, 1]), line(x, 64, [1, 1], [5, 5]), line(x, 96, [1, 1], [3, 3], [3, 3]), line(mean, 32, [1, 1]))
    x = net.pool(x, 3, 2, 1)
    for _ in range(2):
        mean = net.pool(x, 3, 1, 1, kind="AveragePool", count_include_pad=0)
        x = net.concat(line(x, 128, [1, 1]), line(x, 96, [1, 1], [1, 7], [7, 1]),
                       line(x, 96, [1, 1], [7, 1], [1, 7], [7, 1], [1, 7]), line(mean, 128, [1, 1]))
    return head(net, x)


def convnext(net):
    """Liu et al. 2022 at half the width: 7x7 depthwise, layer norm and matrix products over channels-last."""
    x = net.any_conv(net.input(), 48, [4, 4], stride=4, pads=[0] * 4, bias=True)
    for at, repeats in enumerate([2, 2, 4, 2]):
        if at > 0:
            y = net.op("Transpose", net.layer_norm(net.op("Transpose", x, perm=[0, 2, 3, 1])), perm=[0, 3, 1, 2])
            x = net.any_conv(y, 2 * x.channels, [2, 2], stride=2, pads=[0] * 4, bias=True)
        for _ in range(repeats):
            y = net.any_conv(x, x.channels, [7, 7], groups=x.channels, bias=True)
            y = net.layer_norm(net.op("Transpose", y, perm=[0, 2, 3, 1]))
            y = net.linear(net.gelu(net.linear(y, 4 * x.channels)), x.channels)
            y = net.op("Mul", y, net.weight(np.full((x.channels,), 0.5)), square=0.25)
            x = net.add(x, net.op("Transpose", y, perm=[0, 3, 1, 2]))
    return head(net, x)


def deeplab(net):
    """Chen et al. 2017 on a small trunk: dilated convolutions, global context, bilinear resizing."""

    def size(x, side):
        return net.op("Resize", x, "", "", net.ints([1, x.channels, side, side]), mode="linear",
                      coordinate_transformation_mode="half_pixel")

    x = net.input()
    for width, stride in [(32, 2), (64, 2), (128, 2), (128, 1)]:
        x = net.conv_relu(x, width, 3, stride)
    side = net.shape[2] // 8
    mean = size(net.relu(net.conv(net.op("GlobalAveragePool", x), 64, 1, bias=True)), side)
    dilated = [net.relu(net.batch_norm(net.any_conv(x, 64, [3, 3], dilation=d))) for d in (6, 12, 18)]
    x = net.conv_relu(net.concat(net.conv_relu(x, 64, 1), *dilated, mean), 64, 1)
    return size(net.conv(x, 21, 1, bias=True), net.shape[2])


def super_resolution(net):
    """Shi et al. 2016 with residual blocks: wide maps of few channels, pixels out of channels."""
    x = net.relu(net.conv(net.input(), 32, 5, bias=True))
    for _ in range(3):
        y = net.conv(net.relu(net.conv(x, 32, 3, bias=True)), 32, 3, bias=True)
        x = net.add(x, net.op("Mul", y, net.weight(np.float32(0.3)), square=0.1))
    return net.op("DepthToSpace", net.conv(x, 12, 3, bias=True), blocksize=2, mode="CRD", channels=3)


def temporal(net):
    """Bai et al. 2018: dilated convolutions in time, one dimension."""
    x = net.input()
    for dilation in (1, 2, 4, 8, 16):
        pads = [2 * dilation, 0]  # causal
        y = net.relu(net.any_conv(x, 64, [3], dilation=dilation, pads=pads, bias=True))
        y = net.relu(net.any_conv(y, 64, [3], dilation=dilation, pads=pads, bias=True))
        if x.channels != 64:
            x = net.any_conv(x, 64, [1], bias=True)
        x = net.relu(net.add(x, y))
    return net.any_conv(x, 32, [1], bias=True)


def recurrent(net):
    """A convolutional front and a bidirectional LSTM, as readers of lines of text have them."""
    x = net.pool(net.conv_relu(net.pool(net.conv_relu(net.input(), 32, 3)), 64, 3))
    steps, rows, hidden = net.shape[3] // 4, net.shape[2] // 4, 96
    x = net.op("Reshape", x, net.ints([1, 64 * rows, steps]), channels=64 * rows)
    x = net.op("Transpose", x, perm=[2, 0, 1])
    weights = [net.weight(net.normal((2, 4 * hidden, n), 0, (1 / n) ** 0.5)) for n in (x.channels, hidden)]
    bias = net.weight(net.normal((2, 8 * hidden), 0, 0.1))
    y = net.op("LSTM", x, *weights, bias, hidden_size=hidden, direction="bidirectional", square=0.2)
    y = net.op("Reshape", net.op("Transpose", y, perm=[0, 2, 1, 3]), net.ints([steps, 1, 2 * hidden]), channels=2 * hidden)
    return net.op("Softmax", net.linear(y, 96), axis=-1)


def mixer(net):
    """Tolstikhin et al. 2021, small: products along tokens and along channels, transposes between them."""
    side, width = net.shape[2] // 16, 256
    x = net.any_conv(net.input(), width, [16, 16], stride=16, pads=[0] * 4, bias=True)
    x = net.op("Transpose", net.op("Reshape", x, net.ints([1, width, side * side])), perm=[0, 2, 1])
    for _ in range(4):
        y = net.op("Transpose", net.layer_norm(x), perm=[0, 2, 1], channels=side * side)
        y = net.op("Transpose", net.linear(net.gelu(net.linear(y, 128)), side * side), perm=[0, 2, 1], channels=width)
        x = net.add(x, y)
        x = net.add(x, net.linear(net.gelu(net.linear(net.layer_norm(x), 1024)), width))
    return net.linear(net.op("ReduceMean", net.layer_norm(x), axes=[1], keepdims=0), 1000)


# How each is built, and the shape of its input.
MODELS = {
    "resnet18": (resnet18, [1, 3, 224, 224]),
    "resnext": (resnext, [1, 3, 224, 224]),
    "squeezenet": (squeezenet, [1, 3, 224, 224]),
    "mobilenetv3_small": (mobilenetv3_small, [1, 3, 224, 224]),
    "shufflenetv2": (shufflenetv2, [1, 3, 224, 224]),
    "unet": (unet, [1, 3, 256, 256]),
    "vgg11": (vgg11, [1, 3, 224, 224]),
    "densenet": (densenet, [1, 3, 224, 224]),
    "inception": (inception, [1, 3, 224, 224]),
    "convnext": (convnext, [1, 3, 224, 224]),
    "deeplab": (deeplab, [1, 3, 256, 256]),
    "super_resolution": (super_resolution, [1, 3, 180, 320]),
    "temporal": (temporal, [1, 16, 1024]),
    "recurrent": (recurrent, [1, 3, 32, 256]),
    "mixer": (mixer, [1, 3, 224, 224]),
}


def build(name, seed):
    function, shape = MODELS[name]
    net = Extra(name, seed, shape)
    return net.model_of(function(net))


def main():
    parser = argparse.ArgumentParser(description="Writes networks outside the list that figures are taken on.")
    add_options(parser, MODELS)
    known = {name: lambda options, name=name: build(name, options.seed) for name in MODELS}
    write_models(parser, known, ["extra_models.py", "make_models.py", "onnx_builder.py"])


if __name__ == "__main__":
    main()
