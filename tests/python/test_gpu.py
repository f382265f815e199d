"""Models for GPUs from Python and on the command line, on the fake driver and the fake NVRTC of tests/fake_cuda: no GPU,
no CUDA. A process looks for the driver once, so everything runs in processes of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("BURNISH_BIN", ROOT / "build" / "bin"))
FAKES = (BIN / "burnish").resolve().parents[2] / "tests"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    driver, nvrtc = FAKES / "libburnish_fake_cuda.so", FAKES / "libburnish_fake_nvrtc.so"
    if not (driver.exists() and nvrtc.exists()):
        pytest.skip("the fakes are not built")
    return {**os.environ, "BURNISH_CUDA_DRIVER": str(driver), "BURNISH_NVRTC": str(nvrtc),
            "BURNISH_CACHE": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="module")
def model(environment, tmp_path_factory):
    """The path of y = relu(x @ w) + b, z = softmax(y), and its library."""
    folder = tmp_path_factory.mktemp("gpu")
    random = np.random.default_rng(0)
    w, b = random.standard_normal((6, 8), np.float32), random.standard_normal(8, np.float32)
    np.savez(folder / "weights.npz", w=w, b=b)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Relu", ["a"], ["r"]),
             helper.make_node("Add", ["r", "b"], ["y"]), helper.make_node("Softmax", ["y"], ["z"], axis=1)]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, (4, 6))],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, (4, 8)) for n in "yz"],
        [numpy_helper.from_array(w, "w"), numpy_helper.from_array(b, "b")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), folder / "m.onnx")
    subprocess.run([BIN / "burnish", "compile", "m.onnx", "-o", "m.so", "--target", "cuda:sm_90"], cwd=folder,
                   env=environment, check=True)
    return folder


PRELUDE = """
import ctypes, os
import burnish, numpy as np
weights = np.load("weights.npz")
random = np.random.default_rng(1)
x = random.random((4, 6), np.float32)
def answer(x):
    y = np.maximum(x @ weights["w"], 0) + weights["b"]
    e = np.exp(y - y.max(1, keepdims=True))
    return y, e / e.sum(1, keepdims=True)
def same(got, wanted):
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
session = burnish.InferenceSession("m.so")

driver = ctypes.CDLL(os.environ["BURNISH_CUDA_DRIVER"])
context, size = ctypes.c_void_p(), ctypes.c_size_t
driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
driver.cuCtxPushCurrent_v2(context)
class OnGpu:  # an array as numba has them
    def __init__(self, array, **more):
        self.at, self.array, self.more = ctypes.c_uint64(), np.ascontiguousarray(array), more
        driver.cuMemAlloc_v2(ctypes.byref(self.at), size(array.nbytes))
        driver.cuMemcpyHtoD_v2(self.at, self.array.ctypes.data_as(ctypes.c_void_p), size(array.nbytes))
    @property
    def __cuda_array_interface__(self):
        return {"data": (self.at.value, False), "shape": self.array.shape, "typestr": self.array.dtype.str,
                "version": 3, **self.more}
    def get(self):
        return taken(self)
def taken(array):
    given = array.__cuda_array_interface__
    out = np.empty(given["shape"], given["typestr"])
    driver.cuMemcpyDtoH_v2(out.ctypes.data_as(ctypes.c_void_p), ctypes.c_uint64(given["data"][0]), size(out.nbytes))
    return out
def refused(text, call):
    try:
        call()
    except burnish.UserError as error:
        assert text in str(error), error
    else:
        raise AssertionError("accepted")
"""


def python(model, environment, program):
    done = subprocess.run([sys.executable, "-c", PRELUDE + program], cwd=model, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_arrays_in_main_memory(model, environment):
    python(model, environment, """
for seed in range(3):
    x = np.random.default_rng(seed).random((4, 6), np.float32)
    y, z = session.run(None, {"x": x})
    same(y, answer(x)[0]), same(z, answer(x)[1])
