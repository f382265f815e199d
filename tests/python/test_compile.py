"""burnish.compile and burnish.inspect: from an ONNX file to answers."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import burnish
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

SEED = 7


def saved(path, nodes, inputs, outputs, weights=(), **options):
    """A model file. inputs and outputs are (name, shape), all f32."""
    def tensors(specs):
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in specs]

    graph = helper.make_graph(nodes, "test", tensors(inputs), tensors(outputs),
                              [numpy_helper.from_array(array, name) for name, array in weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path, **options)
    return path


@pytest.fixture
def random():
    print("seed", SEED)
    return np.random.default_rng(SEED)


@pytest.fixture
def dense(tmp_path, random):
    """y = relu(x w + b), x of n rows, and the answer in numpy."""
    w, b = random.standard_normal((5, 3), np.float32), random.standard_normal(3, np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"], name="product"),
             helper.make_node("Add", ["p", "b"], ["s"], name="sum"),
             helper.make_node("Relu", ["s"], ["y"], name="clipped")]
    path = saved(tmp_path / "dense.onnx", nodes, [("x", ["n", 5])], [("y", ["n", 3])], [("w", w), ("b", b)])
    return path, lambda x: np.maximum(x @ w + b, 0)


def test_from_a_file_to_answers(dense, tmp_path, random):
    path, answer = dense
    burnish.compile(path, shapes={"x": (4, 5)}).export(tmp_path / "dense.so")
    session = burnish.InferenceSession(tmp_path / "dense.so", threads=1)
    assert [(i.name, i.shape, i.type) for i in session.get_inputs()] == [("x", (4, 5), "float32")]
    assert [(o.name, o.shape, o.type) for o in session.get_outputs()] == [("y", (4, 3), "float32")]
    x = random.standard_normal((4, 5), np.float32)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], answer(x), rtol=1e-5, atol=1e-6)


def test_a_convolution_of_every_border(tmp_path, random):
    w, b = random.standard_normal((6, 3, 3, 3), np.float32), random.standard_normal(6, np.float32)
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
    path = saved(tmp_path / "conv.onnx", [node], [("x", [2, 3, 9, 7])], [("y", [2, 6, 5, 4])], [("w", w), ("b", b)])
    x = random.standard_normal((2, 3, 9, 7), np.float32)
    y, = burnish.InferenceSession(burnish.compile(path).library).run(None, {"x": x})
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for i, j in np.ndindex(5, 4):
        window = padded[:, :, 2 * i:2 * i + 3, 2 * j:2 * j + 3]
        expected = np.einsum("ncij,ocij->no", window, w) + b
        np.testing.assert_allclose(y[:, :, i, j], expected, rtol=1e-4, atol=1e-5)


def test_any_number_of_threads_gives_the_same_bits(dense, random):
    path, _ = dense
    library = burnish.compile(path, shapes={"x": (64, 5)}, threads=2).library
    x = random.standard_normal((64, 5), np.float32)
    one, = burnish.InferenceSession(library, threads=1).run(None, {"x": x})
    three, = burnish.InferenceSession(library, threads=3).run(None, {"x": x})
    np.testing.assert_array_equal(one, three)


def test_the_reference_is_in_double_precision(dense, random):
    path, answer = dense
    session = burnish.InferenceSession(burnish.compile(path, shapes={"x": (4, 5)}, reference=True).library)
    assert session.get_inputs()[0].type == session.get_outputs()[0].type == "float64"
    x = random.standard_normal((4, 5))
    np.testing.assert_allclose(session.run(None, {"x": x})[0], answer(x), rtol=1e-13, atol=1e-13)


def test_the_reference_can_round_as_half_precision_does(tmp_path, random):
    x = random.standard_normal((3, 7))
    w = random.standard_normal(7).astype(np.float32)
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"]), helper.make_node("Add", ["y", "w"], ["z"])]
    path = saved(tmp_path / "m.onnx", nodes, [("x", [3, 7])], [("z", [3, 7])], [("w", w)])
    half = lambda v: v.astype(np.float16).astype(np.float64)
    session = burnish.InferenceSession(burnish.compile(path, reference=True, reference_rounding="f16").library)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], half(half(half(x) * half(w)) + half(w)))
    with pytest.raises(burnish.UserError, match="rounded to 'f8'"):
        burnish.compile(path, reference=True, reference_rounding="f8")


def test_the_same_model_gives_the_same_library(dense):
    path, _ = dense
    assert burnish.compile(path, shapes={"x": (4, 5)}).library == burnish.compile(path, shapes={"x": (4, 5)}).library


def test_what_the_compiler_tells(dense):
    path, _ = dense
    compiled = burnish.compile(path, shapes={"x": (4, 5)}, target="llvm:cpu=x86-64-v3", threads=2)
    assert '"cpu":"x86-64-v3"' in compiled.metadata and '"threads":2' in compiled.metadata
    for kind, sign in [("graph", "relu"), ("loops", "for "), ("llvm", "define "), ("asm", "ret")]:
        assert sign in compiled.emit(kind), kind
    assert compiled.emit("obj")[:4] == compiled.emit("so")[:4] == b"\x7fELF"
    with pytest.raises(burnish.UserError, match="'poetry'"):
        compiled.emit("poetry")
    tasks = compiled.tasks()
    assert sum(task.macs * task.count for task in tasks) >= 4 * 5 * 3
    assert {"product", "sum", "clipped"} <= {name for task in tasks for name in task.sources}
    assert compiled.task(tasks[0].name).loops
    with pytest.raises(burnish.UserError, match="no task 'none'.*" + tasks[0].name):
        compiled.task("none")


def test_inspect(dense):
    path, _ = dense
    summary = burnish.inspect(path, shapes={"x": (4, 5)})
    assert [(port.name, port.dtype, list(port.shape)) for port in summary.inputs] == [("x", "f32", [4, 5])]
    assert [(port.name, list(port.shape)) for port in summary.outputs] == [("y", [4, 3])]
    assert summary.parameters == 5 * 3 + 3
    assert summary.macs == 4 * 5 * 3
    assert summary.operators["matmul"] == 1 and summary.operators["relu"] == 1


def test_inspect_with_open_sizes(tmp_path):
    path = saved(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], [("x", ["n", 3, "width"])],
                 [("y", ["n", 3, None])])
    summary = burnish.inspect(path)
    assert [port.shape for port in summary.inputs + summary.outputs] == [["n", 3, "width"], ["n", 3, "?"]]
    assert summary.operators == {"Relu": 1} and summary.macs is None


def test_a_dimension_without_a_size(tmp_path):
    path = saved(tmp_path / "m.onnx", [helper.make_node("Relu", ["x"], ["y"])], [("x", [3, "width"])], [("y", None)])
    with pytest.raises(burnish.UserError, match=r"axis 1 \(width\) of input 'x'.*shapes={\"x\": \(3, "):
        burnish.compile(path)


@pytest.mark.parametrize("shapes, named", [
    ({"x": (4, 6)}, "product"), ({"z": (4, 5)}, "z"), ({"x": (4, 5, 1)}, "x"), ({"x": (-4, 5)}, "x"),
    ({"x": (2**62, 5)}, "x"),
])
def test_shapes_that_do_not_fit(dense, shapes, named):
    with pytest.raises(burnish.UserError, match=named):
        burnish.compile(dense[0], shapes=shapes)


def test_a_target_that_does_not_exist(dense):
    with pytest.raises(burnish.UserError, match="abacus"):
        burnish.compile(dense[0], shapes={"x": (4, 5)}, target="abacus")
    with pytest.raises(burnish.UserError, match="z80"):
        burnish.compile(dense[0], shapes={"x": (4, 5)}, target="llvm:cpu=z80")


@pytest.mark.parametrize("threads", [-3, 10**6])
def test_numbers_of_threads_that_no_code_is_laid_out_for(dense, threads):
    with pytest.raises(burnish.UserError, match=f"threads is {threads}"):
        burnish.compile(dense[0], shapes={"x": (4, 5)}, threads=threads)


def test_models_and_libraries_are_told_apart(dense, tmp_path):
    with pytest.raises(burnish.UserError, match="compile it first"):
        burnish.InferenceSession(dense[0])
    library = tmp_path / "m.so"
    burnish.compile(dense[0], shapes={"x": (4, 5)}).export(library)
    for function in (burnish.compile, burnish.inspect):
        with pytest.raises(burnish.UserError, match="is a compiled library.*give the model"):
            function(library)


def test_all_unknown_operators_at_once(tmp_path):
    nodes = [helper.make_node("Frobnicate", ["x"], ["t"], name="first"),
             helper.make_node("Quux", ["t"], ["y"], name="second")]
    path = saved(tmp_path / "odd.onnx", nodes, [("x", [3])], [("y", [3])])
    for function in (burnish.compile, burnish.inspect):
        with pytest.raises(burnish.Unsupported) as caught:
            function(path)
        for name in ("Frobnicate", "Quux", "first", "second"):
            assert name in str(caught.value)


def test_files_that_are_no_models(tmp_path):
    for name, contents in [("empty", b""), ("text", b"I am a letter, no network\n"), ("noise", bytes(range(256)) * 9)]:
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(contents)
        for function in (burnish.compile, burnish.inspect):
            with pytest.raises(burnish.UserError, match=f"{name}.onnx"):
                function(path)
    for path in (tmp_path / "nowhere.onnx", tmp_path):
        with pytest.raises(burnish.UserError, match=path.name):
            burnish.compile(path)


def test_every_prefix_of_a_file(dense, tmp_path):
    """A prefix may be a smaller model; mostly it is none. It is never a crash."""
    whole = dense[0].read_bytes()
    refused = 0
    for size in range(0, len(whole), 3):
        path = tmp_path / "prefix.onnx"
        path.write_bytes(whole[:size])
        try:
            burnish.compile(path, shapes={"x": (4, 5)})
        except burnish.Error as error:
            assert not isinstance(error, burnish.InternalError), f"{size} bytes: {error}"
            refused += 1
    assert refused > 0.9 * len(whole) / 3


def test_weights_in_a_second_file(tmp_path, random):
    w = random.standard_normal((40, 30), np.float32)
    path = saved(tmp_path / "m.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], [("x", [2, 40])], [("y", [2, 30])],
                 [("w", w)], save_as_external_data=True, location="w.bin", size_threshold=0)
    x = random.standard_normal((2, 40), np.float32)
    y, = burnish.InferenceSession(burnish.compile(path).library).run(None, {"x": x})
    np.testing.assert_allclose(y, x @ w, rtol=1e-4, atol=1e-5)
    with open(tmp_path / "w.bin", "r+b") as file:
        file.truncate(100)
    with pytest.raises(burnish.UserError, match="w.bin"):
        burnish.compile(path)


def test_an_output_that_cannot_be_written(dense, tmp_path):
    compiled = burnish.compile(dense[0], shapes={"x": (4, 5)})
    with pytest.raises(burnish.UserError, match="nowhere"):
        compiled.export(tmp_path / "nowhere" / "m.so")
    with pytest.raises(burnish.UserError, match="/dev/full"):
        compiled.export("/dev/full")
    assert not list(tmp_path.glob("**/*.so*"))


def test_compilations_side_by_side(dense, random):
    path, answer = dense
    failures = []

    def work(rows):
        library = burnish.compile(path, shapes={"x": (rows, 5)}).library
        x = np.ones((rows, 5), np.float32)
        y, = burnish.InferenceSession(library, threads=1).run(None, {"x": x})
        if not np.allclose(y, answer(x), atol=1e-5):
            failures.append(rows)

    threads = [threading.Thread(target=work, args=(rows,)) for rows in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_running_a_library_loads_no_compiler(dense, tmp_path):
    burnish.compile(dense[0], shapes={"x": (4, 5)}).export(tmp_path / "m.so")
    program = ("import sys, burnish, numpy; s = burnish.InferenceSession(sys.argv[1]);"
               "s.run(None, {'x': numpy.ones((4, 5), numpy.float32)});"
               "assert 'LLVM' not in open('/proc/self/maps').read()")
    subprocess.run([sys.executable, "-c", program, tmp_path / "m.so"], check=True)


def test_a_library_for_gpus(dense, random, monkeypatch):
    path, answer = dense
    try:
        compiled = burnish.compile(path, shapes={"x": (4, 5)}, target="cuda:sm_90", precision="tf32")
    except burnish.UserError as error:
        assert "BURNISH_NVRTC" in str(error)
        pytest.skip("NVRTC is not installed")
    metadata = json.loads(compiled.metadata)
    assert metadata["target"] == "cuda:sm_90,precision=tf32"
    device = metadata["device"]
    assert {image["form"] for image in device["images"]} == {"cubin", "ptx"}
    assert [launch["step"] for launch in device["launches"]] == list(range(len(metadata["steps"])))
    assert "__global__" in compiled.emit("cuda") and ".entry" in compiled.emit("ptx")
    with pytest.raises(burnish.UserError, match="cuda"):
        compiled.emit("asm")
    with pytest.raises(burnish.UserError, match="strict"):
        burnish.compile(path, shapes={"x": (4, 5)}, precision="fp16")
    # Its kernels on the CPU.
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "tools"))
    import emulate_cuda
    x = random.standard_normal((4, 5), np.float32)
    y, = emulate_cuda.emulate(path, {"x": x})
    np.testing.assert_allclose(y, answer(x), rtol=1e-5, atol=1e-6)
