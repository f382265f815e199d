#!/usr/bin/env python3
"""Burnish beside PyTorch on this machine's GPU: eager, as a CUDA graph, and by torch.compile(mode="reduce-overhead").

    bench/gpu.py                                    all networks, three precisions, batch 1, and 16 of the CNNs
    bench/gpu.py centerface --precisions tf32 fp16 --batches 1
    bench/gpu.py --engines eager graph              without Burnish
    bench/gpu.py my.onnx --shape x=1x3x224x224 --json build/gpu.json

Runs in the Python that calls it, which must have torch and onnx. Networks are turned into torch modules (onnx_torch.py).
All engines run in this process in turns, with inputs and outputs on the GPU and caches as warm as runs that follow one
another leave them. PyTorch gets what helps it: batch normalisations in the weights, its fused functions, cuDNN's search
for algorithms, the better of two memory formats for each engine, static inputs.

Prints the median and the 99th percentile between CUDA events in milliseconds, and the best PyTorch median over
Burnish's (above 1: Burnish is faster); then the root mean square errors from the same module in fp64, relative to the
outputs' root mean squares: `!` where the rule of docs/numbers.md does not hold with PyTorch in the place of ONNX Runtime.
Libraries are taken from --libraries (MODEL-PRECISION-bBATCH.so), or compiled into it.
"""

import argparse
import copy
import math
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(__file__).resolve().parents[1] / "build/inductor"))

from peers import ROOT, Rows, geometric_mean, parse_shapes, ratio

# Their reshapes are for one input.
BATCH_OF_ONE = ("minilm_l6", "vit_b16")
MODELS = ("centerface", "mobilenetv2", "efficientnet_b0", "nudenet_320", "nudenet_640", "resnet18", "resnet50", "minilm_l6", "vit_b16",
          "ppocr_det", "ppocr_rec", "ppocr_cls")
PRECISIONS = {"strict": "float", "tf32": "float", "fp16": "half"}


def gpu():
    import torch

    name = torch.cuda.get_device_name()
    return f"{name}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}, PyTorch {torch.__version__}"


def find_model(name, shapes):
    """The model, its file (written anew where its weights had been taken out), and the shapes of its inputs."""
    import models
    import onnx
    from strip_weights import KEY, restored

    file, known = models.MODELS.get(name) or models.extra().get(name) or (None, shapes)
    path = models.FOLDER / file if file else Path(name)
    model = onnx.load(path)
    if any(entry.key == KEY for entry in model.metadata_props):
        model, path = restored(model), ROOT / "build/gpu" / path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, path)
    return model, path, known


def library_of(name, path, shapes, precision, batch, options):
    """The compiled library, made where it is missing."""
    library = options.libraries / f"{name}-{precision}-b{batch}.so"
    if options.recompile or not library.is_file():
        library.parent.mkdir(parents=True, exist_ok=True)
        command = [ROOT / "build/bin/burnish", "compile", path, "-o", library, "--target", options.target, "--precision", precision]
        command += [word for input, shape in shapes.items() for word in ("--shape", f"{input}={'x'.join(map(str, shape))}")]
        command += ["--records", options.records] if options.records else []
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode != 0:
            raise RuntimeError(run.stderr.strip() or f"burnish compile ended with {run.returncode}")
    return library


class Subjects:
    """PyTorch's engines and Burnish's library for one network, precision and batch."""

    def __init__(self, precision):
        self.precision, self.engines, self.errors = precision, {}, {}

    def add(self, name, make):
        """What an engine fails with is a result."""
        begin = time.perf_counter()
        try:
            self.engines[name] = make()
        except Exception as error:
            self.errors[name] = f"{type(error).__name__}: {error}".strip()[:2000]
        return time.perf_counter() - begin

    def add_pytorch(self, module, inputs, engines, formats):
        """Every engine in every format, as (engine, format)."""
        import torch
        from gpu_engines import PYTORCH

        dtype = {"float": torch.float32, "half": torch.float16}[PRECISIONS[self.precision]]
        for format in formats:
            memory = torch.channels_last if format == "nhwc" else torch.contiguous_format
            converted = copy.deepcopy(module).to("cuda", dtype).to(memory_format=memory)
            own = [x.to("cuda", dtype if x.is_floating_point() else x.dtype) for x in inputs]
            own = [x.contiguous(memory_format=memory) if x.dim() == 4 else x for x in own]
            for engine in engines:
                if engine in PYTORCH:
                    self.add((engine, format), lambda: PYTORCH[engine](converted, own))

    def choose_formats(self, watches):
        """The faster format of each engine."""
        for engine in {name[0] for name in watches if isinstance(name, tuple)}:
            times = {name: watches[name].measure(0.05, 10) for name in watches if name[0] == engine}
            for name in times:
                if times[name] > min(times.values()):
                    del watches[name]


def errors_of(outputs, reference):
    """(root mean square error, root mean square) of each output."""
    import torch

    def rms(x):
        return float(torch.sqrt(torch.mean(x * x))) if x.numel() else 0.0

    return [(rms(ours.double() - exact) if ours.shape == exact.shape else float("inf"), rms(exact))
            for ours, exact in zip(outputs, reference, strict=True)]


def accuracy_of(watches, subjects, reference):
    """Errors of engines, and whether Burnish's are those of PyTorch's: of eager PyTorch, or what else there is whose results are
    finite (algorithms that cuDNN finds the fastest may overflow in fp16)."""
    import torch

    accuracy, raw = {}, {}
    for name, watch in watches.items():
        watch.engine.run()
        torch.cuda.synchronize()
        label = name if isinstance(name, str) else name[0]
        raw[label] = errors_of(watch.engine.outputs, reference)
        accuracy[label] = max(error / max(size, 1e-30) for error, size in raw[label])
    peers = (raw[name] for name in ("eager", "graph", "compile") if name in raw and all(math.isfinite(error) for error, _ in raw[name]))
    if "burnish" in raw and (peer := next(peers, None)):
        winograd = "winograd" in str(watches["burnish"].engine.metadata.get("steps", "")).lower()
        accuracy["holds"] = all(ours <= (4 if winograd else 2) * theirs + 1e-6 * size
                                for (ours, size), (theirs, _) in zip(raw["burnish"], peer))
    return accuracy


