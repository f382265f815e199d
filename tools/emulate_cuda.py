#!/usr/bin/env python3
"""Runs a model's CUDA kernels on the CPU and compares with the model compiled for the CPU: whole networks without a GPU.

The kernels' source is compiled as C++ with tests/cuda/emulation.h and launched as the library's metadata says. Some 10 million
multiply-adds a second. Needs NVRTC (the library is built) and g++.

    build/venv/bin/python tools/emulate_cuda.py model.onnx --shape x=1x3x64x64 [--target cuda:sm_90] [--precision tf32]
"""

import argparse
import ctypes
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import burnish

EMULATION = Path(__file__).resolve().parent.parent / "tests/cuda/emulation.h"
DTYPES = {"f32": np.float32, "f64": np.float64, "bool": np.bool_, "i8": np.int8, "u8": np.uint8, "i16": np.int16,
          "u16": np.uint16, "i32": np.int32, "u32": np.uint32, "i64": np.int64, "u64": np.uint64}

SUPPORT = """
#include <stdio.h>
#include <stdlib.h>
struct Any { char* at; template <class T> operator T*() const { return (T*)at; } };
static char* memory_of(size_t bytes, const char* file) {
  char* at = (char*)aligned_alloc(256, bytes / 256 * 256 + 256);
  memset(at, 0xff, bytes);  // floats: NaN
  if (!file) return at;
  FILE* f = fopen(file, "rb");
  if (!f || fread(at, 1, bytes, f) != bytes) abort();
  fclose(f);
  return at;
}
static void save(const char* file, const char* at, size_t bytes) {
  FILE* f = fopen(file, "wb");
  if (!f || fwrite(at, 1, bytes, f) != bytes || fclose(f)) abort();
}
"""


class Entry(ctypes.Structure):  # burnish_entry of include/burnish/abi.h
    _fields_ = [("abi", ctypes.c_uint32), ("steps", ctypes.c_uint32), ("run", ctypes.c_void_p), ("reserved", ctypes.c_void_p),
                ("weights", ctypes.c_void_p), ("weights_bytes", ctypes.c_uint64)]


def weights_of(library, count, folder):
    file = folder / "model.so"
    file.write_bytes(library)
    loaded = ctypes.CDLL(str(file))
    loaded.burnish_model_entry.restype = ctypes.POINTER(Entry)
    entry = loaded.burnish_model_entry().contents
    return ctypes.string_at(entry.weights, count) if count else b""


def bytes_of(port):
    return math.prod(port["shape"]) * np.dtype(DTYPES[port["dtype"]]).itemsize


def program(source, metadata, folder, reversed_order):
    """The C++ source of a program that reads in*.bin and weights.bin and writes out*.bin."""
    device, inputs, outputs = metadata["device"], metadata["inputs"], metadata["outputs"]
    places = {-1: "arena", -2: "weights"}
    text = [f'#include "{EMULATION}"', source, SUPPORT, "int main() {"]
    text += [f'char* t{i} = memory_of({bytes_of(x)}, "{folder}/in{i}.bin");' for i, x in enumerate(inputs)]
    text += [f"char* t{len(inputs) + i} = memory_of({bytes_of(x)}, nullptr);" for i, x in enumerate(outputs)]
    text.append(f"char* arena = memory_of({metadata['arena_bytes']}, nullptr);")
    text.append(f'char* weights = memory_of({device["weights_bytes"]}, "{folder}/weights.bin");')
    for launch in device["launches"]:
        kernel = device["kernels"][launch["kernel"]]
        args = ", ".join(f"Any{{{places.get(place, f't{place}')} + {offset}}}" for place, offset in launch["args"])
        text.append(f"emulation::launch({launch['blocks']}, {kernel['threads']}, {reversed_order}, [&] {{ {kernel['name']}({args}); }});")
    text += [f'save("{folder}/out{i}.bin", t{len(inputs) + i}, {bytes_of(x)});' for i, x in enumerate(outputs)]
    return "\n".join([*text, "}\n"])


