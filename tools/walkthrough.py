#!/usr/bin/env python3
"""Regenerates the dumps of docs/walkthrough.md: one convolution and a ReLU on their way to machine code.

    tools/walkthrough.py                    rewrite docs/walkthrough.md
    tools/walkthrough.py --output FILE      write elsewhere; docs/walkthrough.md stays
    tools/walkthrough.py --model FILE       only write the network

What stands between `<!-- generated: NAME -->` and `<!-- end -->` is replaced by what the command prints.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "walkthrough.md"
# A fixed CPU and one thread, so that the page does not depend on the machine that made it.
MACHINE = ["--target", "llvm:cpu=x86-64-v3", "--threads", "1"]
TASK = "conv_relu"


def write_model(path):
    """relu(conv(x, w, b)): 3x3, stride 1, one row and column of padding, 3 to 16 channels, 16x16 pixels."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = (rng.standard_normal((16, 3, 3, 3)) * 0.2).astype(np.float32)
    bias = (rng.standard_normal(16) * 0.1).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], name="Conv_0", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["y"], name="Relu_1"),
        ],
        "walkthrough",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 16, 16])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)


class Dumps:
    """Each method gives the text of the block of its name."""

    def __init__(self, burnish, model):
        self.burnish, self.model = burnish, model

    def call(self, *args):
        run = subprocess.run([self.burnish, *args], capture_output=True, text=True)
        if run.returncode != 0:
            raise SystemExit(f"burnish {' '.join(map(str, args))} failed ({run.returncode}):\n{run.stderr}")
        return run.stdout

    def emit(self, kind, *args):
        return self.call("compile", self.model, "--emit", kind, *MACHINE, *args)

    def part(self, title):
        """One of the parts of `burnish lower`, which begin with `# stages`, `# schedule`, `# loops`."""
        text = self.call("lower", self.model, "--task", TASK, *MACHINE)
        parts = re.split(r"^# (\w+)$", text, flags=re.M)
        return dict(zip(parts[1::2], parts[2::2]))[title].strip("\n")

    def inspect(self):
        return self.call("inspect", self.model)

    def imported(self):
        return self.emit("graph", "--stop-after", "fold_constants")

    def groups(self):
        return self.emit("graph")

    def stages(self):
        return self.part("stages")

    def schedule(self):
        return self.part("schedule")

    def loops(self):
        return shortened(self.part("loops"), 70)

    def program(self):
        """The program without its functions, which `loops` shows."""
        lines, depth, kept = self.emit("loops").splitlines(), 0, []
        for line in lines:
            begins = depth == 0 and line.startswith("func")
            if begins or depth:
                depth += line.count("{") - line.count("}")
                if begins:
                    kept.append(line.rstrip("{ ") + " { … }")
                continue
            kept.append(re.sub(r' schedule ".*', ' schedule "…"', line))
        return "\n".join(kept)

    def llvm(self):
        return busiest_block(self.emit("llvm"), r"^[\w.]+:", r"@llvm\.fma|fmul|fadd", 40)

    def asm(self):
        return busiest_loop(self.emit("asm"), 60)


def narrowed(line, most=160):
    return line if len(line) <= most else line[: most - 2] + " …"


def shortened(text, most):
    lines = text.splitlines()
    if len(lines) <= most:
        return text
    return "\n".join([*lines[:most], f"… {len(lines) - most} more lines"])


def busiest_block(text, label, what, most):
    """The basic block with the most matches of `what`."""
    blocks, now = [], []
    for line in text.splitlines():
        if re.match(label, line) or line.startswith("define"):
            blocks.append(now)
            now = []
        now.append(line)
    blocks.append(now)
    best = max(blocks, key=lambda block: sum(bool(re.search(what, line)) for line in block))
    lines = [re.sub(r", !.*", "", line) for line in best if line.strip()]
    return shortened("\n".join(lines), most)


def busiest_loop(text, most):
    """The lines from a label to a jump back to it, among those without other labels the one with most multiply-adds."""
    best, score = [], -1
    lines = [line.expandtabs(8).split(" #")[0].rstrip() for line in text.splitlines()]
    lines = [line for line in lines if line.strip() and not re.match(r"\s+\.\w", line)]
    start = None
    for i, line in enumerate(lines):
        if re.match(r"\.L\w+:", line):
            start = i
        jump = re.match(r"\s+j\w+\s+(\.L\w+)", line)
        if jump and start is not None and lines[start].startswith(jump.group(1) + ":"):
            body = lines[start : i + 1]
            found = sum("fmadd" in x for x in body)
            if found > score:
                best, score = body, found
    return shortened("\n".join(best), most)


def regenerate(page, dumps):
    def block(match):
        name = match.group(1)
        if not hasattr(dumps, name):
            raise SystemExit(f"docs/walkthrough.md asks for a block '{name}' that this script does not know")
        text = "\n".join(narrowed(line) for line in getattr(dumps, name)().strip("\n").splitlines())
        if not text:
            raise SystemExit(f"the block '{name}' came out empty")
        return f"<!-- generated: {name} -->\n```\n{text}\n```\n<!-- end -->"

    return re.sub(r"<!-- generated: (\w+) -->\n.*?<!-- end -->", block, page, flags=re.S)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="only write the network, here")
    parser.add_argument("--output", type=Path, default=PAGE, help="the page to write")
    parser.add_argument("--burnish", default=os.environ.get("BURNISH", ROOT / "build" / "bin" / "burnish"))
    options = parser.parse_args()
    if options.model:
        options.model.parent.mkdir(parents=True, exist_ok=True)
        write_model(options.model)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        write_model(model)
        options.output.write_text(regenerate(PAGE.read_text(), Dumps(options.burnish, model)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
