"""burnish.InferenceSession over libraries made by hand."""

import gc
import signal
import threading
import time

import burnish
import numpy as np
import pytest

X = np.arange(6, dtype=np.float32).reshape(2, 3)
N = np.arange(4, dtype=np.int64)


class Dlpack:
    """An array that offers __dlpack__ and nothing else."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


@pytest.fixture
def session(affine):
    return burnish.InferenceSession(affine, threads=2)


def test_inputs_and_outputs_describe_themselves(session):
    x, n = session.get_inputs()
    assert (x.name, x.shape, x.type, x.nbytes) == ("x", (2, 3), "float32", 24)
    assert (n.name, n.shape, n.type) == ("n", (4,), "int64")
    assert [output.name for output in session.get_outputs()] == ["y", "m"]
    assert repr(n) == "TensorInfo(name='n', shape=(4,), type='int64')"
    assert session.threads == 2


def test_run_gives_all_outputs_in_order(session):
    y, m = session.run(None, {"n": N, "x": X})
    assert y.dtype == np.float32 and m.dtype == np.int64
    np.testing.assert_array_equal(y, 2 * X + 1)
    np.testing.assert_array_equal(m, N + 1)


def test_run_gives_the_outputs_asked_for(session):
    m, y, again = session.run(["m", "y", "m"], {"x": X, "n": N})
    np.testing.assert_array_equal(m, N + 1)
    np.testing.assert_array_equal(y, 2 * X + 1)
    assert again is m


def test_later_runs_leave_earlier_results_alone(session):
    results = [session.run(["y"], {"x": X + i, "n": N})[0] for i in range(10)]
    for i, y in enumerate(results):
        np.testing.assert_array_equal(y, 2 * (X + i) + 1)


def test_results_outlive_the_session(affine):
    session = burnish.InferenceSession(affine)
    y, _ = session.run(None, {"x": X, "n": N})
    del session
    gc.collect()
    np.testing.assert_array_equal(y, 2 * X + 1)


def test_results_are_writable_memory_of_their_own(session):
    first, _ = session.run(None, {"x": X, "n": N})
    first[:] = -1
    second, _ = session.run(None, {"x": X, "n": N})
    np.testing.assert_array_equal(second, 2 * X + 1)


def test_memory_is_recycled_once_its_array_is_gone(session):
    first, _ = session.run(None, {"x": X, "n": N})
    address = first.ctypes.data
    del first
    second, _ = session.run(None, {"x": X, "n": N})
    assert second.ctypes.data == address


@pytest.mark.parametrize("x", [
    np.asfortranarray(X),
    np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2] / 2,
    np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(2, 3),
    Dlpack(X.copy()),
], ids=["fortran", "strided", "misaligned", "dlpack"])
def test_arrays_of_any_layout(session, x):
    y, _ = session.run(None, {"x": x, "n": N})
    np.testing.assert_array_equal(y, 2 * X + 1)


def test_read_only_input(session):
    x = X.copy()
    x.flags.writeable = False
    np.testing.assert_array_equal(session.run(["y"], {"x": x, "n": N})[0], 2 * X + 1)


@pytest.mark.parametrize("dtype, name", [
    ("bool", "bool"), ("i8", "int8"), ("u8", "uint8"), ("i16", "int16"), ("u16", "uint16"), ("i32", "int32"),
    ("u32", "uint32"), ("i64", "int64"), ("u64", "uint64"), ("f16", "float16"), ("f32", "float32"), ("f64", "float64"),
    ("bf16", "bfloat16"),
])
def test_every_dtype_goes_in_and_out(build, dtype, name):
    ml_dtypes = pytest.importorskip("ml_dtypes") if name == "bfloat16" else None
    numpy_type = np.dtype(ml_dtypes.bfloat16 if ml_dtypes else name)
    library = build([("x", dtype, (5,))], [("y", dtype, (5,))],
                    f"const char* x = tensors[0]; char* y = tensors[1];"
                    f"for (int i = 0; i < {5 * numpy_type.itemsize}; ++i) y[i] = x[i];")
    x = np.array([0, 1, 1, 0, 1]).astype(numpy_type)
    y, = burnish.InferenceSession(library).run(None, {"x": x})
    assert y.dtype == numpy_type
    np.testing.assert_array_equal(y, x)


def test_scalars_and_empty_tensors(build):
    library = build([("s", "f32", ()), ("e", "f32", (0, 4))], [("t", "f32", ()), ("f", "f32", (0, 4))],
                    "*(float*)tensors[2] = *(const float*)tensors[0];")
    t, f = burnish.InferenceSession(library).run(
        None, {"s": np.array(3, np.float32), "e": np.zeros((0, 4), np.float32)})
    assert t.shape == () and t == 3
    assert f.shape == (0, 4)


@pytest.mark.parametrize("feeds, message", [
    ({"x": X}, r"input n \(int64 4\) is missing"),
    ({"x": X, "n": N, "z": N}, r"no input 'z'; the inputs are x \(float32 2x3\), n \(int64 4\)"),
    ({"x": X.astype(np.float64), "n": N}, r"x.*f32.*f64|x.*f64.*f32"),
    ({"x": X.reshape(3, 2), "n": N}, r"x.*2x3|x.*3x2"),
    ({"x": X[:1], "n": N}, r"x.*2x3|x.*1x3"),
    ({"x": X.astype(np.complex64), "n": N}, r"input x: "),
    ({"x": [[1.0, 2.0, 3.0]] * 2, "n": N}, r"input x: expected a numpy array .* got list"),
    ({"x": None, "n": N}, r"input x: expected a numpy array .* got NoneType"),
    ({1: X, "n": N}, r"inputs' names"),
])
def test_wrong_feeds_say_what_was_expected(session, feeds, message):
    with pytest.raises(burnish.UserError, match=message):
        session.run(None, feeds)
    np.testing.assert_array_equal(session.run(["y"], {"x": X, "n": N})[0], 2 * X + 1)


class Broken(Dlpack):
    def __dlpack__(self, **options):
        raise ZeroDivisionError("no memory of it")


def test_what_goes_wrong_inside_dlpack_is_the_cause(session):
    with pytest.raises(burnish.UserError, match="input x.*__dlpack__") as caught:
        session.run(None, {"x": Broken(X), "n": N})
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_wrong_output_name(session):
    with pytest.raises(burnish.UserError, match=r"no output 'q'; the outputs are y \(float32 2x3\), m \(int64 4\)"):
        session.run(["q"], {"x": X, "n": N})


def test_library_from_bytes_and_from_a_model(affine):
    feeds = {"x": X, "n": N}
    model = burnish.Model(affine)
    assert model.target == "llvm:cpu=x86-64"
    assert '"by hand"' in model.metadata
    for source in (affine.read_bytes(), str(affine), model):
        np.testing.assert_array_equal(burnish.InferenceSession(source).run(["y"], feeds)[0], 2 * X + 1)


def test_sessions_share_a_pool(affine):
    pool = burnish.ThreadPool(2)
    model = burnish.Model(affine)
    sessions = [burnish.InferenceSession(model, pool=pool) for _ in range(3)]
    assert [session.threads for session in sessions] == [2, 2, 2]
    del pool, model
    for session in sessions:
        np.testing.assert_array_equal(session.run(["y"], {"x": X, "n": N})[0], 2 * X + 1)


def test_missing_file(tmp_path):
    with pytest.raises(burnish.UserError, match="nowhere.so"):
        burnish.InferenceSession(tmp_path / "nowhere.so")


def test_bytes_are_a_library_and_no_path():
    for make in (burnish.Model, burnish.InferenceSession):
        with pytest.raises(burnish.UserError) as caught:
            make(b"abc")
        assert "abc" not in str(caught.value) and "No such file" not in str(caught.value)


def test_flipped_byte(affine):
    library = bytearray(affine.read_bytes())
    library[library.index(b"by hand")] ^= 1
    with pytest.raises(burnish.UserError, match="checksum"):
        burnish.Model(bytes(library))


def test_library_for_another_cpu(build):
    library = build([], [("y", "f32", (1,))], "", triple="aarch64-unknown-linux-gnu")
    with pytest.raises(burnish.Unsupported, match="aarch64"):
        burnish.Model(library)


def test_exceptions_have_one_base():
    for kind in (burnish.UserError, burnish.Unsupported, burnish.InternalError):
        assert issubclass(kind, burnish.Error) and issubclass(kind, RuntimeError)


SPIN = "volatile int64_t n = 0; while (n < *(const int64_t*)tensors[0]) ++n; *(int64_t*)tensors[1] = n;"


def test_the_gil_is_released_during_a_run(build):
    session = burnish.InferenceSession(build([("n", "i64", ())], [("m", "i64", ())], SPIN), threads=1)
    feeds = {"n": np.array(200_000_000, np.int64)}
    worker = threading.Thread(target=session.run, args=(None, feeds))
    worker.start()
    seen = 0
    while worker.is_alive():
        seen += 1
        time.sleep(0.001)
    worker.join()
    assert seen > 20  # held, the loop would have been stopped until the run ended


def test_threads_of_python_take_turns_on_one_session(session):
    failures = []

    def work(seed):
        random = np.random.default_rng(seed)
        for _ in range(50):
            x = random.standard_normal((2, 3)).astype(np.float32)
            y, m = session.run(None, {"x": x, "n": N + seed})
            if not (np.array_equal(y, 2 * x + 1) and np.array_equal(m, N + seed + 1)):
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_time_evaluator(build):
    session = burnish.InferenceSession(build([("n", "i64", ())], [("m", "i64", ())], SPIN), threads=1)
    short, long = ({"n": np.array(n, np.int64)} for n in (1_000, 1_000_000))
    evaluator = session.time_evaluator(number=3, repeat=5)
    result = evaluator(long)
    assert len(result.results) == 5 and result.number == 3
    assert 0 < result.min <= result.median <= result.max
    assert result.min <= result.mean <= result.max and result.std >= 0
    assert evaluator(short).median < result.median
    assert repr(result).startswith("TimeResult(mean=")


def test_time_evaluator_lengthens_short_repeats(build):
    session = burnish.InferenceSession(build([("n", "i64", ())], [("m", "i64", ())], SPIN), threads=1)
    result = session.time_evaluator(number=1, repeat=2, min_repeat_ms=20)({"n": np.array(1_000, np.int64)})
    assert result.number > 1
    assert result.results[-1] * result.number >= 0.020


@pytest.mark.parametrize("arguments", [{"number": 0}, {"repeat": 0}, {"min_repeat_ms": -1}, {"min_repeat_ms": float("nan")}])
def test_time_evaluator_checks_its_arguments(session, arguments):
    with pytest.raises(burnish.UserError, match="time_evaluator"):
        session.time_evaluator(**arguments)


def test_a_measurement_can_be_interrupted(build):
    library = build([("x", "f32", (1,))], [("y", "f32", (1,))],
                    "volatile double a = 1; for (int i = 0; i < 1000000; ++i) a *= 1.0000001; "
                    "((float*)tensors[1])[0] = (float)a;")
    session = burnish.InferenceSession(library, threads=1)
    timer = threading.Timer(0.3, signal.raise_signal, (signal.SIGINT,))
    timer.start()
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        session.time_evaluator(number=100_000)()
    assert time.monotonic() - begin < 20
    session.time_evaluator(number=1, repeat=1)()  # the session is as good as before


def test_an_array_in_foreign_byte_order_is_named(affine):
    session = burnish.InferenceSession(affine)
    with pytest.raises(burnish.UserError, match=r"byte order, got ndarray of >f4"):
        session.run(None, {"x": np.zeros((2, 3), ">f4"), "n": np.zeros(4, np.int64)})
