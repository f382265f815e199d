#!/usr/bin/env python3
"""Burnish beside PyTorch on this machine's GPU: eager, as a CUDA graph, and by torch.compile(mode="reduce-overhead").

    bench/gpu.py                                    all networks, three precisions, batch 1, and 16 of the CNNs
    bench/gpu.py centerface --precisions tf32 fp16 --batches 1
    bench/gpu.py --engines eager graph              without Burnish
    bench/gpu.py my.onnx --shape x=1x3x224x224 --json build/gpu.json

Runs in the Python that calls it, which must have torch and onnx. Networks are turned into torch modules (onnx_torch.py).
Engines take turns on the GPU, each in a process of its own, as it would be in use, with inputs and outputs on the GPU and caches as
warm as runs that follow one another leave them. (In a process that has launched kernels on more than eight streams, which PyTorch's
may do, every launch takes 0.2 microseconds longer, whoever launches: H200, driver 580.) PyTorch gets what helps it: batch
normalisations in the weights, its fused functions, cuDNN's search for algorithms, the better of two memory formats for each engine,
static inputs.

Prints the median and the 99th percentile between CUDA events in milliseconds, and the best PyTorch median over
Burnish's (above 1: Burnish is faster); then the root mean square errors from the same module in fp64, relative to the
outputs' root mean squares: `!` where the rule of docs/numbers.md does not hold with PyTorch in the place of ONNX Runtime.
Libraries are taken from --libraries (MODEL-PRECISION-bBATCH.so), or compiled into it.
"""

import argparse
import math
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(__file__).resolve().parents[1] / "build/inductor"))

from gpu_worker import PRECISIONS, Apart, is_image, prepare
from peers import ROOT, Rows, geometric_mean, ratio

# Their reshapes are for one input.
BATCH_OF_ONE = ("minilm_l6", "vit_b16")
MODELS = ("centerface", "mobilenetv2", "efficientnet_b0", "nudenet_320", "nudenet_640", "resnet18", "resnet50", "minilm_l6", "vit_b16",
          "ppocr_det", "ppocr_rec", "ppocr_cls")


def gpu():
    import torch

    name = torch.cuda.get_device_name()
    return f"{name}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, PyTorch {torch.__version__}"


def engines_of(case, options):
    """(engine, format) of all that take turns."""
    formats = options.formats if is_image(case[0], options) else ["nchw"]
    return [(engine, format) for engine in options.engines for format in ([""] if engine == "burnish" else formats)]


def choose_formats(watches):
    """The faster format of each engine by what was measured; the others end."""
    for engine in {engine for engine, _ in watches}:
        times = {key: watches[key].median_ms() for key in watches if key[0] == engine}
        for key in times:
            if times[key] > min(times.values()):
                watches.pop(key).close()
    for watch in watches.values():
        watch.samples.clear()


def errors_of(outputs, reference):
    """(root mean square error, root mean square) of each output."""
    import numpy as np

    def rms(x):
        return float(np.sqrt(np.mean(x * x))) if x.size else 0.0

    return [(rms(ours - exact) if ours.shape == exact.shape else float("inf"), rms(exact)) for ours, exact in zip(outputs, reference, strict=True)]


def accuracy_of(watches, outputs, reference):
    """Errors of engines, and whether Burnish's are those of PyTorch's: of eager PyTorch, or what else there is whose results are
    finite (algorithms that cuDNN finds the fastest may overflow in fp16)."""
    raw = {engine: errors_of(outputs[watch], reference) for (engine, _), watch in watches.items()}
    accuracy = {engine: max(error / max(size, 1e-30) for error, size in errors) for engine, errors in raw.items()}
    peers = (raw[name] for name in ("eager", "graph", "compile") if name in raw and all(math.isfinite(error) for error, _ in raw[name]))
    if "burnish" in raw and (peer := next(peers, None)):
        factor = 4 if watches["burnish", ""].ask("winograd") else 2
        accuracy["holds"] = all(ours <= factor * theirs + 1e-6 * size for (ours, size), (theirs, _) in zip(raw["burnish"], peer))
    return accuracy


