#!/usr/bin/env python3
"""Burnish beside ONNX Runtime and OpenVINO (fp32), interleaved in one run.

    bench/peers.py                                         all models of bench/models.py, 1 and 2 threads
    bench/peers.py centerface resnet50 --threads 1 --tune 60s
    bench/peers.py --extra                                 networks that nothing was tuned on (tools/extra_models.py)
    bench/peers.py --batch 8 --json build/batch8.json      whole rows that the file has of this compiler stay
    bench/peers.py my.onnx --shape x=1x3x224x224

Makes the environment it needs (build/venv) when it lacks something. Prints the median and the 99th percentile of every
engine in milliseconds, the better peer's median over Burnish's (above 1: Burnish is faster), and the largest difference
of the outputs from ONNX Runtime's, relative to their largest value; at the end the geometric mean of the ratios.
"busy p99": the 99th percentile over the median of a busy loop as long as Burnish's runs, which takes its turns with the
engines: what this machine does to runs of that length whatever they calculate.
"""

import argparse
import json
import math
import os
import statistics
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


def find_model(name, shapes):
    """The file of a name of bench/models.py or tools/extra_models.py, or of a path, and the shapes of its inputs."""
    import models

    file, known = models.MODELS.get(name) or models.extra().get(name) or (None, shapes)
    if file:
        models.ensure_models([name])
    path = models.FOLDER / file if file else Path(name)
    if not path.is_file():
        raise SystemExit(f"{name}: no such model file; known names: {' '.join([*models.MODELS, *models.extra()])}")
    return path, known


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
    from engines import Worker, take_turns

    model = onnx.load(path)
    if options.batch > 1:
        shapes = models.batched(model, shapes, options.batch)
    feeds = models.feeds_for(model, shapes)
    prepared = models.prepared(model, shapes).SerializeToString()
    label = name if options.batch == 1 else f"{name}-batch{options.batch}"
    records = tuned_records(label, path, shapes, threads, options.tune) if options.tune else None
    workers = [Worker(engine, str(path), prepared, shapes, threads, feeds, records) for engine in options.engines]
    busy = busy_loop(workers, threads, options)
    running = take_turns(workers + busy, options, options.runs)
    row = {"ms": {}, "p99_ms": {}, "runs": {}, "compile_s": {}, "errors": {}, "difference": {}}
    reference = next((worker for worker in running if worker.engine == "onnxruntime"), None)
    for worker in workers:
        if worker.error is not None:
            row["errors"][worker.engine] = worker.error
        else:
            row["ms"][worker.engine] = worker.median_ms()
            row["p99_ms"][worker.engine] = worker.tail_ms()
            row["runs"][worker.engine] = len(worker.samples)
            row["compile_s"][worker.engine] = worker.compile_s
            if reference is not None and worker is not reference:
                row["difference"][worker.engine] = difference(worker.outputs, reference.outputs)
        worker.close()
    for worker in busy:
        row["busy"] = {"ms": worker.median_ms(), "p99_ms": worker.tail_ms()}
        worker.close()
    return row


def busy_loop(workers, threads, options):
    """A busy loop as long as Burnish's runs; none where Burnish failed."""
    from engines import Worker

    ours = next((worker for worker in workers if worker.engine == "burnish" and worker.error is None), None)
    if ours is None:
        return []
    ms = 1e3 * statistics.median(ours.measure(options.warmup, keep=False))
    return [Worker("busy", "", None, {}, threads, {"ms": ms})]


def key_of(name, threads, options):
    """What tells the rows of a file apart."""
    return {"model": name, "threads": threads, "batch": options.batch, "tune": options.tune or ""}


def ratio(row):
    """The better peer's median over Burnish's; None where either is missing."""
    peers = [ms for engine, ms in row["ms"].items() if engine != "burnish"]
    return min(peers) / row["ms"]["burnish"] if peers and "burnish" in row["ms"] else None


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def print_head(engines):
    print(f"{'':<21}" + "".join(f"{engine:>18}" for engine in engines))
    print(f"{'model':<18}{'thr':>3}" + "".join(f"{'p50':>10}{'p99':>8}" for _ in engines)
          + f"{'best peer/burnish':>19}{'difference':>12}{'busy p99':>10}", flush=True)


