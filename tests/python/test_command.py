"""The command: its exit statuses, what goes to stdout and what to stderr, and the files that it leaves."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(os.environ.get("BURNISH_COMMAND", ROOT / "build/bin/burnish"))

pytestmark = pytest.mark.skipif(not COMMAND.exists(), reason=f"{COMMAND} is not built")


def tensor(name, shape, dtype=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def save(path, nodes, inputs, outputs, weights=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(weights))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(3, 4), "w")
    save(tmp_path / "m.onnx", [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
         [tensor("x", ["n", 3])], [tensor("y", ["n", 4])], [weights])
    return tmp_path


def burnish(*args, status=0, **options):
    done = subprocess.run([COMMAND, *map(str, args)], capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == status, done.stderr
    if status:
        assert done.stderr.strip()
    return done


@pytest.fixture
def library(here):
    burnish("compile", "m.onnx", "-o", "m.so", "--shape", "x=2x3")
    return here / "m.so"


@pytest.mark.parametrize("args", [
    ["frobnicate"],
    ["compile", "m.onnx"],
    ["compile", "m.onnx", "-o", "out", "--shape", "x"],
    ["compile", "m.onnx", "-o", "out", "--shape", "x=2x-3"],
    ["compile", "m.onnx", "-o", "out", "--shape", "x=2x3", "--shape", "x=4x3"],
    ["compile", "m.onnx", "-o", "out", "--emit", "gold"],
    ["run", "m.so", "--shape", "x=2x3"],
    ["run", "m.so", "--input", "x"],
    ["run", "m.so", "--input", "x=random", "--input", "x=random"],
    ["run", "m.so", "--input", "x=random:one"],
    ["run", "m.so", "--threads", "100000"],
    ["bench", "m.so", "--duration", "-1"],
])
def test_wrong_usage(library, args):
    assert burnish(*args, status=2).stdout == ""
    assert not (library.parent / "out").exists()


def test_the_model_may_follow_an_option(here):
    burnish("compile", "--shape", "x=2x3", "m.onnx", "-o", "m.so")
    assert burnish("run", "--input", "x=random", "m.so").stdout.startswith("y f32 2x4")


def test_an_unknown_command_is_named(here):
    assert "'frobnicate'" in burnish("frobnicate", status=2).stderr


def test_results_and_messages_are_apart(here):
    done = burnish("compile", "m.onnx", "-o", "m.so", "--shape", "x=2x3")
    assert done.stdout == "" and "wrote m.so" in done.stderr
    done = burnish("compile", "m.onnx", "--shape", "x=2x3", "--emit", "graph", "--time-passes")
    assert done.stdout.startswith("graph ") and "fuse" in done.stderr
    assert "build" not in done.stderr  # a text is asked for: no code is made


def test_no_library_from_half_a_pipeline(here):
    for options in (["--stop-after", "fuse"], ["--stop-after", "to_program"], ["--disable", "place_weights"]):
        assert "no code" in burnish("compile", "m.onnx", "-o", "m.so", "--shape", "x=2x3", *options, status=1).stderr
    assert "'fuse'" in burnish("compile", "m.onnx", "-o", "m.so", "--shape", "x=2x3", "--disable", "fuse", status=1).stderr
    assert burnish("compile", "m.onnx", "--shape", "x=2x3", "--emit", "graph", "--stop-after", "simplify").stdout
    assert os.listdir() == ["m.onnx"]


def test_unsupported_operators_are_all_listed(here):
    save("u.onnx", [helper.make_node("Frob", ["x"], ["h"]), helper.make_node("Relu", ["h"], ["k"]),
                    helper.make_node("Nicate", ["k"], ["y"])], [tensor("x", [2])], [tensor("y", [2])])
    message = burnish("inspect", "u.onnx", status=3).stderr
    assert "Frob" in message and "Nicate" in message


def test_a_model_with_open_sizes(here):
    done = burnish("inspect", "m.onnx", "--shape", "x=2x3")
    assert "x f32 2x3" in done.stdout and "matmul" in done.stdout and "multiply-adds a run" in done.stdout
    nodes = [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Neg", ["h"], ["y"])]
    save("open.onnx", nodes, [tensor("x", ["n", 3, "height"])], [tensor("y", ["n", 3, "height"])])
    done = burnish("inspect", "open.onnx")
    assert "input   x f32 [n, 3, height]" in done.stdout and "output  y f32 [n, 3, height]" in done.stdout
    assert "1  Relu" in done.stdout and "--shape x=1x3x320" in done.stdout
    save("u.onnx", [*nodes, helper.make_node("Frob", ["h"], ["z"], name="f1")], [tensor("x", ["n", 3, "height"])],
         [tensor("z", None)])
    assert "f1" in burnish("inspect", "u.onnx", status=3).stderr


def test_unsupported_operators_go_before_errors(here):
    w = numpy_helper.from_array(np.ones((5, 5), np.float32), "w")
    save("u.onnx", [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Frob", ["h"], ["y"], name="f1")],
         [tensor("x", [2, 3])], [tensor("y", None)], [w])
    for command in (["inspect", "u.onnx"], ["compile", "u.onnx", "-o", "u.so"]):
        message = burnish(*command, status=3).stderr
        assert "Frob" in message and "f1" in message


def test_what_cannot_be_written_leaves_nothing(here, library):
    compile = ["compile", "m.onnx", "--shape", "x=2x3", "-o"]
    burnish(*compile, "/dev/full", status=1)
    (here / "folder").mkdir()
    for place, reason in {"nowhere/m.so": "No such file", "folder": "it is a folder", "folder/": "it is a folder",
                          "m.onnx/m.so": "Not a directory"}.items():
        # Found before the model is read: it is not there.
        assert reason in burnish("compile", "missing.onnx", "-o", place, status=1).stderr
    before = library.read_bytes()
    done = burnish(*compile, "m.so", status=1, preexec_fn=_small_files)  # an error, not the death of SIGXFSZ
    assert "File too large" in done.stderr
    assert sorted(os.listdir()) == ["folder", "m.onnx", "m.so"] and library.read_bytes() == before
    with open("/dev/full", "w") as full:
        done = subprocess.run([COMMAND, "inspect", "m.onnx", "--shape", "x=2x3"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and b"cannot write" in done.stderr


def _small_files():
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))


def test_interrupted(library):
    process = subprocess.Popen([COMMAND, "bench", library, "--duration", "60"], stdout=subprocess.PIPE)
    time.sleep(0.4)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=10)[0] == b""
    assert process.returncode in (-signal.SIGINT, 130)


def test_outputs_as_files(here):
    names = ["a/b", "a_b", "../up", "x=1:0"]
    save("n.onnx", [helper.make_node(op, ["in=put"], [name]) for op, name in zip(["Relu", "Neg", "Exp", "Abs"], names)],
         [tensor("in=put", [2, 3])], [tensor(name, [2, 3]) for name in names])
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    np.save("x.npy", x)
    burnish("run", "n.onnx", "--input", "in=put=@x.npy", "--output", "out")
    assert sorted(os.listdir("out")) == [".._up.npy", "a_b.1.npy", "a_b.npy", "x=1:0.npy"]
    np.testing.assert_array_equal(np.load("out/a_b.npy"), np.maximum(x, 0))
    np.testing.assert_array_equal(np.load("out/a_b.1.npy"), -x)
    burnish("run", "n.onnx", "--input", "in=put=@x.npy", "--output", "out.npz")
    np.testing.assert_array_equal(np.load("out.npz")["x=1:0"], abs(x))


def test_types_that_numpy_has_not(here):
    types = [TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.BOOL, TensorProto.INT8]
    save("t.onnx", [helper.make_node("Cast", ["x"], [f"y{t}"], to=t) for t in types], [tensor("x", [5])],
         [tensor(f"y{t}", [5], t) for t in types])
    x = np.array([0, 1.5, -2, 3.0e-6, 96], dtype=np.float32)
    np.save("x.npy", x)
    done = burnish("run", "t.onnx", "--input", "x=@x.npy", "--output", "out.npz")
    saved = np.load("out.npz")
    np.testing.assert_array_equal(saved[f"y{TensorProto.FLOAT16}"], x.astype(np.float16))
    np.testing.assert_allclose(saved[f"y{TensorProto.BFLOAT16}"], x, rtol=2.0**-8)
    assert all("min -2 mean" in line and "max 96" in line for line in done.stdout.splitlines() if "bool" not in line)
    burnish("verify", "t.onnx", "--input", "x=@x.npy")


@pytest.mark.parametrize(("array", "message"), [
    (np.zeros((2, 3)), "f64"),
    (np.zeros((3, 2), np.float32), "3x2"),
    (np.asfortranarray(np.zeros((2, 3), np.float32)), "Fortran"),
    (np.zeros((2, 3), ">f4"), ">f4"),
])
def test_wrong_arrays(library, array, message):
    np.save("x.npy", array)
    assert message in burnish("run", library, "--input", "x=@x.npy", status=1).stderr


@pytest.fixture(scope="module")
def picture_net(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    save(folder / "p.onnx", [helper.make_node("Identity", ["x"], ["y"])], [tensor("x", [1, 3, 2, 2])],
         [tensor("y", [1, 3, 2, 2])])
    burnish("compile", folder / "p.onnx", "-o", folder / "p.so")
    return folder / "p.so"


def png(path, pixels):
    """A PNG of height x width x 3 bytes, without a library for it."""
    import struct
    import zlib

    height, width, _ = pixels.shape

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) +
                     chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def test_pictures(here, picture_net):
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    png(here / "a b:c.png", pixels)
    planes = pixels.transpose(2, 0, 1)[None].astype(np.float32)
    for options, expected in {
        "": planes, ":bgr": planes[:, ::-1], ":mean=1,scale=0.5": (planes - 1) * 0.5,
        ":bgr,mean=1/2/3": planes[:, ::-1] - np.float32([1, 2, 3]).reshape(3, 1, 1),
    }.items():
        burnish("run", picture_net, "--input", f"x=a b:c.png{options}", "--output", "o.npz")
        np.testing.assert_array_equal(np.load("o.npz")["y"], expected)
    (here / "cut.png").write_bytes((here / "a b:c.png").read_bytes()[:-20])
    burnish("run", picture_net, "--input", "x=cut.png", status=1)
    burnish("run", picture_net, "--input", "x=a b:c.png:mean=1/2", status=1)
    burnish("run", picture_net, "--input", "x=a b:c.png:sepia=1", status=1)


def planes_of(folder, file, height, width):
    """The planes that the command makes of a picture."""
    save(folder / "i.onnx", [helper.make_node("Identity", ["x"], ["y"])], [tensor("x", [1, 3, height, width])],
         [tensor("y", [1, 3, height, width])])
    burnish("run", folder / "i.onnx", "--input", f"x={file}", "--output", folder / "o.npz")
    return np.load(folder / "o.npz")["y"][0]


@pytest.mark.parametrize("size", [(40, 50), (20, 25), (7, 100), (3, 2), (61, 83)])
def test_resized_pictures(here, size):
    from PIL import Image

    print("seed 3")
    pixels = np.random.default_rng(3).integers(0, 256, (40, 50, 3), np.uint8)
    png(here / "p.png", pixels)
    expected = [np.asarray(Image.fromarray(pixels[..., c].astype(np.float32)).resize(size[::-1], Image.BILINEAR))
                for c in range(3)]
    np.testing.assert_allclose(planes_of(here, "p.png", *size), expected, atol=2e-3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_pictures_that_were_taken_sideways(here, orientation, order):
    from PIL import Image, ImageOps

    exif = Image.Exif()
    exif.endian = order
    exif[0x010F] = "a maker"
    exif[0x0112] = orientation
    blocks = np.kron(np.uint8([[0, 60, 120], [180, 210, 250]]), np.ones((16, 16), np.uint8))
    Image.fromarray(np.stack([blocks, blocks // 2, 255 - blocks], -1)).save("p.jpg", exif=exif, quality=95)
    with Image.open("p.jpg") as picture:
        upright = np.asarray(ImageOps.exif_transpose(picture)).transpose(2, 0, 1)
    np.testing.assert_allclose(planes_of(here, "p.jpg", *upright.shape[1:]), upright, atol=2)


def test_pictures_with_damaged_exif(here):
    import struct

    from PIL import Image

    Image.new("RGB", (16, 16), (200, 100, 50)).save("p.jpg", quality=95)
    plain = (here / "p.jpg").read_bytes()
    wrong = [b"", b"II", b"II*\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0" * 9,
             b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0"]
    for tiff in wrong:
        body = b"Exif\0\0" + tiff
        (here / "e.jpg").write_bytes(plain[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + plain[2:])
        np.testing.assert_allclose(planes_of(here, "e.jpg", 1, 1).ravel(), [200, 100, 50], atol=3)


def test_cmyk_pictures(here):
    from PIL import Image

    inks = np.kron(np.random.default_rng(5).integers(0, 256, (2, 3, 4), np.uint8), np.ones((16, 16, 1), np.uint8))
    Image.fromarray(inks, "CMYK").save("p.jpg", quality=100, subsampling=0)
    with Image.open("p.jpg") as picture:
        assert picture.mode == "CMYK"
        expected = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_allclose(planes_of(here, "p.jpg", 32, 48), expected, atol=2)


def test_a_jpeg_that_claims_to_be_huge(here, picture_net):
    # Start, a frame header of 65500x65500 pixels in three components, and nothing behind: no 12 GB are taken for it.
    header = bytes.fromhex("ffd8 ffc0 0011 08 ffdc ffdc 03 01 11 00 02 11 00 03 11 00 ffda 000c 03 01 00 02 00 03 00 00 3f 00")
    (here / "huge.jpg").write_bytes(header)
    assert "65500x65500" in burnish("run", picture_net, "--input", "x=huge.jpg", status=1).stderr


def test_damaged_libraries(library):
    good = library.read_bytes()
    for bad in (b"", good[:100], good[: len(good) // 2], good[:300] + bytes([good[300] ^ 1]) + good[301:]):
        library.write_bytes(bad)
        burnish("run", library, "--input", "x=random", status=1)


@pytest.mark.parametrize(("target", "lacks", "message"), [
    ("llvm:triple=aarch64-linux-gnu,cpu=cortex-a76", "vendor_id", "AArch64"),
    ("llvm:cpu=sapphirerapids", "avx512_fp16", "avx512fp16"),
])
def test_libraries_for_another_cpu(here, target, lacks, message):
    cpu = Path("/proc/cpuinfo").read_text()
    if "vendor_id" not in cpu or (lacks != "vendor_id" and lacks in cpu):
        pytest.skip("this machine can run it")
    burnish("compile", "m.onnx", "--shape", "x=2x3", "--target", target, "-o", "m.so")
    assert message in burnish("run", "m.so", "--input", "x=random", status=3).stderr


def test_precisions_of_gpus(here):
    options = ["compile", "m.onnx", "--shape", "x=2x3", "--emit", "cuda", "-o", "m.cu"]
    for precision in ("strict", "tf32", "fp16", "bf16"):
        burnish(*options, "--target", "cuda:sm_80", "--precision", precision)
        assert ("const bfloat16*" in (here / "m.cu").read_text()) == (precision == "bf16")
    message = burnish(*options, "--target", "cuda:sm_75", "--precision", "bf16", status=1).stderr
    assert "from sm_80 on" in message and "precision=fp16" in message
    burnish(*options, "--target", "cuda:sm_80", "--precision", "f16", status=2)


def test_libraries_where_models_belong(library):
    for command in (["inspect"], ["verify"], ["lower"], ["compile", "-o", "n.so"]):
        assert "give the model" in burnish(*command, library, status=1).stderr


def test_no_folder_for_temporary_files(here):
    for args in (["compile", "m.onnx", "-o", "m.so"], ["lower", "m.onnx", "--pass", "fuse"]):
        message = burnish(*args, status=1, env={"TMPDIR": "/nowhere"}).stderr
        assert "set TMPDIR" in message and "filesystem" not in message


def test_dumps(here):
    burnish("compile", "m.onnx", "-o", "m.so", "--dump", "all", "dumps")
    names = sorted(os.listdir("dumps"))
    assert names[0] == "01-fold_constants.after.txt" and "04-fold_constants.before.txt" in names
    message = burnish("compile", "m.onnx", "-o", "m.so", "--dump", "all", "/dev/full", status=1).stderr
    assert "cannot make the folder /dev/full" in message and "filesystem" not in message
    heads = [line for line in burnish("lower", "m.onnx", "--pass", "fold_constants").stdout.splitlines()
             if line.startswith("# ")]
    assert heads == ["# 01-fold_constants.before", "# 01-fold_constants.after",
                     "# 04-fold_constants.before", "# 04-fold_constants.after"]


def test_names_and_places(here):
    (here / "ein Ordner").mkdir()
    shutil.copy("m.onnx", "ein Ordner/möd el.onnx")
    burnish("compile", "../m.onnx", "-o", "./ü.so", "--shape", "x=2x3", cwd="ein Ordner", env={})
    burnish("run", "ein Ordner/ü.so", "--input", "x=random", env={"LC_ALL": "de_DE.UTF-8"})
    assert "MACs" in burnish("inspect", "--help").stdout
    burnish("inspect", "ein Ordner/möd el.onnx", "--shape", "x=1x3")
    burnish("inspect", ".", status=1)
    burnish("inspect", "nothing.onnx", status=1)
