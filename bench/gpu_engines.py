"""PyTorch's ways of running a module on the GPU, and Burnish's library, behind one face: `run()` puts one inference into the
current stream, `outputs` has the results of the last one. Inputs and outputs stay on the GPU."""

import ctypes
import json
import math
import os
import statistics
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]


def set_precision(precision):
    """strict: fp32 as IEEE has it; tf32: products in TF32 wherever PyTorch offers it."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True


class Eager:
    def __init__(self, module, inputs):
        self.module, self.inputs = module, inputs
        self.run()

    def run(self):
        self.outputs = self.module(*self.inputs)


class Graph:
    """One CUDA graph, replayed."""

    side = None  # one stream for all: launches take longer in processes that use many

    def __init__(self, module, inputs):
        side = Graph.side = Graph.side or torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # cuDNN chooses its algorithms before the capture
            for _ in range(3):
                module(*inputs)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = module(*inputs)
        self.run = self.graph.replay
        self.run()


class Compiled:
    """torch.compile with CUDA graphs; the inputs' addresses are promised, so that they are not copied."""

    mode = "reduce-overhead"

    def __init__(self, module, inputs):
        for tensor in inputs:
            torch._dynamo.mark_static_address(tensor)
        self.compiled = torch.compile(module, mode=self.mode, fullgraph=True, dynamic=False)
        self.inputs = inputs
        for _ in range(4):  # compiles, records, replays
            self.run()

    def run(self):
        torch.compiler.cudagraph_mark_step_begin()
        self.outputs = self.compiled(*self.inputs)


class Autotuned(Compiled):
    mode = "max-autotune"


PYTORCH = {"eager": Eager, "graph": Graph, "compile": Compiled, "autotune": Autotuned}


# ---- Burnish, through the C interface of its runtime: any Python will do

DTYPES = {1: torch.bool, 2: torch.int8, 3: torch.uint8, 4: torch.int16, 6: torch.int32, 8: torch.int64, 10: torch.float16,
          11: torch.bfloat16, 12: torch.float32, 13: torch.float64}


class TensorInfo(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("dtype", ctypes.c_int32), ("rank", ctypes.c_uint32),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("bytes", ctypes.c_uint64)]


class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("bytes", ctypes.c_uint64), ("dtype", ctypes.c_int32), ("rank", ctypes.c_uint32),
                ("shape", ctypes.POINTER(ctypes.c_int64))]


class ModelInfo(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("metadata", ctypes.c_char_p), ("compiler", ctypes.c_char_p),
                ("target", ctypes.c_char_p), ("cpu", ctypes.c_char_p), ("threads", ctypes.c_uint32), ("inputs", ctypes.c_uint32),
                ("outputs", ctypes.c_uint32), ("steps", ctypes.c_uint32), ("arena_bytes", ctypes.c_uint64),
                ("scratch_bytes", ctypes.c_uint64), ("weights_bytes", ctypes.c_uint64), ("macs", ctypes.c_uint64)]


def runtime():
    """libburnish_runtime.so of $BURNISH_RUNTIME, or of the build."""
    places = [os.environ.get("BURNISH_RUNTIME"), ROOT / "build/release/src/runtime/libburnish_runtime.so"]
    library = ctypes.CDLL(str(next(place for place in places if place and Path(place).exists())))
    library.burnish_last_error.restype = ctypes.c_char_p
    return library


class Burnish:
    """A library on memory of PyTorch's."""

    def __init__(self, path, feeds):
        """feeds: tensors on the GPU by the inputs' names, of whatever float type."""
        self.runtime, self.model, self.session = runtime(), ctypes.c_void_p(), ctypes.c_void_p()
        self.check(self.runtime.burnish_model_load(os.fsencode(path), None, ctypes.byref(self.model)))
        info = ModelInfo(struct_size=ctypes.sizeof(ModelInfo))
        self.check(self.runtime.burnish_model_get_info(self.model, ctypes.byref(info)))
        self.metadata = json.loads(info.metadata)
        self.check(self.runtime.burnish_session_create(self.model, None, ctypes.byref(self.session)))
        self.stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        self.inputs = [self.bind("input", i, feeds) for i in range(info.inputs)]
        self.outputs = [self.bind("output", i, None) for i in range(info.outputs)]
        self.run()

    def bind(self, kind, index, feeds):
        info = TensorInfo()
        self.check(getattr(self.runtime, f"burnish_model_get_{kind}")(self.model, ctypes.c_uint32(index), ctypes.byref(info)))
        shape, dtype = [info.shape[i] for i in range(info.rank)], DTYPES[info.dtype]
        if feeds is None:
            tensor = torch.zeros(shape, dtype=dtype, device="cuda")
        else:
            tensor = feeds[info.name.decode()].to(dtype).contiguous()
        bound = Tensor(tensor.data_ptr(), info.bytes, info.dtype, info.rank, info.shape)
        self.check(getattr(self.runtime, f"burnish_session_bind_{kind}")(self.session, info.name, ctypes.byref(bound)))
        return tensor

    def run(self):
        self.check(self.runtime.burnish_session_run_async(self.session, self.stream))

    def check(self, status):
        if status != 0:
            raise RuntimeError(self.runtime.burnish_last_error().decode())

    def close(self):
        self.runtime.burnish_session_release(self.session)
        self.runtime.burnish_model_release(self.model)


# ---- timing

class Stopwatch:
    """Times of runs between CUDA events, in milliseconds. Runs follow one another without a pause, so that caches are as
    warm as in a server that does nothing else."""

    def __init__(self, engine):
        self.engine, self.events = engine, []

    def measure(self, seconds, least=3):
        self.engine.run()  # finds other engines' data in the caches
        torch.cuda.synchronize()
        begin = time.perf_counter()
        self.engine.run()
        torch.cuda.synchronize()
        count = max(least, min(2000, math.ceil(seconds / (time.perf_counter() - begin))))
        while len(self.events) < count:
            self.events.append((torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)))
        for start, end in self.events[:count]:
            start.record()
            self.engine.run()
            end.record()
        torch.cuda.synchronize()
        return [start.elapsed_time(end) for start, end in self.events[:count]]

    def host(self, count=50):
        """(microseconds until the call returns, milliseconds until its results are there) of runs one by one, medians."""
        calls, results = [], []
        for _ in range(count):
            torch.cuda.synchronize()
            begin = time.perf_counter()
            self.engine.run()
            calls.append(time.perf_counter() - begin)
            torch.cuda.synchronize()
            results.append(time.perf_counter() - begin)
        return 1e6 * statistics.median(calls), 1e3 * statistics.median(results)
