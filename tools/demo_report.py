#!/usr/bin/env python3
"""The demo's second half: finds the same faces from Python, compares with the C++ example and with ONNX Runtime, and
times both engines in one interleaved run. Exits 1 when something that must be equal is not."""

import argparse
import sys
from pathlib import Path

import numpy as np
import onnx

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "bench"), str(ROOT / "examples/python_centerface")]

import centerface  # noqa: E402
import models  # noqa: E402
import peers  # noqa: E402
from engines import Worker  # noqa: E402

ROUNDS, SECONDS = 8, 0.25
TOLERANCE = 1e-3  # of each output's largest value


def read_faces(path):
    """What examples/cpp_centerface prints, as rows of x1 y1 x2 y2 score and five times x y."""
    rows = []
    for line in path.read_text().splitlines():
        words = line.split()  # face SCORE box X1 Y1 X2 Y2 landmarks X Y ...
        rows.append([float(word) for word in [*words[3:7], words[1], *words[8:]]])
    return np.array(rows, np.float32).reshape(-1, 15)


def print_faces(faces):
    print(f"{len(faces)} face{'' if len(faces) == 1 else 's'}:")
    for face in faces:
        points = " ".join(f"({x:.0f}, {y:.0f})" for x, y in face[5:].reshape(5, 2))
        print(f"  x {face[0]:.0f}-{face[2]:.0f}  y {face[1]:.0f}-{face[3]:.0f}  score {face[4]:.2f}  landmarks {points}")


def time_both(library, shape, blob, threads):
    """Workers that have run, Burnish's first."""
    model = onnx.load(models.FOLDER / "centerface.onnx")
    shapes = {"input.1": shape}
    prepared = models.prepared(model, shapes).SerializeToString()
    workers = [Worker(engine, str(library), prepared, shapes, threads, {"input.1": blob})
               for engine in ("burnish", "onnxruntime")]
    for worker in workers:
        if worker.error is not None:
            sys.exit(f"demo: {worker.engine}: {worker.error}")
        worker.measure(SECONDS, keep=False)
    for _ in range(ROUNDS):
        for worker in workers:
            worker.measure(SECONDS)
    for worker in workers:
        worker.close()
    return workers


def main():
    import burnish

    parser = argparse.ArgumentParser()
    for option in ("library", "picture", "cpp-faces", "cpp-raw"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    parser.add_argument("--shape", required=True)
    options = parser.parse_args()
    shape = tuple(int(size) for size in options.shape.split("x"))

    session = burnish.InferenceSession(options.library)
    faces, outputs = centerface.detect(session, options.picture)
    print_faces(faces)
    same_outputs = options.cpp_raw.read_bytes() == b"".join(output.tobytes() for output in outputs)
    cpp = read_faces(options.cpp_faces)
    same_faces = cpp.shape == faces.shape and bool(np.allclose(cpp, faces, rtol=0, atol=0.011))  # of two digits

    blob = centerface.blob_of(options.picture, *shape[2:])
    print(f"\n{peers.machine()}; CenterFace {options.shape}, fp32")
    print(f"{'threads':>8}{'Burnish ms':>12}{'ONNX Runtime ms':>17}{'ratio':>8}{'largest difference':>20}")
    worst = 0.0
    for threads in (1, 2):
        ours, theirs = time_both(options.library, shape, blob, threads)
        difference = peers.difference(ours.outputs, theirs.outputs)
        worst = max(worst, difference)
        print(f"{threads:>8}{ours.median_ms():>12.2f}{theirs.median_ms():>17.2f}"
              f"{ours.median_ms() / theirs.median_ms():>8.2f}{difference:>20.1e}")
    print("the difference is that of any output, relative to the output's largest value")
    print(f"C++ and Python: the network's outputs are {'equal bit by bit' if same_outputs else 'DIFFERENT'}, "
          f"the faces {'equal' if same_faces else 'DIFFERENT'}")
    if worst > TOLERANCE:
        print(f"the outputs DIFFER from ONNX Runtime's by more than {TOLERANCE:g}")
    return 0 if same_outputs and same_faces and worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
