#!/usr/bin/env python3
"""What `burnish tune` finds, and at what cost. Every figure is taken on this machine, which should be quiet.

    bench/tune.py speed                 CenterFace: trials a second, 60 s beside 15 min, three seeds (about 20 minutes)
    bench/tune.py speed --long 180      the same beside 3 minutes
    bench/tune.py exhaustive            three small tasks: what a search finds beside the best of all points
    bench/tune.py ablation              explorers at equal numbers of trials, and how well the models rank
    bench/tune.py faults                a search killed 20 times loses nothing
    bench/tune.py replay                the same seed with recorded times is the same search
    bench/tune.py gpu                   CenterFace on the NVIDIA GPU here: from nothing, and with kernels on disk (about 4 minutes)
    bench/tune.py all                   all but the GPU's

Databases are kept in build/tune (--keep: those that exist are used again).
"""

import argparse
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peers import ROOT, machine, reexecute_in_venv

BURNISH = ROOT / "build/bin/burnish"
FOLDER = ROOT / "build/tune"
CENTERFACE = ["--shape", "input.1=1x3x544x960"]
# Tasks for the ablation: of several kinds and sizes, from three networks.
ABLATION = [
    ("centerface", CENTERFACE, 3),
    ("nudenet_320n", ["--shape", "images=1x3x320x320"], 2),
    ("resnet50", [], 2),
]


def model(name):
    return ROOT / "build/models" / f"{name}.onnx"


def burnish(*arguments, check=True, **environment):
    return subprocess.run([BURNISH, *map(str, arguments)], text=True, capture_output=True, check=check, env={**os.environ, **environment})


def bench_program(name):
    """A program of bench/, built when it is missing or old."""
    subprocess.run(["cmake", "--build", ROOT / "build/release", "--target", name], check=True, stdout=subprocess.DEVNULL)
    return ROOT / "build/release/bench" / name


def remove_database(path):
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def tune(path, name, shapes, options, keep, **environment):
    """Runs a search with a database of its own; its printed summary as text."""
    summary = path.with_suffix(".txt")
    if keep and path.exists() and summary.exists():
        return summary.read_text()
    remove_database(path)
    done = burnish("tune", model(name), *shapes, "--records", path, *options, **environment)
    summary.write_text(done.stdout)
    return done.stdout


def summary_figures(text):
    """Trials, seconds, trials a second; speedup and its noise."""
    rate = re.search(r"^(\d+) trials in (\d+) s \(([\d.]+) a second\)", text, re.M)
    gain = re.search(r"([\d.]+)x \+- ([\d.]+)$", text, re.M)
    return int(rate[1]), float(rate[3]), float(gain[1]), float(gain[2])


def interleaved(libraries, threads, seconds=12.0, rounds=24):
    """Median milliseconds of every library, run in turns in this process."""
    import burnish as package
    import numpy as np

    sessions = []
    for library in libraries:
        session = package.InferenceSession(str(library), threads=threads)
        feeds = {i.name: np.random.default_rng(0).random(i.shape, np.float32) for i in session.get_inputs()}
        sessions.append((session, feeds))
    times = [[] for _ in libraries]
    for _ in range(rounds):
        for (session, feeds), measured in zip(sessions, times, strict=True):
            end = time.perf_counter() + seconds / rounds / len(sessions)
            session.run(None, feeds)
            while time.perf_counter() < end:
                begin = time.perf_counter()
                session.run(None, feeds)
                measured.append(time.perf_counter() - begin)
    return [statistics.median(measured) * 1e3 for measured in times]


