"""An engine of bench/gpu.py in a process of its own, and its face in the process that compares them."""

import math
import multiprocessing
import os
import statistics
import subprocess
from pathlib import Path

from peers import ROOT, parse_shapes

PRECISIONS = {"strict": "float", "tf32": "float", "fp16": "half", "bf16": "bfloat16"}


def find_model(name, shapes, write=False):
    """The model, its file, and the shapes of its inputs. Weights that had been taken out are random ones; `write`: in the file, too,
    which then is another one."""
    import models
    import onnx
    from strip_weights import KEY, restored

    file, known = models.MODELS.get(name) or models.extra().get(name) or (None, shapes)
    path = models.FOLDER / file if file else Path(name)
    model = onnx.load(path)
    if any(entry.key == KEY for entry in model.metadata_props):
        model = restored(model)
        if write:
            path = ROOT / "build/gpu" / path.name
            path.parent.mkdir(parents=True, exist_ok=True)
            written = path.with_name(f"{os.getpid()}-{path.name}")  # others may be reading the one that is there
            onnx.save(model, written)
            written.replace(path)
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


def is_image(name, options):
    """Whether an input has the four axes of which there are two memory formats."""
    import models

    model, _, _ = find_model(name, parse_shapes(options.shape))
    return any(len(tensor.type.tensor_type.shape.dim) == 4 for tensor in models.inputs_of(model))


class Exact:
    """The network in fp64: what errors are measured from."""

    def __init__(self, module, inputs):
        exact = module.cuda()
        self.outputs = [y.double() for y in exact(*(x.double() if x.is_floating_point() else x for x in inputs))]

    def run(self):
        pass


def prepare(engine, format, case, options):
    """What the CPU alone does for the engine of a case, (name, precision, batch): imports, the module or the library. Returns a
    function that makes the engine, ready to run."""
    import models
    import torch
    from gpu_engines import Burnish
    from onnx_torch import torch_module

    name, precision, batch = case
    torch.set_grad_enabled(False)
    model, path, shapes = find_model(name, parse_shapes(options.shape), write=engine == "burnish")
    shapes = models.batched(model, shapes, batch) if batch > 1 else shapes
    feeds = {input: torch.from_numpy(array) for input, array in models.feeds_for(model, shapes).items()}
    if engine == "burnish":
        label = path.stem if name.endswith(".onnx") else name
        library = library_of(label, path, shapes, precision, batch, options)
        return lambda: Burnish(library, {input: x.cuda() for input, x in feeds.items()})
    if engine in ("compile", "autotune"):
        import torch._inductor.compile_fx  # noqa: F401: seconds that others need not wait for
    module = torch_module(model, shapes)
    return lambda: make_peer(engine, format, precision, module, [x.cuda() for x in feeds.values()])


def make_peer(engine, format, precision, module, inputs):
    """PyTorch's engine on the GPU."""
    import torch
    from gpu_engines import PYTORCH, set_precision

    if engine == "exact":
        return Exact(module, inputs)
    set_precision(precision)
    dtype = {"float": torch.float32, "half": torch.float16, "bfloat16": torch.bfloat16}[PRECISIONS[precision]]
    memory = torch.channels_last if format == "nhwc" else torch.contiguous_format
    own = [x.to(dtype) if x.is_floating_point() else x for x in inputs]
    own = [x.contiguous(memory_format=memory) if x.dim() == 4 else x for x in own]
    return PYTORCH[engine](module.to("cuda", dtype).to(memory_format=memory), own)


class Serving:
    """What the other process may ask for, by name."""

    def __init__(self, engine):
        from gpu_engines import Stopwatch

        self.watch, self.engine = Stopwatch(engine), engine

    def measure(self, seconds):
        return self.watch.measure(seconds)

    def host(self):
        return self.watch.host()

    def outputs(self):
        """As fp64 arrays."""
        import torch

        self.engine.run()
        torch.cuda.synchronize()
        return [y.double().cpu().numpy() for y in self.engine.outputs]

    def winograd(self):
        return "winograd" in str(getattr(self.engine, "metadata", {}).get("steps", "")).lower()


def serve(connection, *which):
    """Answers requests, (name, arguments), by (True, value) or (False, what went wrong), beginning with whether all is prepared. The
    first request is to make the engine, before which the GPU is not touched."""
    engine = serving = None
    try:
        while True:
            try:
                value = None
                if engine is None:
                    engine = prepare(*which)
                elif serving is None:
                    serving = Serving(engine())
                else:
                    value = getattr(serving, request[0])(*request[1:])
                connection.send((True, value))
            except Exception as error:
                connection.send((False, f"{type(error).__name__}: {error}".strip()[:2000]))
            request = connection.recv()
    except (EOFError, KeyboardInterrupt):
        pass


class Apart:
    """An engine and its Stopwatch in a process of their own, which prepares them at once (`ready` waits for that) and makes them when
    told to. What goes wrong there is a RuntimeError here."""

    def __init__(self, *which):
        context = multiprocessing.get_context("spawn")
        self.samples, self.failure = [], None
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, *which))
        self.process.start()
        theirs.close()

    def answer(self):
        try:
            good, value = self.connection.recv()
        except EOFError:
            self.process.join()
            raise RuntimeError(f"the process ended with {self.process.exitcode}") from None
        if not good:
            raise RuntimeError(value)
        return value

    def settle(self):
        """Waits until all is prepared, or has failed."""
        if self.failure is None:
            try:
                self.answer()
                self.failure = ""
            except RuntimeError as error:
                self.failure = str(error)

    def ready(self):
        self.settle()
        if self.failure:
            raise RuntimeError(self.failure)

    def tell(self, *request):
        try:
            self.connection.send(request)
        except BrokenPipeError:
            pass

    def ask(self, *request):
        self.tell(*request)
        return self.answer()

    def measure(self, seconds):
        self.samples += self.ask("measure", seconds)

    def median_ms(self):
        return statistics.median(self.samples)

    def tail_ms(self):
        """The 99th percentile: of fewer than 100 runs the longest."""
        return sorted(self.samples)[math.ceil(0.99 * len(self.samples)) - 1]

    def close(self):
        self.connection.close()
        self.process.join(5)
        if self.process.exitcode is None:
            self.process.kill()
