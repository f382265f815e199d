#!/usr/bin/env python3
"""How far Burnish's and ONNX Runtime's outputs are from the same network in fp64, for every model, on the portrait.

    bench/accuracy.py                       all models of bench/models.py
    bench/accuracy.py centerface --threads 1
    bench/accuracy.py my.onnx --shape x=1x3x224x224

Runs `burnish verify --against onnxruntime`. One line a network and output; exits 1 where the rule of docs/numbers.md
does not hold: rmse(burnish) <= 2 rmse(onnxruntime) + 1e-6 rms(fp64), with 4 instead of 2 for outputs behind Winograd
convolutions, which the compiled graph tells.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from peers import ROOT, machine, parse_shapes, reexecute_in_venv

BURNISH = ROOT / "build/bin/burnish"
RAW = ["centerface"]  # take pixels as 0-255; the others 0-1


def verify(path, shapes, inputs, threads):
    """(output, rms, rmse of Burnish, rmse of ONNX Runtime, whether the rule holds) of each output."""
    command = [BURNISH, "verify", path, "--against", "onnxruntime", "--python", sys.executable, "--threads", str(threads)]
    for name, shape in shapes.items():
        command += ["--shape", f"{name}={'x'.join(map(str, shape))}"]
    for text in inputs:
        command += ["--input", text]
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode not in (0, 4):
        raise SystemExit(f"{path.name}: {run.stderr.strip()}")
    rows = []
    for line in run.stdout.splitlines()[1:]:
        rms, ours, theirs, verdict, output = line.split(None, 4)
        rows.append((output, float(rms), float(ours), float(theirs), verdict == "ok"))
    return rows


def numbers(path, models):
    """Inputs of a model that takes no picture: the arrays that peers get, too."""
    import numpy as np
    import onnx

    inputs = []
    for name, array in models.feeds_for(onnx.load(path), {}).items():
        file = path.with_suffix(f".{name}.npy")
        np.save(file, array)
        inputs.append(f"{name}=@{file}")
    return inputs


def main():
    parser = argparse.ArgumentParser(description="Accuracy of Burnish and ONNX Runtime against fp64.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of bench/models.py, or .onnx files")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=1x3x224x224", help="for an .onnx file")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    reexecute_in_venv()
    import models

    chosen = options.models or list(models.MODELS)
    if any(name in models.MODELS for name in chosen):
        models.ensure_models(models.MODELS)
    print(f"{machine()}; root mean squares of the differences from fp64")
    print(f"{'model':<20}{'rms':>11}{'burnish':>11}{'onnxruntime':>13}{'ratio':>8}   output")
    right = True
    for name in chosen:
        if name in models.MODELS:
            file, shapes = models.MODELS[name]
            path, scale = models.FOLDER / file, "" if name in RAW else ":scale=0.00392156863"
            inputs = [f"{name}={models.FOLDER / 'astronaut.png'}{scale}" for name in shapes] or numbers(path, models)
        else:
            path, shapes, inputs = Path(name), parse_shapes(options.shape), []
        for output, rms, ours, theirs, holds in verify(path, shapes, inputs, options.threads):
            right &= holds
            ratio = f"{ours / theirs:8.2f}" if theirs else " " * 8
            print(f"{Path(name).stem:<20}{rms:>11.4g}{ours:>11.2e}{theirs:>13.2e}{ratio}"
                  f"{'  ' if holds else ' !'} {output}", flush=True)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
