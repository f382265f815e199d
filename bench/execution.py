#!/usr/bin/env python3
"""What lies between kernels, beside ONNX Runtime and OpenVINO (fp32): memory, runs after pauses, growth with size.

    bench/execution.py memory                  peak resident size of a process that loads a model and runs it 100 times
    bench/execution.py pauses --pause 0.01     medians of single runs after pauses, beside runs one after another
    bench/execution.py size                    CenterFace from 0.1 to 4 Mpixel: nanoseconds a pixel

Each takes names of bench/models.py (all by default), --threads, --engines, --json FILE; rows that the file has already
are not measured again. The 99th percentile and batches are bench/peers.py's.
"""

import argparse
import functools
import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ENGINES = ("burnish", "onnxruntime", "openvino")
# Height and width, multiples of 32.
SIZES = [(256, 384), (352, 576), (544, 928), (768, 1312), (1088, 1856), (1536, 2720)]


def compiled(path, shapes, threads, folder):
    """The model as a library, made by another process: what compiling takes is not what running takes."""
    from peers import ROOT

    library = Path(folder) / f"{path.stem}-{threads}.so"
    flags = [part for name, shape in shapes.items() for part in ("--shape", f"{name}={'x'.join(map(str, shape))}")]
    subprocess.run([ROOT / "build/bin/burnish", "compile", path, *flags, "--threads", str(threads), "-o", library],
                   check=True, stdout=subprocess.DEVNULL)
    return str(library)


class Case:
    """A network with shapes: what every engine needs to run it."""

    def __init__(self, name, shapes, threads, folder):
        import models
        import onnx

        path = models.FOLDER / models.MODELS[name][0]
        model = onnx.load(path)
        self.shapes, self.threads = shapes, threads
        self.feeds = models.feeds_for(model, shapes)
        self.prepared = models.prepared(model, shapes).SerializeToString()
        self.library = compiled(path, shapes, threads, folder)

    def workers(self, engines):
        from engines import Worker

        return [Worker(engine, self.library, self.prepared, self.shapes, self.threads, self.feeds) for engine in engines]

    def medians_ms(self, options):
        """Of interleaved runs; nothing for an engine that fails."""
        from engines import take_turns

        workers = self.workers(options.engines)
        running = take_turns(workers, options)
        for worker in workers:
            worker.close()
        return {worker.engine: worker.median_ms() for worker in running}


def shapes_of(name):
    import models

    return models.MODELS[name][1]


def cells(values, engines, form):
    return "".join(f"{form.format(values[engine]) if engine in values else 'failed':>14}" for engine in engines)


# memory: the child