def speed(options):
    """CenterFace with two threads: the default, three seeds of 60 s, one long search."""
    runs = [(f"centerface-{seed}", ["--time", f"{options.short}s", "--seed", seed]) for seed in (1, 2, 3)]
    runs.append(("centerface-long", ["--time", f"{options.long}s", "--seed", 4]))
    libraries = [FOLDER / "default.so"]
    burnish("compile", model("centerface"), *CENTERFACE, "--threads", 2, "-o", libraries[0])
    for name, arguments in runs:
        path = FOLDER / f"{name}.db"
        text = tune(path, "centerface", CENTERFACE, ["--threads", 2, *arguments], options.keep)
        trials, rate, gain, noise = summary_figures(text)
        print(f"{name:<18} {trials:>6} trials, {rate:5.1f} a second; in its own comparison {gain:.3f}x +- {noise:.3f}", flush=True)
        libraries.append(FOLDER / f"{name}.so")
        burnish("compile", model("centerface"), *CENTERFACE, "--threads", 2, "--records", path, "-o", libraries[-1])
    default, *found, long = interleaved(libraries, 2)
    print(f"default {default:.2f} ms, {options.short} s: {' '.join(f'{t:.2f}' for t in found)} ms, {options.long} s: {long:.2f} ms")
    median = statistics.median(found)
    print(f"{options.short} s (median of three seeds) takes {median / long:.3f} of what {options.long} s find "
          f"(wanted: at most 1.05); gain on the default {default / median:.3f}x, long {default / long:.3f}x")
    return median / long <= 1.05 and max(found) <= default * 1.01


def gpu(options):
    """CenterFace on a GPU: a search from nothing, then with the kernels that it has compiled on disk, but none of its records."""
    good, first = True, 0
    with tempfile.TemporaryDirectory() as cache:
        for name, wanted, arguments in (("from nothing", 180, []), ("kernels on disk", None, []), ("the same, 50 s", 60, ["--time", "50s"])):
            begin = time.perf_counter()
            text = tune(FOLDER / "gpu.db", "centerface", CENTERFACE, ["--target", options.target, "--precision", options.precision, *arguments],
                        keep=False, BURNISH_CACHE=cache)
            seconds = time.perf_counter() - begin
            trials, rate, gain, noise = summary_figures(text)
            spent = re.search(r"^.* choosing candidates,.*$", text, re.M)[0]
            print(f"{name:<16} {seconds:5.1f} s{f' (wanted: at most {wanted})' if wanted else ''}: {trials} trials, {rate:.1f} a second; {gain:.3f}x +- {noise:.3f}; {spent}",
                  flush=True)
            first = first or gain
            good &= seconds <= (wanted or seconds) and gain >= 0.98 * first
    return good


def tasks_of(name, shapes):
    """Names of tasks with the number of points, smallest space first."""
    done = burnish("tune", model(name), *shapes, "--list", "--json")
    return [json.loads(line) for line in done.stdout.splitlines()]


def enumerable_tasks(options):
    """Tasks of different networks, the heaviest of each whose space can be enumerated and whose kernel takes a while (at
    least a million multiply-adds, tens of microseconds): the three heaviest."""
    import models

    models.ensure_models(models.MODELS)
    chosen = {}
    for name, (file, shapes) in models.MODELS.items():
        flags = [flag for input, shape in shapes.items() for flag in ("--shape", f"{input}={'x'.join(map(str, shape))}")]
        stem = Path(file).stem
        tasks = [task for task in tasks_of(stem, flags) if 40 <= task["points"] <= options.points and task["macs"] > 1e6]
        if tasks:
            task = max(tasks, key=lambda task: task["macs"])
            if stem not in chosen or task["macs"] > chosen[stem][2]["macs"]:
                chosen[stem] = (stem, flags, task)
    return sorted(chosen.values(), key=lambda entry: -entry[2]["macs"])[:3]


def exhaustive(options):
    """Three tasks whose spaces can be enumerated: search, then all points, then both winners in turns."""
    race = bench_program("bench_search")
    chosen = enumerable_tasks(options)
    good = len(chosen) == 3
    for name, shapes, task in chosen:
        pattern = f"^{re.escape(task['name'])}$"
        found, every = FOLDER / f"{name}-found.db", FOLDER / f"{name}-every.db"
        tune(found, name, shapes, ["--tasks", pattern, "--trials", options.trials], options.keep)
        tune(every, name, shapes, ["--tasks", pattern, "--tuner", "grid", "--trials", task["points"]], options.keep)
        result = json.loads(subprocess.run([race, "race", found, every], text=True, capture_output=True, check=True).stdout)
        ratio = result["chosen"] / result["best"]
        good &= ratio <= 1.03
        print(f"{name} {task['name']}: chosen by {options.trials} trials {result['chosen'] * 1e6:.1f} us, best of all "
              f"{task['points']} points {result['best'] * 1e6:.1f} us: {ratio:.3f} (wanted: at most 1.03)", flush=True)
    return good


