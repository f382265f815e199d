from pathlib import Path

import pytest
import tiny_library

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """build(inputs, outputs, body, **metadata): the path of a new library; see tiny_library.build."""
    folder = tmp_path_factory.mktemp("libraries")
    count = 0

    def make(inputs, outputs, body, **changes):
        nonlocal count
        count += 1
        return tiny_library.build(folder / f"m{count}.so", ROOT / "include", inputs, outputs, body, **changes)

    return make


@pytest.fixture(scope="session")
def affine(build):
    """y = 2x + 1 on 2x3 floats, and n + 1 on four integers."""
    return build(
        [("x", "f32", (2, 3)), ("n", "i64", (4,))], [("y", "f32", (2, 3)), ("m", "i64", (4,))],
        "const float* x = tensors[0]; const int64_t* n = tensors[1]; float* y = tensors[2]; int64_t* m = tensors[3];"
        "for (int i = 0; i < 6; ++i) y[i] = 2 * x[i] + 1; for (int i = 0; i < 4; ++i) m[i] = n[i] + 1;")
