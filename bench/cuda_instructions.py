#!/usr/bin/env python3
"""What a model's kernels are made of on an NVIDIA GPU, by counting in their machine code: no GPU is needed, but nvcc and cuobjdump.

    build/venv/bin/python bench/cuda_instructions.py build/models/centerface.onnx --shape input.1=1x3x544x960 --precision tf32
    ... --loops                                        # also every loop's instructions, the innermost last

For each kernel: registers, bytes of local memory (spills, arrays that are not in registers), instructions, and how many of them are matrix
instructions, multiply-adds and other arithmetic of floats, accesses of memory, of the block's memory, and the rest: addresses, conditions, moves.
A loop's instructions are those between its branch and where that leads, loops inside included.
"""
import argparse
import collections
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import burnish

KINDS = {
    "matrix": r"HMMA|HGMMA",
    "fma": r"[FHD]FMA2?",
    "float": r"(F|D)(ADD|MUL|MNMX|SETP|SEL)|H(ADD|MUL|MNMX)2|MUFU|F2FP",
    "memory": r"LDG|STG|LDGSTS|LD|ST|RED|ATOM",
    "block": r"LDS|STS|LDSM",
}


def kernels_of(listing):
    """{kernel: [(address, instruction)]} of what cuobjdump -sass prints."""
    found = {}
    for line in listing.splitlines():
        if name := re.search(r"Function : (\S+)", line):
            found[name[1]] = []
        elif code := re.match(r"\s+/\*([0-9a-f]+)\*/\s+(.*?);", line):
            found[list(found)[-1]].append((int(code[1], 16), code[2].strip()))
    return found


def kind_of(instruction):
    operation = re.sub(r"^@!?U?P\d+\s+", "", instruction).split()[0].split(".")[0]
    return next((kind for kind, pattern in KINDS.items() if re.fullmatch(pattern, operation)), "rest")


def row(code):
    counts = collections.Counter(kind_of(text) for _, text in code if not text.startswith("NOP"))
    return f"{sum(counts.values()):>7}" + "".join(f"{counts[kind]:>8}" for kind in [*KINDS, "rest"])


def loops_of(code):
    for end, text in code:
        if target := re.search(r"BRA.* 0x([0-9a-f]+)", text):
            begin = int(target[1], 16)
            if begin < end:
                yield [(at, what) for at, what in code if begin <= at <= end]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=1x3x64x64")
    parser.add_argument("--arch", default="sm_90")
    parser.add_argument("--precision", choices=["strict", "tf32", "fp16", "bf16"])
    parser.add_argument("--loops", action="store_true")
    options = parser.parse_args()
    for tool in ("nvcc", "cuobjdump"):
        if not shutil.which(tool):
            sys.exit(f"there is no {tool} on the PATH; it comes with the CUDA toolkit")
    shapes = {name: tuple(map(int, sizes.split("x"))) for name, sizes in (s.rsplit("=", 1) for s in options.shape)}
    source = burnish.compile(options.model, shapes=shapes, target=f"cuda:{options.arch}", precision=options.precision).emit("cuda")
    with tempfile.TemporaryDirectory() as folder:
        path, cubin = Path(folder) / "kernels.cu", Path(folder) / "kernels.cubin"
        path.write_text(source)
        subprocess.run(["nvcc", "-w", f"-arch={options.arch}", "-cubin", "-o", cubin, path], check=True)
        listing, usage = (subprocess.run(["cuobjdump", flag, cubin], check=True, capture_output=True, text=True) for flag in ("-sass", "-res-usage"))
    resources = dict(re.findall(r"Function (\S+?):\s+(REG:\d+ STACK:\d+)", usage.stdout + usage.stderr))
    print(f"{'regs':>4} {'local':>6}  {'all':>5}" + "".join(f"{kind:>8}" for kind in [*KINDS, "rest"]) + "  kernel")
    for name, code in kernels_of(listing.stdout).items():
        registers, local = re.findall(r"\d+", resources.get(name, "0 0"))
        print(f"{registers:>4} {local:>6}{row(code)}  {name}")
        for loop in loops_of(code) if options.loops else []:
            print(f"{'':>11}{row(loop)}    loop at {loop[0][0]:#x}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