def print_row(row, engines):
    cells = [f"{row['model']:<18}{row['threads']:>3}"]
    for engine in engines:
        has = engine in row["ms"]
        cells.append(f"{row['ms'][engine]:>10.2f}{row['p99_ms'][engine]:>8.2f}" if has else f"{'failed':>18}")
    faster = ratio(row)
    cells.append(f"{faster:>19.2f}" if faster else " " * 19)
    cells.append(f"{row['difference']['burnish']:>12.1e}" if "burnish" in row["difference"] else " " * 12)
    cells.append(f"{row['busy']['p99_ms'] / row['busy']['ms']:>10.2f}" if "busy" in row else "")
    print("".join(cells), flush=True)
    for engine, error in row["errors"].items():
        print(f"    {engine}: {error}", file=sys.stderr)


def compiler_version():
    """The last commit that changed the compiler or its runtime; "-dirty" where they have changed since."""
    def git(*arguments):
        return subprocess.run(["git", "-C", ROOT, *arguments, "--", "src", "include"], capture_output=True, text=True)

    commit = git("log", "-1", "--format=%H").stdout.strip()
    return (commit or "unknown") + ("-dirty" if git("diff", "--quiet", "HEAD").returncode == 1 else "")


class Rows:
    """The rows of a JSON file, which is written whole after each of them; without a path they are in memory only."""

    def __init__(self, path, of=None):
        self.of = of or machine()
        self.path, self.compiler, self.rows = path, compiler_version(), read_rows(path, self.of)

    def find(self, key, field, engines):
        """The row of that key, if it is of this compiler and its `field` lacks none of the engines."""
        for row in self.rows:
            if key.items() <= row.items() and row.get("compiler") == self.compiler and set(engines) <= row[field].keys():
                return row
        return None

    def put(self, key, figures):
        """In the place of what there was of that key."""
        row = {**key, "compiler": self.compiler, **figures}
        places = [i for i, old in enumerate(self.rows) if key.items() <= old.items()]
        if places:
            self.rows[places[0]] = row
        else:
            self.rows.append(row)
        if self.path is not None:
            write_rows(self.path, self.rows, self.of)
        return row


def write_rows(path, rows, of):
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps({"machine": of, "rows": rows}, indent=1) + "\n")
    os.replace(partial, path)


def read_rows(path, of):
    """Rows measured on this machine before."""
    if path is None or not path.is_file():
        return []
    kept = json.loads(path.read_text())
    if kept["machine"] != of:
        raise SystemExit(f"{path} holds figures of {kept['machine']}: choose another file")
    return kept["rows"]


def parse_options():
    parser = argparse.ArgumentParser(description="Burnish beside ONNX Runtime and OpenVINO, interleaved in one run.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="names of bench/models.py or tools/extra_models.py, "
                        "or .onnx files")
    parser.add_argument("--extra", action="store_true", help="without MODEL: the networks that nothing was tuned on")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=1x3x224x224", help="for an .onnx file")
    parser.add_argument("--batch", type=int, default=1, help="as many inputs at once")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--engines", nargs="+", default=["burnish", "onnxruntime", "openvino"])
    parser.add_argument("--duration", type=float, default=6.0, help="seconds a model, engine and thread count")
    parser.add_argument("--warmup", type=float, default=0.5, help="seconds before that")
    parser.add_argument("--rounds", type=int, default=12, help="turns that the engines take")
    parser.add_argument("--runs", type=int, default=0, help="runs of each engine at least: from 100 on the 99th percentile is "
                        "not the longest run alone")
    parser.add_argument("--tune", metavar="TIME", help="search that long (60s, 5m) for every model and thread count first; "
                        "databases are kept in build/tune")
    parser.add_argument("--json", type=Path, help="all figures; rows that the file has of this compiler, with all engines, are "
                        "printed and not measured again")
    return parser.parse_args()


def main():
    options = parse_options()
    reexecute_in_venv()
    import models

    chosen = options.models or list(models.extra() if options.extra else models.MODELS)
    tuned = f", after `burnish tune --time {options.tune}`" if options.tune else ""
    print(f"{machine()}; milliseconds of interleaved runs, fp32, batch {options.batch}{tuned}")
    print_head(options.engines)
    kept, rows = Rows(options.json), []
    for name in chosen:
        path, shapes = find_model(name, parse_shapes(options.shape))
        for threads in options.threads:
            key = key_of(path.stem if name.endswith(".onnx") else name, threads, options)
            row = kept.find(key, "ms", options.engines)
            if row is None:
                row = kept.put(key, compare(key["model"], path, shapes, threads, options))
            rows.append(row)
            print_row(row, options.engines)
    ratios = [r for r in map(ratio, rows) if r]
    if len(ratios) > 1:
        print(f"geometric mean of {len(ratios)} ratios: {geometric_mean(ratios):.3f}; least {min(ratios):.2f}")
    return 1 if any("burnish" in row["errors"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
