"""Burnish and its peers behind one face. Each runs in a process of its own, so that no engine's threads, allocator or
OpenMP runtime disturb another's; a process measures only while the others wait for a message."""

import ctypes
import gc
import math
import multiprocessing
import statistics
import subprocess
import time
from pathlib import Path


# Seconds from one engine's turn to the next: threads of some spin for tens of milliseconds after their last run.
SETTLE = 0.1


class Burnish:
    def __init__(self, path, prepared, shapes, threads, records):
        import burnish

        begin = time.perf_counter()
        if not path.endswith(".so"):
            path = burnish.compile(path, shapes=shapes, threads=threads, records=records).library
        self.compile_s = time.perf_counter() - begin
        self.session = burnish.InferenceSession(path, threads=threads)

    def bind(self, feeds):
        return lambda: self.session.run(None, feeds)


class OnnxRuntime:
    def __init__(self, path, prepared, shapes, threads, records):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        begin = time.perf_counter()
        self.session = onnxruntime.InferenceSession(prepared, options, providers=["CPUExecutionProvider"])
        self.compile_s = time.perf_counter() - begin

    def bind(self, feeds):
        return lambda: self.session.run(None, feeds)


class OpenVino:
    def __init__(self, path, prepared, shapes, threads, records):
        import openvino

        core = openvino.Core()
        begin = time.perf_counter()
        model = core.read_model(prepared)
        # fp32 by force: on CPUs with bf16 the default is bf16, which is another calculation.
        self.compiled = core.compile_model(model, "CPU", {
            "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
        })
        self.compile_s = time.perf_counter() - begin
        self.request = self.compiled.create_infer_request()

    def bind(self, feeds):
        self.request.infer(feeds)

        def run():
            self.request.infer()
            return [self.request.get_output_tensor(i).data.copy() for i in range(len(self.compiled.outputs))]

        return run


class BusyLoop:
    """No engine: arithmetic for as long as `feeds["ms"]` says. Its longest runs are the machine's doing."""

    def __init__(self, path, prepared, shapes, threads, records):
        source = Path(__file__).with_name("busy_loop.cpp")
        library = source.parents[1] / "build/busy_loop.so"
        if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["c++", "-std=c++20", "-O2", "-shared", "-fPIC", "-pthread", source, "-o", library], check=True)
        self.library, self.compile_s = ctypes.CDLL(str(library)), 0.0
        self.library.busy_run.argtypes = [ctypes.c_long]
        self.library.busy_threads(threads)

    def bind(self, feeds):
        def seconds(steps):
            begin = time.perf_counter()
            self.library.busy_run(steps)
            return time.perf_counter() - begin

        a_second = 1_000_000 / min(seconds(1_000_000) for _ in range(20))
        steps = int(feeds["ms"] / 1e3 * a_second)
        return lambda: self.library.busy_run(steps)


ENGINES = {"burnish": Burnish, "onnxruntime": OnnxRuntime, "openvino": OpenVino, "busy": BusyLoop}


def _serve(pipe, engine, path, prepared, shapes, threads, feeds, records):
    try:
        subject = ENGINES[engine](path, prepared, shapes, threads, records)
        run = subject.bind(feeds)
        outputs = run()
        pipe.send(("ready", subject.compile_s, outputs))
    except Exception as error:  # whatever an engine does with a model is a result
        pipe.send(("failed", f"{type(error).__name__}: {error}", None))
        return
    gc.disable()  # none of its pauses is an engine's
    while (turn := pipe.recv()) is not None:
        seconds, least, pause = turn
        run()
        samples, end = [], time.perf_counter() + seconds
        while len(samples) < least or time.perf_counter() < end:
            if pause:
                time.sleep(pause)
            begin = time.perf_counter()
            run()
            samples.append(time.perf_counter() - begin)
        pipe.send(samples)


class Worker:
    """One engine with one model in one process."""

    def __init__(self, engine, path, prepared, shapes, threads, feeds, records=None):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(theirs, engine, path, prepared, shapes, threads, feeds, records),
            daemon=True)
        self.process.start()
        theirs.close()
        self.engine, self.samples, self.error = engine, [], None
        try:
            state, value, self.outputs = self.pipe.recv()
        except EOFError:
            self.process.join()
            state, value, self.outputs = "failed", f"the process ended with {self.process.exitcode}", None
        if state == "failed":
            self.error = value
        else:
            self.compile_s = value

    def measure(self, seconds, keep=True, least=1, pause=0.0):
        """Runs for that many seconds and `least` times, `pause` seconds before each; the seconds of each. A run before them
        does not count, because it finds its threads asleep and other engines' data in the caches."""
        time.sleep(SETTLE)
        self.pipe.send((seconds, least, pause))
        samples = self.pipe.recv()
        if keep:
            self.samples += samples
        return samples

    def median_ms(self):
        return 1e3 * statistics.median(self.samples)

    def tail_ms(self):
        """The 99th percentile: of fewer than 100 runs the longest."""
        return 1e3 * sorted(self.samples)[math.ceil(0.99 * len(self.samples)) - 1]

    def close(self):
        if self.process.is_alive():
            self.pipe.send(None)
            self.process.join(10)
            if self.process.is_alive():
                self.process.kill()


def take_turns(workers, options, least=0):
    """Warms up and measures, round after round, those that did not fail, each `least` times or more; returns these."""
    running = [worker for worker in workers if worker.error is None]
    for worker in running:
        worker.measure(options.warmup, keep=False)
    for _ in range(options.rounds):
        for worker in running:
            worker.measure(options.duration / options.rounds, least=max(1, math.ceil(least / options.rounds)))
    return running