assert session.time_evaluator(number=2, repeat=2)({"x": x}).mean > 0
""")


def test_arrays_on_the_gpu(model, environment):
    python(model, environment, """
y, z = session.run(None, {"x": OnGpu(x)})
same(y, answer(x)[0]), same(z, answer(x)[1])
target = OnGpu(np.zeros((4, 8), np.float32))
y, z = session.run(None, {"x": OnGpu(x)}, outputs={"y": target})
assert y is target
same(target.get(), answer(x)[0]), same(z, answer(x)[1])
z, y = session.run(["z", "y"], {"x": x}, on_device=True)
assert isinstance(y, burnish.DeviceArray) and y.shape == (4, 8) and y.type == "float32" and y.__dlpack_device__() == (2, 0)
same(taken(y), answer(x)[0]), same(taken(z), answer(x)[1])
""")


def test_dlpack_both_ways(model, environment):
    python(model, environment, """
class Reversed:  # DLPack only
    def __init__(self, array): self.array = array
    def __dlpack__(self, stream=None, **options):
        assert stream == 1
        return self.array.__dlpack__(stream=stream)
    def __dlpack_device__(self): return self.array.__dlpack_device__()
y, = session.run(["y"], {"x": x}, on_device=True)
target = OnGpu(np.zeros((4, 8), np.float32))
other = burnish.InferenceSession("m.so")
refused("f32 of shape 4x6", lambda: other.run(None, {"x": Reversed(y)}))
z, = other.run(["z"], {"x": x}, outputs={"y": Reversed(y)})
same(z, answer(x)[1]), same(taken(y), answer(x)[0])
# As an input: of a model that takes what the other gives.
import subprocess, onnx
w = random.standard_normal((8, 6)).astype(np.float32)
nodes = [onnx.helper.make_node("MatMul", ["y", "w"], ["x"])]
tensor = lambda name, shape: onnx.helper.make_tensor_value_info(name, 1, shape)
graph = onnx.helper.make_graph(nodes, "g", [tensor("y", (4, 8))], [tensor("x", (4, 6))], [onnx.numpy_helper.from_array(w, "w")])
onnx.save(onnx.helper.make_model(graph), "next.onnx")
after = burnish.InferenceSession(burnish.compile("next.onnx", target="cuda:sm_90").library)
end, = after.run(None, {"y": Reversed(y)})
same(end, answer(x)[0] @ w)
""")


def test_streams(model, environment):
    python(model, environment, """
stream = ctypes.c_uint64()
driver.cuStreamCreate(ctypes.byref(stream), 1)
class Stream:
    cuda_stream = stream.value
y, = session.run(["y"], {"x": OnGpu(x)}, on_device=True, stream=Stream())
raw = taken(y)
assert not np.allclose(raw, answer(x)[0])  # the fake begins when somebody waits
y.__dlpack__(stream=stream.value)
assert not np.allclose(taken(y), answer(x)[0])
y.__dlpack__(stream=1)
same(taken(y), answer(x)[0])
y, = session.run(["y"], {"x": OnGpu(x + 1)}, on_device=True, stream=stream.value)
session.synchronize()
same(taken(y), answer(x + 1)[0])
y, = session.run(["y"], {"x": OnGpu(x)}, stream=stream.value)  # in main memory: waited for
same(y, answer(x)[0])
refused("works on another stream", lambda: session.run(None, {"x": OnGpu(x, stream=stream.value)}))
session.run(None, {"x": OnGpu(x, stream=stream.value)}, stream=stream.value)
refused("a stream of torch", lambda: session.run(None, {"x": x}, stream="fast"))
""")


def test_what_does_not_fit_is_refused(model, environment):
    python(model, environment, """