def begin(case, options):
    """The engines of a case, by (engine, format), which prepare what the CPU does for them."""
    return {key: Apart(*key, case, options) for key in [*engines_of(case, options), ("exact", "nchw")]}


def compare(began, upcoming, options):
    """One line of the table, as a dict, by engines that have begun. What an engine fails with is a result. Others' preparations,
    `upcoming`, go on while engines are made, and are waited for before anything is timed."""
    row = {field: {} for field in ("ms", "p99_ms", "runs", "host_us", "latency_ms", "format", "errors")}
    watches = dict(began)

    def attempt(request):
        """Asks all, and goes on without those that fail."""
        for key in list(watches):
            try:
                request(watches[key])
            except RuntimeError as error:
                row["errors"]["-".join(filter(None, key))] = str(error)
                del watches[key]

    try:
        attempt(lambda watch: watch.ready())
        attempt(lambda watch: watch.tell("make"))
        attempt(lambda watch: watch.answer())
        exact = watches.pop(("exact", "nchw"), None)
        reference = exact.ask("outputs") if exact else None
        if exact:
            exact.close()
        for watch in upcoming.values():
            watch.settle()
        attempt(lambda watch: watch.measure(options.warmup))
        choose_formats(watches)
        for _ in range(options.rounds):
            attempt(lambda watch: watch.measure(options.duration / options.rounds))
        host, outputs = {}, {}
        attempt(lambda watch: host.update({watch: watch.ask("host")}))
        attempt(lambda watch: outputs.update({watch: watch.ask("outputs")}))
        for (engine, format), watch in watches.items():
            row["format"][engine] = format
            row["ms"][engine], row["p99_ms"][engine], row["runs"][engine] = watch.median_ms(), watch.tail_ms(), len(watch.samples)
            row["host_us"][engine], row["latency_ms"][engine] = host[watch]
        row["accuracy"] = accuracy_of(watches, outputs, reference) if reference else {}
    finally:
        for watch in began.values():
            watch.close()
    return row


def compile_ahead(cases, options):
    """Lets processes side by side fill the cache that torch.compile reads; kernels' variants, which it chose by timing them
    while others ran, are chosen again."""
    waiting, running = list(cases), []
    while waiting or running:
        while waiting and len(running) < options.jobs:
            name, precision, batch = waiting.pop(0)
            command = [sys.executable, __file__, name, "--precisions", precision, "--batches", str(batch), "--warm", "--formats", *options.formats,
                       "--engines", *(engine for engine in options.engines if engine in ("compile", "autotune"))]
            command += [word for text in options.shape for word in ("--shape", text)]
            running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        time.sleep(0.1)
        running = [process for process in running if process.poll() is None]
    for chosen in Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).rglob("*.best_config"):
        chosen.unlink()


def print_head(engines):
    print(f"{'':<29}" + "".join(f"{engine:>17}" for engine in engines))
    print(f"{'model':<18}{'prec':>7}{'n':>4}" + "".join(f"{'p50':>9}{'p99':>8}" for _ in engines)
          + f"{'best/burnish':>14}{'host µs':>9}   error of PyTorch, Burnish", flush=True)


def print_row(row, engines):
    cells = [f"{row['model']:<18}{row['precision']:>7}{row['batch']:>4}"]
    for engine in engines:
        has = engine in row["ms"]
        cells.append(f"{row['ms'][engine]:>9.4f}{row['p99_ms'][engine]:>8.4f}" if has else f"{'failed':>17}")
    faster, accuracy = ratio(row), row["accuracy"]
    cells.append(f"{faster:>14.2f}{row['host_us']['burnish']:>9.1f}" if faster else " " * 23)
    theirs = next((accuracy[engine] for engine in ("eager", "graph", "compile") if engine in accuracy), None)
    cells.append(f"   {theirs:.1e}" if theirs is not None else "")
    cells.append(f" {accuracy['burnish']:.1e}{'' if accuracy.get('holds', True) else ' !'}" if "burnish" in accuracy else "")
    cells.append("   " + " ".join(f"{engine}:{format}" for engine, format in row["format"].items() if format))
    print("".join(cells), flush=True)
    for engine, error in row["errors"].items():
        print(f"    {engine}: {error.splitlines()[0] if error else ''}", file=sys.stderr, flush=True)