def emulate(model, feeds, target="cuda:sm_90", precision=None, reversed_order=False, records=None):
    """Outputs of the model, its kernels run on the CPU. `feeds`: arrays by name; `records`: a database of tuned schedules."""
    compiled = burnish.compile(model, shapes={name: x.shape for name, x in feeds.items()}, target=target, precision=precision, records=records)
    metadata = json.loads(compiled.metadata)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for i, port in enumerate(metadata["inputs"]):
            np.ascontiguousarray(feeds[port["name"]]).tofile(folder / f"in{i}.bin")
        (folder / "weights.bin").write_bytes(weights_of(compiled.library, metadata["device"]["weights_bytes"], folder))
        (folder / "kernels.cpp").write_text(program(compiled.emit("cuda"), metadata, folder, str(reversed_order).lower()))
        flags = ["-std=c++17", "-O2", "-fwrapv", "-w", "-o", str(folder / "kernels")]
        subprocess.run([os.environ.get("CXX", "g++"), *flags, str(folder / "kernels.cpp")], check=True)
        subprocess.run([str(folder / "kernels")], check=True)
        return [np.fromfile(folder / f"out{i}.bin", DTYPES[port["dtype"]]).reshape(port["shape"])
                for i, port in enumerate(metadata["outputs"])]


def random_feeds(session, seed):
    random = np.random.default_rng(seed)
    return {port.name: random.random(port.shape).astype(port.type) if np.dtype(port.type).kind == "f"
            else random.integers(0, 2, port.shape).astype(port.type) for port in session.get_inputs()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=1x3x64x64")
    parser.add_argument("--target", default="cuda:sm_90")
    parser.add_argument("--precision", choices=["strict", "tf32", "fp16", "bf16"])
    parser.add_argument("--records", help="tuned schedules")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reversed", action="store_true", help="blocks and threads from the last to the first")
    parser.add_argument("--tolerance", type=float, help="of an output's largest value: 1e-5 unless given, of tf32 1e-2; of fp16 and bf16, errors in the mean are compared with those of rounding every operator's result (docs/numbers.md)")
    options = parser.parse_args()
    shapes = {name: tuple(map(int, sizes.split("x"))) for name, sizes in (s.rsplit("=", 1) for s in options.shape)}
    session = burnish.InferenceSession(burnish.compile(options.model, shapes=shapes).library)

    def reference(rounding, feeds):
        wide = burnish.InferenceSession(burnish.compile(options.model, shapes=shapes, reference=True, reference_rounding=rounding).library)
        return wide.run(None, {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in feeds.items()})

    feeds = random_feeds(session, options.seed)
    half = {"fp16": "f16", "bf16": "bf16"}.get(options.precision) if not options.tolerance else None
    tolerance = options.tolerance or {None: 1e-5, "strict": 1e-5, "tf32": 1e-2, "fp16": 0, "bf16": 0}[options.precision]
    good = True
    results = emulate(options.model, feeds, options.target, options.precision, options.reversed, options.records)
    exact = reference("", feeds) if half else session.run(None, feeds)
    rounded = reference(half, feeds) if half else exact
    size = (lambda x: np.sqrt(np.square(x).mean())) if half else (lambda x: np.abs(x).max(initial=0))
    for port, got, wanted, narrow in zip(session.get_outputs(), results, exact, rounded, strict=True):
        error, largest, of_half = size(got.astype(float) - wanted), size(wanted.astype(float)), size(narrow.astype(float) - wanted)
        holds = bool(error <= (2 * of_half + 1e-6 * largest if half else tolerance * largest))
        good &= holds
        print(f"{port.name}: {'rms' if half else 'largest'} error {error:.3g} of {largest:.3g}{f', half precision {of_half:.3g}' if half else ''}"
              f"{'' if holds else ': DIFFERS'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
