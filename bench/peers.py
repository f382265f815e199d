#!/usr/bin/env python3
"""Burnish beside ONNX Runtime and OpenVINO (fp32), interleaved in one run.

    bench/peers.py                                         all models of bench/models.py, 1 and 2 threads
    bench/peers.py centerface resnet50 --threads 1
    bench/peers.py my.onnx --shape x=1x3x224x224 --json figures.json

Makes the environment it needs (build/venv) when it lacks something. Prints medians in milliseconds, Burnish's time
relative to ONNX Runtime's, and the largest difference of the outputs from ONNX Runtime's, relative to their largest
value.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / "build/venv/bin/python"


def reexecute_in_venv():
    """Goes on in build/venv, made and completed by tools/setup.sh."""
    subprocess.run([ROOT / "tools/setup.sh", "--bench"], check=True)
    if Path(sys.prefix) != VENV.parents[1]:
        os.execv(VENV, [VENV, *sys.argv])


def machine():
    model = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {len(os.sched_getaffinity(0))} CPUs"


def parse_shapes(options):
    shapes = {}
    for text in options:
        name, found, sizes = text.rpartition("=")
        try:
            shapes[name] = tuple(int(size) for size in sizes.split("x"))
        except ValueError:
            found = ""
        if not found:
            raise SystemExit(f"--shape {text}: expected NAME=1x3x224x224")
    return shapes


def difference(outputs, reference):
    """The largest difference of any output, relative to that output's largest value."""
    import numpy as np

    worst = 0.0
    for ours, theirs in zip(outputs, reference, strict=True):
        ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
        if ours.shape != theirs.shape:
            return float("inf")
        if theirs.size:
            worst = max(worst, float(np.max(np.abs(ours - theirs)) / max(np.max(np.abs(theirs)), 1e-30)))
    return worst


def tuned_records(name, path, shapes, threads, duration):
    """The database of a search for this model and number of threads; one that exists is gone on with."""
    folder = ROOT / "build/tune"
    folder.mkdir(parents=True, exist_ok=True)
    records = folder / f"peers-{name}-{threads}.db"
    flags = [flag for input, shape in shapes.items() for flag in ("--shape", f"{input}={'x'.join(map(str, shape))}")]
    subprocess.run([ROOT / "build/bin/burnish", "tune", path, *flags, "--threads", str(threads), "--time", duration,
                    "--records", records], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return str(records)


def compare(name, path, shapes, threads, options):
    """One line of the table, as a dict."""
    import models
    import onnx
    from engines import Worker

    model = onnx.load(path)
    feeds = models.feeds_for(model, shapes)
    prepared = models.prepared(model, shapes).SerializeToString()
    records = tuned_records(name, path, shapes, threads, options.tune) if options.tune else None
    workers = [Worker(engine, str(path), prepared, shapes, threads, feeds, records) for engine in options.engines]
    running = [worker for worker in workers if worker.error is None]
    for worker in running:
        worker.measure(options.warmup, keep=False)
    for _ in range(options.rounds):
        for worker in running:
            worker.measure(options.duration / options.rounds)
    row = {"model": name, "threads": threads, "ms": {}, "compile_s": {}, "errors": {}, "difference": {}}
    reference = next((worker for worker in running if worker.engine == "onnxruntime"), None)
    for worker in workers:
        if worker.error is not None:
            row["errors"][worker.engine] = worker.error
        else:
            row["ms"][worker.engine] = worker.median_ms()
            row["compile_s"][worker.engine] = worker.compile_s
            if reference is not None and worker is not reference:
                row["difference"][worker.engine] = difference(worker.outputs, reference.outputs)
        worker.close()
    return row


def print_row(row, engines):
    cells = [f"{row['model']:<18}{row['threads']:>3}"]
    cells += [f"{row['ms'][engine]:>13.2f}" if engine in row["ms"] else f"{'failed':>13}" for engine in engines]
    ms = row["ms"]
    cells.append(f"{ms['burnish'] / ms['onnxruntime']:>10.2f}" if {"burnish", "onnxruntime"} <= ms.keys() else " " * 10)
    cells.append(f"{row['difference']['burnish']:>12.1e}" if "burnish" in row["difference"] else "")
    print("".join(cells), flush=True)
    for engine, error in row["errors"].items():
        print(f"    {engine}: {error}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description="Burnish beside ONNX Runtime and OpenVINO, interleaved in one run.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of bench/models.py, or .onnx files")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=1x3x224x224", help="for an .onnx file")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--engines", nargs="+", default=["burnish", "onnxruntime", "openvino"])
    parser.add_argument("--duration", type=float, default=6.0, help="seconds a model, engine and thread count")
    parser.add_argument("--warmup", type=float, default=0.5, help="seconds before that")
    parser.add_argument("--rounds", type=int, default=12, help="turns that the engines take")
    parser.add_argument("--tune", metavar="TIME", help="search that long (60s, 5m) for every model and thread count first; "
                        "databases are kept in build/tune")
    parser.add_argument("--json", type=Path, help="writes all figures there")
    options = parser.parse_args()
    reexecute_in_venv()
    import models

    chosen = options.models or list(models.MODELS)
    if any(name in models.MODELS for name in chosen):
        models.ensure_models()
    print(f"{machine()}; median ms of interleaved runs, fp32, batch as in the shape")
    print(f"{'model':<18}{'thr':>3}" + "".join(f"{engine:>13}" for engine in options.engines)
          + f"{'burnish/ort':>12}{'difference':>12}")
    rows = []
    for name in chosen:
        file, shapes = models.MODELS.get(name, (None, parse_shapes(options.shape)))
        path = models.FOLDER / file if file else Path(name)
        if not path.is_file():
            parser.error(f"{name}: no such model file; known names: {' '.join(models.MODELS)}")
        for threads in options.threads:
            rows.append(compare(name if file else path.stem, path, shapes, threads, options))
            print_row(rows[-1], options.engines)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    return 1 if any("burnish" in row["errors"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
