#!/usr/bin/env python3
"""Takes the weights out of a model file, so that a small file stands for a large network where only its speed counts.

    bench/strip_weights.py resnet50.onnx small.onnx                    weights of 16 KB and more become a line of metadata each
    bench/strip_weights.py --restore small.onnx random.onnx            the network with random weights in their place

Restored weights have the shape, type, mean and deviation of those that were taken out, and are the same wherever and
however often they are restored: they come from the raw stream of PCG64, which numpy keeps from version to version.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

KEY = "random_weights"


def weights_of(model):
    """(name, tensor) of initialisers and constants."""
    yield from ((tensor.name, tensor) for tensor in model.graph.initializer)
    for node in model.graph.node:
        if node.op_type == "Constant":
            yield from ((node.output[0], entry.t) for entry in node.attribute if entry.name == "value")


def stripped(model, least_bytes=16 << 10):
    """The model without its large float weights; its metadata says how to restore them."""
    weights = {}
    for seed, (name, tensor) in enumerate(weights_of(model)):
        array = numpy_helper.to_array(tensor)
        if array.nbytes < least_bytes or array.dtype.kind != "f":
            continue
        weights[name] = [seed, float(array.mean(dtype=np.float64)), float(array.std(dtype=np.float64))]
        empty = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        tensor.CopyFrom(empty)
    onnx.helper.set_model_props(model, {**{p.key: p.value for p in model.metadata_props}, KEY: json.dumps(weights)})
    return model


def random_array(shape, dtype, seed, mean, deviation):
    """Evenly distributed numbers of this mean and deviation."""
    count = int(np.prod(shape, dtype=np.int64))
    raw = np.random.PCG64(seed).random_raw((count + 1) // 2).view(np.uint32)[:count]
    uniform = (raw >> 8).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)  # of deviation √⅓
    return (uniform * np.float32(deviation * 3**0.5) + np.float32(mean)).astype(dtype).reshape(shape)


def restored(model):
    """The model with its weights again, random ones where they were taken out; any other model as it is."""
    weights = json.loads(next((p.value for p in model.metadata_props if p.key == KEY), "{}"))
    for name, tensor in weights_of(model):
        if name in weights:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            tensor.CopyFrom(numpy_helper.from_array(random_array(tuple(tensor.dims), dtype, *weights[name]), tensor.name))
    kept = {p.key: p.value for p in model.metadata_props if p.key != KEY}
    del model.metadata_props[:]
    if kept:
        onnx.helper.set_model_props(model, kept)
    return model


def main():
    parser = argparse.ArgumentParser(description="Takes the weights out of a model file, or puts random ones in.")
    parser.add_argument("source", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--restore", action="store_true", help="put random weights in")
    parser.add_argument("--least", type=int, default=16 << 10, metavar="BYTES", help="smaller weights stay")
    options = parser.parse_args()
    model = onnx.load(options.source)
    onnx.save(restored(model) if options.restore else stripped(model, options.least), options.result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
