"""Burnish as a backend of the `onnx` package (onnx.backend.base): what onnx's own test runner calls.

    import burnish.onnx_backend as backend
    outputs = backend.prepare(onnx.load("model.onnx")).run([array])
"""

import os
import tempfile

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.base import Backend, BackendRep, Device, DeviceType

from . import InferenceSession, Unsupported, compile


# Elements of an input that may tell sizes, axes or the like; as floats, scales and ranges.
MOST_INTEGERS, MOST_FLOATS = 64, 8


class BurnishRep(BackendRep):
    """A model that is compiled when its first inputs tell the sizes of its symbolic dimensions. Where it cannot be
    compiled because inputs tell sizes, axes or the like, these are bound to their values: such a library serves no others."""

    def __init__(self, model):
        self.model = model
        weights = {weight.name for weight in model.graph.initializer}
        self.inputs = [tensor for tensor in model.graph.input if tensor.name not in weights]
        self.sessions = {}

    def run(self, inputs, **kwargs):
        arrays = list(inputs.values()) if isinstance(inputs, dict) else list(inputs)
        names = list(inputs) if isinstance(inputs, dict) else [tensor.name for tensor in self.inputs]
        if any(not isinstance(array, np.ndarray) for array in arrays):
            raise Unsupported("only tensors are supported as inputs, no sequences or optional values")
        feeds = dict(zip(names, arrays, strict=False))
        session = self._first_that_compiles(feeds)
        wanted = {tensor.name for tensor in session.get_inputs()}
        return tuple(session.run(None, {name: array for name, array in feeds.items() if name in wanted}))

    def _first_that_compiles(self, feeds):
        small = [(name, array.dtype.kind, array.size) for name, array in feeds.items() if array.ndim <= 1]
        integers = [name for name, kind, size in small if kind in "iub" and size <= MOST_INTEGERS]
        floats = [name for name, kind, size in small if kind == "f" and size <= MOST_FLOATS]
        try:
            return self._session(feeds, [])
        except Unsupported as error:
            refusal = error
        for bound in dict.fromkeys([tuple(integers), (*integers, *floats)]):
            try:
                return self._session(feeds, bound)
            except Unsupported:
                pass
        raise refusal

    def _session(self, feeds, bound):
        key = tuple((name, array.shape, array.tobytes() if name in bound else None) for name, array in sorted(feeds.items()))
        if key not in self.sessions:
            model = self.model
            if bound:
                model = onnx.ModelProto()
                model.CopyFrom(self.model)
                model.graph.initializer.extend(numpy_helper.from_array(feeds[name], name) for name in bound)
            shapes = {name: array.shape for name, array in feeds.items() if name not in bound}
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "model.onnx")
                onnx.save(model, path)
                self.sessions[key] = InferenceSession(compile(path, shapes=shapes, threads=1).library, threads=1)
        return self.sessions[key]


class BurnishBackend(Backend):
    @classmethod
    def prepare(cls, model, device="CPU", **kwargs):
        return BurnishRep(model)

    @classmethod
    def run_model(cls, model, inputs, device="CPU", **kwargs):
        return cls.prepare(model, device).run(inputs)

    @classmethod
    def supports_device(cls, device):
        return Device(device).type == DeviceType.CPU


prepare = BurnishBackend.prepare
run_model = BurnishBackend.run_model
supports_device = BurnishBackend.supports_device