def compare(name, precision, batch, options):
    """One line of the table, as a dict."""
    import models
    import torch
    from gpu_engines import Burnish, Stopwatch, set_precision
    from onnx_torch import torch_module

    model, path, shapes = find_model(name, parse_shapes(options.shape))
    shapes = models.batched(model, shapes, batch) if batch > 1 else shapes
    feeds = {input: torch.from_numpy(array) for input, array in models.feeds_for(model, shapes).items()}
    module, inputs = torch_module(model, shapes), list(feeds.values())
    images = any(x.dim() == 4 for x in inputs)
    set_precision(precision)
    reference = None
    if not options.warm:
        exact = copy.deepcopy(module).cuda()
        reference = [y.double() for y in exact(*(x.cuda().double() if x.is_floating_point() else x.cuda() for x in inputs))]
        del exact
    subjects = Subjects(precision)
    subjects.add_pytorch(module, inputs, options.engines, options.formats if images else ["nchw"])
    if options.warm:
        return None
    if "burnish" in options.engines:
        label = path.stem if name.endswith(".onnx") else name
        subjects.add("burnish", lambda: Burnish(library_of(label, path, shapes, precision, batch, options),
                                                {input: x.cuda() for input, x in feeds.items()}))
    watches = {key: Stopwatch(engine) for key, engine in subjects.engines.items()}
    for watch in watches.values():
        watch.measure(options.warmup)
    subjects.choose_formats(watches)
    for watch in watches.values():
        watch.samples.clear()
    for _ in range(options.rounds):
        for watch in watches.values():
            watch.measure(options.duration / options.rounds)
    row = {field: {} for field in ("ms", "p99_ms", "runs", "host_us", "latency_ms", "format")}
    row["errors"] = {key if isinstance(key, str) else "-".join(key): text for key, text in subjects.errors.items()}
    for key, watch in watches.items():
        engine, row["format"][engine] = (key, "") if isinstance(key, str) else key
        row["ms"][engine], row["p99_ms"][engine], row["runs"][engine] = watch.median_ms(), watch.tail_ms(), len(watch.samples)
        row["host_us"][engine], row["latency_ms"][engine] = watch.host()
    row["accuracy"] = accuracy_of(watches, subjects, reference)
    return row


def clean_up():
    """Graphs and their memory of the last row."""
    import gc

    import torch

    torch._dynamo.reset()
    gc.collect()
    torch.cuda.empty_cache()


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
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
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
    parser.add_argument("--without", action="append", default=[], help=argparse.SUPPRESS)  # cases that broke the GPU's context
    parser.add_argument("--json", type=Path, help="all figures; rows that the file has of this compiler, with all engines, are printed "
                        "and not measured again")
    return parser.parse_args()


def is_broken():
    """Whether a kernel has failed, after which this process cannot use the GPU any more."""
    import torch

    try:
        torch.cuda.synchronize()
        return torch.ones(1, device="cuda").item() != 1
    except RuntimeError:
        return True


def start_again(case, options):
    """In a new process; Burnish is left out where it broke the context."""
    print(f"    {case}: a kernel of Burnish's failed; going on in a new process", file=sys.stderr, flush=True)
    words = [*sys.argv, "--without", case] + (["--json", str(options.json)] if "--json" not in sys.argv else [])
    os.execv(sys.executable, [sys.executable, *words])


def row_of(key, kept, name, options):
    """The line of a case: what there is, or measured now. None where there is no model."""
    case = "-".join(map(str, key.values()))
    if case in options.without:
        options = argparse.Namespace(**{**vars(options), "engines": [engine for engine in options.engines if engine != "burnish"]})
    row = kept.find(key, "ms", options.engines)
    if row is not None:
        return row
    try:
        figures = compare(name, key["precision"], key["batch"], options)
    except FileNotFoundError as missing:
        print(f"    {name}: {missing.filename} is missing; tools/make_models.py, fetch_models.py and extra_models.py make such files",
              file=sys.stderr)
        return None
    except RuntimeError:
        if case not in options.without and is_broken():
            start_again(case, options)
        raise
    clean_up()
    if case in options.without:
        figures["errors"]["burnish"] = "a kernel failed"
    return figures and kept.put(key, figures)


def main():
    options = parse_options()
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no NVIDIA GPU here")
    torch.set_grad_enabled(False)
    cases = [(name, precision, batch) for name in options.models or MODELS for batch in options.batches for precision in options.precisions
             if batch == 1 or name not in BATCH_OF_ONE]
    if options.jobs > 1 and not options.without and {"compile", "autotune"} & set(options.engines):
        compile_ahead(cases, options)
    if options.json is None:  # what a new process goes on from
        options.json = ROOT / "build/gpu/rows.json"
        options.json.unlink(missing_ok=True)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    kept, rows = Rows(options.json, gpu()), []
    if not options.warm:
        print(f"{gpu()}; milliseconds of interleaved runs between CUDA events, caches warm")
        print_head(options.engines)
    for name, precision, batch in cases:
        row = row_of({"model": Path(name).stem, "precision": precision, "batch": batch}, kept, name, options)
        if row is not None:
            rows.append(row)
            print_row(row, options.engines)
    print_means(rows)
    return 1 if any("burnish" in row["errors"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