def ablation(options):
    """Records many random points of several tasks; explorers then search among those, without measuring."""
    program = bench_program("bench_search")
    databases = []
    for name, shapes, count in ABLATION:
        tasks = sorted(tasks_of(name, shapes), key=lambda t: -t["macs"] * t["weight"])
        for task in [t for t in tasks if t["points"] >= 200][:count]:
            path = FOLDER / f"landscape-{name}-{task['name'][:40]}.db"
            tune(path, name, shapes, ["--tasks", f"^{re.escape(task['name'])}$", "--tuner", "random", "--trials",
                                      options.landscape], options.keep)
            databases.append(path)
    print(subprocess.run([program, "ablation", *databases, "--seeds", "10", "--svg", ROOT / "docs/tuning-ablation.svg"], text=True,
                         capture_output=True, check=True).stdout)
    print(subprocess.run([program, "rank", *databases], text=True, capture_output=True, check=True).stdout)
    return True


def faults(options):
    """Kills a search at random moments; what was committed stays, and the search goes on."""
    path = FOLDER / "killed.db"
    remove_database(path)
    generator = random.Random(1)
    count = 0
    for kill in range(20):
        search = subprocess.Popen([BURNISH, "tune", model("centerface"), *CENTERFACE, "--records", path, "--time", "600s",
                                   "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(2 + 4 * generator.random())
        search.send_signal(signal.SIGKILL)
        search.wait()
        doctor = burnish("records", "doctor", path, check=False)
        lines = len(burnish("records", "export", path).stdout.splitlines())
        if doctor.returncode != 0 or lines < count:
            print(f"kill {kill + 1}: {count} records before, {lines} after: {doctor.stdout}{doctor.stderr}")
            return False
        count = lines
    time.sleep(1)  # workers see that nobody talks to them any more
    left = subprocess.run(["pgrep", "-c", "burnish-worker"], text=True, capture_output=True).stdout.strip()
    print(f"killed 20 times: {count} records, none lost, the database whole, {left} workers left behind")
    return left == "0"


def replay(options):
    program = bench_program("bench_search")
    path = FOLDER / "replay.db"
    tune(path, "centerface", CENTERFACE, ["--trials", 400, "--seed", 5], options.keep)
    done = subprocess.run([program, "replay", path, model("centerface"), *CENTERFACE], text=True, capture_output=True)
    print(done.stdout, done.stderr, end="")
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    everywhere = {f.__name__: f for f in (speed, exhaustive, ablation, faults, replay)}
    figures = {**everywhere, "gpu": gpu}
    parser.add_argument("figure", choices=[*figures, "all"])
    parser.add_argument("--short", type=int, default=60, help="seconds of a short search")
    parser.add_argument("--long", type=int, default=900, help="seconds of the long one")
    parser.add_argument("--trials", type=int, default=120, help="of a search in `exhaustive`")
    parser.add_argument("--points", type=int, default=1500, help="the largest space that `exhaustive` enumerates")
    parser.add_argument("--landscape", type=int, default=600, help="random points a task in `ablation`")
    parser.add_argument("--target", default="cuda", help="of `gpu`")
    parser.add_argument("--precision", default="tf32", help="of `gpu`: strict, tf32, fp16 or bf16")
    parser.add_argument("--keep", action="store_true", help="use databases that exist already")
    options = parser.parse_args()
    reexecute_in_venv()
    FOLDER.mkdir(parents=True, exist_ok=True)
    print(machine())
    chosen = everywhere if options.figure == "all" else {options.figure: figures[options.figure]}
    results = {}
    for name, figure in chosen.items():
        results[name] = figure(options)
        print(f"{name}: {'as wanted' if results[name] else 'NOT as wanted'}", flush=True)
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