refused("C-contiguous", lambda: session.run(None, {"x": OnGpu(x, strides=(4, 16))}))
session.run(None, {"x": OnGpu(x, strides=(24, 4))})
refused("f32 of shape 4x6", lambda: session.run(None, {"x": OnGpu(np.zeros((6, 4), np.float32))}))
refused("'<c8'", lambda: session.run(None, {"x": OnGpu(np.zeros((4, 6), np.complex64))}))
refused("takes arrays on the GPU", lambda: session.run(None, {"x": x}, outputs={"y": np.zeros((4, 8), np.float32)}))
refused("there is no output 'q'", lambda: session.run(None, {"x": x}, outputs={"q": OnGpu(x)}))
refused("there is no GPU number 5", lambda: burnish.InferenceSession("m.so", device=5))
""")


def test_without_a_driver(model, environment):
    program = "import burnish; assert 'cuda' in burnish.Model('m.so').target; burnish.InferenceSession('m.so')"
    done = subprocess.run([sys.executable, "-c", program], cwd=model, capture_output=True, text=True,
                          env={**environment, "BURNISH_CUDA_DRIVER": "/nowhere/libcuda.so.1"})
    assert "burnish._core.Unsupported: the model runs on an NVIDIA GPU, and NVIDIA's driver is not installed" in done.stderr


def command(model, environment, *args, status=0):
    done = subprocess.run([BIN / "burnish", *args], cwd=model, env=environment, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_commands(model, environment):
    assert command(model, environment, "run", "m.so", "--input", "x=random").startswith("y f32 4x8 min")
    assert "no GPU number 2" in command(model, environment, "run", "m.so", "--input", "x=random", "--device", "2", status=1)
    bench = ["bench", "m.so", "--warmup", "0", "--duration", "0.01"]
    text = command(model, environment, *bench)
    assert text.startswith("Fake GPU, sm_90, the host's memory") and "copies included" in text
    assert '"device_memory":true' in command(model, environment, *bench, "--device-memory", "--json")
    text = command(model, environment, "profile", "m.so", "--runs", "2", "--by-time")
    assert "kernels on Fake GPU" in text and "matmul" in text
    assert "CPU" in command(model, environment, "profile", "m.so", "--roofline", status=1)
    assert "ok  y" in command(model, environment, "verify", "m.onnx", "--target", "cuda:sm_90")


def test_tuning(model, environment):
    search = ["tune", "m.onnx", "--target", "cuda:sm_90", "--records", "gpu.db"]
    text = command(model, environment, *search, "--trials", "4", "--report", "gpu.html")
    assert "4 trials" in text and "model, measured in turns" in text
    assert "way" in (model / "gpu.html").read_text()
    records = [json.loads(line) for line in command(model, environment, "records", "export", "gpu.db").splitlines()]
    tried = [r for r in records if "knobs" in r]
    assert len(tried) > 4 and {r["status"] for r in tried} == {"ok"}
    assert any(r["knobs"].startswith("way=") for r in tried)
    command(model, environment, "compile", "m.onnx", "--target", "cuda:sm_90", "--records", "gpu.db", "-o", "tuned.so")
    python(model, environment, """
session = burnish.InferenceSession("tuned.so")
for got, wanted in zip(session.run(["y", "z"], {"x": x}), answer(x)): same(got, wanted)
result = burnish.tune("m.onnx", target="cuda:sm_90", trials=1, records="gpu.db")
assert result.trials == 1 and result.target == "cuda:sm_90"
""")
    faulty = {**environment, "BURNISH_FAKE_FAULT": "illegal", "BURNISH_CACHE": "off"}
    assert "ILLEGAL_ADDRESS" in command(model, faulty, *search, "--trials", "1", status=1)


def test_models_of_the_cpu_have_no_gpu(model, environment):
    command(model, environment, "compile", "m.onnx", "-o", "cpu.so")
    assert "runs on the CPU" in command(model, environment, "run", "cpu.so", "--input", "x=random", "--device", "1", status=1)
    assert "on a GPU" in command(model, environment, "bench", "cpu.so", "--device-memory", "--duration", "0.01", status=1)
    python(model, environment, """
session = burnish.InferenceSession("cpu.so")
refused("the CPU", lambda: session.run(None, {"x": x}, on_device=True))
""")