def serve_memory(engine, folder):
    """In a process of its own: loads, runs 100 times, prints megabytes."""
    import numpy as np

    from engines import ENGINES as KINDS

    def megabytes(key):
        return int(re.search(rf"{key}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024

    folder = Path(folder)
    setup = json.loads((folder / "setup.json").read_text())
    feeds = dict(np.load(folder / "feeds.npz"))
    prepared = str(folder / "model.onnx")  # as applications load it: bytes held here would count as the engine's
    before = megabytes("VmRSS")
    shapes = {name: tuple(shape) for name, shape in setup["shapes"].items()}
    run = KINDS[engine](setup["library"], prepared, shapes, setup["threads"], None).bind(feeds)
    for _ in range(100):
        run()
    smaps = Path("/proc/self/smaps").read_text()
    huge = sum(int(n) for n in re.findall(r"AnonHugePages:\s+(\d+)", smaps)) / 1024
    print(json.dumps({"peak": megabytes("VmHWM"), "resident": megabytes("VmRSS"), "before": before, "huge": huge}))


def memory(name, threads, options, folder):
    import numpy as np

    case = Case(name, shapes_of(name), threads, folder)
    np.savez(Path(folder) / "feeds.npz", **case.feeds)
    (Path(folder) / "model.onnx").write_bytes(case.prepared)
    (Path(folder) / "setup.json").write_text(
        json.dumps({"library": case.library, "shapes": case.shapes, "threads": threads}))
    row = {}
    for engine in options.engines:
        child = subprocess.run([sys.executable, __file__, "--serve-memory", engine, folder], capture_output=True, text=True)
        if child.returncode == 0:
            row[engine] = json.loads(child.stdout.splitlines()[-1])
        else:
            print(f"    {engine}: {child.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
    peaks = {engine: figures["peak"] for engine, figures in row.items()}
    note = f"   {row['burnish']['huge']:.0f} MB of it in 2 MB pages" if "burnish" in row else ""
    print(f"{name:<18}{threads:>3}{cells(peaks, options.engines, '{:.0f}')}{note}", flush=True)
    return row


def pauses(name, threads, options, folder):
    """Single runs of which each follows a pause, as an application has them that waits for its input."""
    workers = Case(name, shapes_of(name), threads, folder).workers(options.engines)
    running = [worker for worker in workers if worker.error is None]
    for worker in running:
        worker.measure(options.warmup)
    often = {worker.engine: worker.median_ms() for worker in running}
    for worker in running:
        worker.samples.clear()
    for _ in range(options.rounds):
        for worker in running:
            worker.measure(0, least=math.ceil(options.runs / options.rounds), pause=options.pause)
    for worker in workers:
        worker.close()
    row = {worker.engine: {"often_ms": often[worker.engine], "ms": worker.median_ms(), "p99_ms": worker.tail_ms()}
           for worker in running}
    print(f"{name:<18}{threads:>3}{cells({e: r['ms'] for e, r in row.items()}, options.engines, '{:.3f}')}   one after another:"
          f"{cells(often, options.engines, '{:.3f}')}", flush=True)
    return row


def size(name, pixels, threads, options, folder):
    height, width = pixels
    ms = Case(name, {"input.1": (1, 3, height, width)}, threads, folder).medians_ms(options)
    per_pixel = {engine: 1e6 * value / (height * width) for engine, value in ms.items()}
    print(f"{height:>5}x{width:<6}{height * width / 1e6:>5.2f}{threads:>4}{cells(per_pixel, options.engines, '{:.1f}')}",
          flush=True)
    return ms


def cases(options, names):
    """What tells each row of the file apart, and what measures it in a folder: figures by engine."""
    for threads in options.threads:
        for name in names:
            if options.what == "size":
                for pixels in SIZES:
                    yield ({"threads": threads, "pixels": pixels[0] * pixels[1]},
                           functools.partial(size, name, pixels, threads, options))
            else:
                measure = {"memory": memory, "pauses": pauses}[options.what]
                yield {"model": name, "threads": threads}, functools.partial(measure, name, threads, options)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["memory", "pauses", "size"])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of bench/models.py")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=ENGINES)
    parser.add_argument("--duration", type=float, default=4.0, help="seconds a case and engine")
    parser.add_argument("--warmup", type=float, default=0.3)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--runs", type=int, default=50, help="of pauses")
    parser.add_argument("--pause", type=float, default=0.01, help="seconds before each of them")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main():
    if sys.argv[1:2] == ["--serve-memory"]:
        return serve_memory(*sys.argv[2:4])
    options = parse()
    from peers import Rows, machine, reexecute_in_venv

    reexecute_in_venv()
    import models

    if unknown := [name for name in options.models if name not in models.MODELS]:
        raise SystemExit(f"unknown: {' '.join(unknown)}; known names: {' '.join(models.MODELS)}")
    chosen = ["centerface"] if options.what == "size" else options.models or list(models.MODELS)
    models.ensure_models(chosen)
    titles = {"memory": "peak resident MB", "pauses": "ms of runs after a pause", "size": "ns a pixel"}
    print(f"{machine()}; {titles[options.what]}\n" + " " * 21 + "".join(f"{engine:>14}" for engine in options.engines))
    rows, failed = Rows(options.json), 0
    field = "ms" if options.what == "size" else options.what
    with tempfile.TemporaryDirectory() as folder:
        for key, measure in cases(options, chosen):
            label = " ".join(map(str, key.values()))
            if rows.find(key, field, options.engines) is not None:
                print(f"{label}: measured already", flush=True)
                continue
            try:
                rows.put(key, {field: measure(folder)})
            except Exception as error:  # one that fails does not end the others
                failed += 1
                print(f"    {label}: {error}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
