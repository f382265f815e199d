#!/usr/bin/env python3
"""What compiling costs: time, memory, size of the library beyond its weights, and time to load it.

    bench/compile.py                        all models of bench/models.py
    bench/compile.py centerface resnet50

One line a network. Seconds and peak memory are those of a `burnish compile` process; the load is the median of nine.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from peers import ROOT, machine, reexecute_in_venv

BURNISH = ROOT / "build/bin/burnish"


def compile_once(model, shapes, library):
    """Seconds and peak megabytes of one `burnish compile`."""
    command = [BURNISH, "compile", model, "-o", library]
    for name, shape in shapes.items():
        command += ["--shape", f"{name}={'x'.join(map(str, shape))}"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{model}: burnish compile failed with {process.returncode}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def load_ms(library):
    import burnish

    times = []
    for _ in range(9):
        start = time.perf_counter()
        burnish.Model(str(library))
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    options = parser.parse_args()
    reexecute_in_venv()
    import burnish
    import models

    models.ensure_models(models.MODELS)
    print(f"{machine()}\n{'model':<17}{'seconds':>8}{'peak MB':>9}{'library MB':>12}{'beyond weights KB':>19}{'load ms':>9}")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "model.so"
        for name in options.models or models.MODELS:
            file, shapes = models.MODELS[name]
            seconds, peak = compile_once(models.FOLDER / file, shapes, library)
            weights = json.loads(burnish.Model(str(library)).metadata)["weights_bytes"]
            size = library.stat().st_size
            print(f"{name:<17}{seconds:>8.1f}{peak:>9.0f}{size / 1e6:>12.2f}{(size - weights) / 1e3:>19.0f}"
                  f"{load_ms(library):>9.2f}")


if __name__ == "__main__":
    main()