def print_means(rows):
    for precision in PRECISIONS:
        for batch in sorted({row["batch"] for row in rows}):
            ratios = [r for r in (ratio(row) for row in rows if (row["precision"], row["batch"]) == (precision, batch)) if r]
            if ratios:
                print(f"geometric mean, {precision}, batch {batch}: {geometric_mean(ratios):.3f} of {len(ratios)}; least {min(ratios):.2f}, "
                      f"{sum(r < 1 for r in ratios)} lost")


def parse_options():
    parser = argparse.ArgumentParser(description="Burnish beside PyTorch on this machine's GPU.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=f"names of bench/models.py or tools/extra_models.py, or .onnx files; "
                        f"default: {' '.join(MODELS)}")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=1x3x224x224", help="for an .onnx file")
    parser.add_argument("--precisions", nargs="+", default=["strict", "tf32", "fp16"], choices=PRECISIONS)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--engines", nargs="+", default=["eager", "graph", "compile", "burnish"],
                        choices=["eager", "graph", "compile", "autotune", "burnish"])
    parser.add_argument("--formats", nargs="+", default=["nchw", "nhwc"], choices=["nchw", "nhwc"], help="PyTorch's, the faster of which counts")
    parser.add_argument("--libraries", type=Path, default=ROOT / "build/gpu", help="where compiled libraries are or go")
    parser.add_argument("--recompile", action="store_true", help="libraries that are there, too")
    parser.add_argument("--target", default="cuda", help="of `burnish compile`")
    parser.add_argument("--records", type=Path, help="of `burnish compile`: tuned schedules")
    parser.add_argument("--duration", type=float, default=1.0, help="seconds a model and engine")
    parser.add_argument("--warmup", type=float, default=0.5, help="seconds before that; with 0.1 clocks had not risen, and times were 6%% longer")
    parser.add_argument("--rounds", type=int, default=10, help="turns that the engines take")
    parser.add_argument("--jobs", type=int, default=1, help="processes that run torch.compile beforehand")
    parser.add_argument("--warm", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, help="all figures; rows that the file has of this compiler, with all engines, are printed "
                        "and not measured again")
    return parser.parse_args()


def main():
    options = parse_options()
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no NVIDIA GPU here")
    if options.warm:
        for engine, format in engines_of((options.models[0],), options):
            prepare(engine, format, (options.models[0], options.precisions[0], options.batches[0]), options)()
        return 0

    def key_of(case):
        return {"model": Path(case[0]).stem, "precision": case[1], "batch": case[2]}

    cases = [(name, precision, batch) for name in options.models or MODELS for batch in options.batches for precision in options.precisions
             if batch == 1 or name not in BATCH_OF_ONE]
    cases = list({tuple(key_of(case).values()): case for case in reversed(cases)}.values())[::-1]  # each row once
    if options.jobs > 1 and {"compile", "autotune"} & set(options.engines):
        compile_ahead(cases, options)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
    kept, rows = Rows(options.json, gpu()), []
    print(f"{gpu()}; milliseconds of interleaved runs between CUDA events, caches warm")
    print_head(options.engines)

    def engines_for(case):
        """Begins the engines of a case, or says what is missing."""
        try:
            return begin(case, options)
        except FileNotFoundError as missing:
            print(f"    {case[0]}: {missing.filename} is missing; tools/make_models.py, fetch_models.py and extra_models.py make such files",
                  file=sys.stderr)
            return {}

    known = {case: kept.find(key_of(case), "ms", options.engines) for case in cases}
    to_measure = [case for case in cases if known[case] is None]
    upcoming = engines_for(to_measure.pop(0)) if to_measure else {}
    try:
        for case in cases:
            row = known[case]
            if row is None:
                engines = upcoming
                upcoming = engines_for(to_measure.pop(0)) if to_measure else {}
                if not engines:
                    continue
                row = kept.put(key_of(case), compare(engines, upcoming, options))
            rows.append(row)
            print_row(row, options.engines)
    finally:
        for watch in upcoming.values():
            watch.close()
    print_means(rows)
    return 1 if any("burnish" in row["errors"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
