#!/usr/bin/env python3
"""Times of every layer in ONNX Runtime and OpenVINO, by the nodes of the model, for `burnish profile --roofline --peers`.

    bench/peer_profile.py resnet50 --threads 1 -o build/resnet50-peers.json
    build/bin/burnish profile build/models/resnet50.onnx --threads 1 --roofline resnet50.html --peers build/resnet50-peers.json
    bench/peer_profile.py my.onnx --shape x=1x3x224x224 -o peers.json

Both profilers cost time: a whole run without them stands beside the layers. Layers are medians of several runs.
"""

import argparse
import collections
import json
import os
import re
import statistics
import tempfile
import time
from pathlib import Path

from peers import find_model, machine, parse_shapes, reexecute_in_venv


class Nodes:
    """Which nodes of the model a layer came from, by the names that engines give: a node's own, or its output's."""

    def __init__(self, model):
        self.by_name = {}
        for position, node in enumerate(model.graph.node):
            # As the importer names nodes that have no name. Identities stand for what they pass on.
            name = node.name or f"{node.op_type}#{position}"
            stands_for = self.by_name.get(node.input[0], name) if node.op_type == "Identity" else name
            for alias in (name, *node.output):
                self.by_name.setdefault(alias, stands_for)

    def of(self, names):
        return sorted({self.by_name[name] for name in names if name in self.by_name})

    def within(self, text):
        """Of a name that an optimiser made of a node's: "fused conv_3", "conv_3_nchwc", "Conv__12/WithoutBiases"."""
        text = text.removeprefix("fused ")
        while text:
            if text in self.by_name:
                return [self.by_name[text]]
            shorter = re.sub(r"[_/ ][^_/ ]*$", "", text)
            if shorter == text:
                return []
            text = shorter
        return []


def run_seconds(run, seconds=1.0):
    """Median of whole runs."""
    samples, end = [], time.perf_counter() + seconds
    while len(samples) < 5 or time.perf_counter() < end:
        begin = time.perf_counter()
        run()
        samples.append(time.perf_counter() - begin)
    return statistics.median(samples)


def onnxruntime_layers(prepared, feeds, threads, runs, nodes):
    import onnx
    import onnxruntime

    from engines import OnnxRuntime

    plain = OnnxRuntime("", prepared, {}, threads, None).bind(feeds)
    plain()
    whole = run_seconds(plain)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = f"{folder}/profile"
        options.optimized_model_filepath = f"{folder}/optimized.onnx"
        session = onnxruntime.InferenceSession(prepared, options, providers=["CPUExecutionProvider"])
        optimised = onnx.load(options.optimized_model_filepath, load_external_data=False)
        outputs = {node.name: node.output for node in optimised.graph.node}
        for _ in range(runs):
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
    times = collections.defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["name"]].append(event["dur"] * 1e-6)
    layers = []
    for event, samples in times.items():
        name = event.removesuffix("_kernel_time")
        layers.append({"name": name, "sources": nodes.within(name) or nodes.of(outputs.get(name, [])),
                       "seconds": statistics.median(samples)})
    return whole, layers


def openvino_layers(prepared, feeds, threads, runs, nodes):
    import openvino

    from engines import OpenVino

    plain = OpenVino("", prepared, {}, threads, None).bind(feeds)
    plain()
    whole = run_seconds(plain)
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(prepared), "CPU", {
        "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1, "PERF_COUNT": True})
    # What each layer that runs was fused of.
    origins = {}
    for op in compiled.get_runtime_model().get_ordered_ops():
        info = op.get_rt_info()
        if "originalLayersNames" in info:
            origins[op.get_friendly_name()] = str(info["originalLayersNames"].value).split(",")
    request = compiled.create_infer_request()
    times = collections.defaultdict(list)
    for run in range(runs + 1):
        request.infer(feeds)
        for layer in request.get_profiling_info():
            if run > 0 and layer.real_time.total_seconds() > 0:
                times[layer.node_name].append(layer.real_time.total_seconds())
    layers = []
    for name, samples in times.items():
        names = origins.get(name, [name])
        layers.append({"name": name, "sources": nodes.of(names) or nodes.within(name),
                       "seconds": statistics.median(samples)})
    return whole, layers


ENGINES = {"onnxruntime": onnxruntime_layers, "openvino": openvino_layers}


def main():
    parser = argparse.ArgumentParser(description="Times of other engines' layers, by the nodes of the model.")
    parser.add_argument("model", help="a name of bench/models.py or tools/extra_models.py, or an .onnx file")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=1x3x224x224", help="for an .onnx file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=30, help="profiled runs")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    reexecute_in_venv()
    import models
    import onnx

    path, shapes = find_model(options.model, parse_shapes(options.shape))
    model = onnx.load(path)
    feeds = models.feeds_for(model, shapes)
    prepared = models.prepared(model, shapes).SerializeToString()
    nodes = Nodes(model)
    result = {"machine": machine(), "model": path.name, "threads": options.threads, "engines": {}}
    for engine in options.engines:
        whole, layers = ENGINES[engine](prepared, feeds, options.threads, options.runs, nodes)
        result["engines"][engine] = {"run_seconds": whole, "layers": layers}
        total = sum(layer["seconds"] for layer in layers)
        lost = sum(layer["seconds"] for layer in layers if not layer["sources"])
        print(f"{engine}: a run {whole * 1e3:.2f} ms; {len(layers)} layers {total * 1e3:.2f} ms, of which {lost * 1e3:.2f} "
              f"ms belong to no node")
    partial = options.output.with_suffix(".part")
    partial.write_text(json.dumps(result, indent=1) + "\n")
    os.replace(partial, options.output)


if __name__ == "__main__":
    main()
