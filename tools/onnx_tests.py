#!/usr/bin/env python3
"""Runs the backend tests of the `onnx` package against the Python binding, through onnx's own test runner.

    tools/onnx_tests.py                       all of them; prints what does not pass, by reason
    tools/onnx_tests.py --only 'conv|pool'    those whose names match
    tools/onnx_tests.py --write               also writes docs/onnx-tests.md
    tools/onnx_tests.py --check               fails when one that docs/onnx-tests.md does not list does not pass, or any
                                              crashes; a float16 result beside the expected one is no news

A skipped test counts as one that does not pass. Each worker is a process: a crash or a hang is one test's result.
"""

import argparse
import collections
import multiprocessing
import os
import re
import sys
import tempfile
import unittest
from pathlib import Path

import onnx

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs/onnx-tests.md"
CATEGORIES = {
    "OnnxBackendNodeModelTest": "node tests",
    "OnnxBackendRealModelTest": "light networks",
    "OnnxBackendSimpleModelTest": "simple networks",
    "OnnxBackendPyTorchConvertedModelTest": "converted from PyTorch",
    "OnnxBackendPyTorchOperatorModelTest": "operators converted from PyTorch",
}


def cases():
    """All tests by name, `category/test_name`, as unittest cases."""
    from onnx.backend.test import BackendTest

    from burnish.onnx_backend import BurnishBackend

    found = {}
    for category, case in BackendTest(BurnishBackend, __name__).test_cases.items():
        for name in unittest.defaultTestLoader.getTestCaseNames(case):
            if name.endswith("_cpu"):
                found[f"{CATEGORIES.get(category, category)}/{name.removesuffix('_cpu')}"] = case(name)
    return found


def reason_of(result):
    """Why it does not pass, in a line: the error without the file's name, or how far off the answer is."""
    if result.skipped:
        return "skipped: " + result.skipped[0][1]
    problems = result.errors + result.failures
    if not problems:
        return None
    lines = [line.strip() for line in problems[0][1].splitlines() if line.strip()]
    errors = [i for i, line in enumerate(lines) if re.match(r"[\w.]+(Error|Unsupported|Exception)\b", line)]
    text = " ".join(lines[errors[-1] if errors else -1:]).removeprefix("burnish._core.")
    text = re.sub(r"(model\.onnx: \d+ of its nodes cannot be compiled: |( ?\((while|at) [^()]*\))|/\S*/model\.onnx:? ?)", "", text)
    text = re.sub(r"^AssertionError: (Not equal to tolerance \S+ ?)?", "wrong: ", text)
    return re.sub(r" ACTUAL: .*", "", text)


def _work(pipe, folder):
    os.environ["ONNX_MODELS"] = folder
    sys.stdout = open(os.devnull, "w")
    tests = cases()
    pipe.send("ready")
    while True:
        name = pipe.recv()
        if name is None:
            return
        result = unittest.TestResult()
        tests[name].run(result)
        pipe.send(reason_of(result))


class Worker:
    def __init__(self, folder):
        self.folder, self.name = folder, None
        self.start()

    def start(self):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, self.folder), daemon=True)
        self.process.start()
        theirs.close()
        self.pipe.recv()

    def give(self, name):
        self.name = name
        self.pipe.send(name)

    def answer(self):
        """The reason why the current test does not pass; None when it does."""
        try:
            return self.pipe.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            self.start()
            return f"CRASH: the process ended with {code}"

    def stop_hanging(self, seconds):
        self.process.kill()
        self.process.join()
        self.start()
        return f"TIMEOUT: not done after {seconds} s"


def run(names, jobs, seconds):
    """{name: reason or None}, by `jobs` workers at a time."""
    import time
    from multiprocessing.connection import wait

    results, todo = {}, collections.deque(names)
    with tempfile.TemporaryDirectory() as folder:
        idle, busy = [Worker(os.path.join(folder, str(i))) for i in range(jobs)], {}
        while todo or busy:
            while idle and todo:
                worker = idle.pop()
                worker.give(todo.popleft())
                busy[worker] = time.monotonic() + seconds
            ready = wait([worker.pipe for worker in busy], timeout=1)
            for worker in list(busy):
                if worker.pipe in ready:
                    results[worker.name] = worker.answer()
                elif time.monotonic() > busy[worker]:
                    results[worker.name] = worker.stop_hanging(seconds)
                else:
                    continue
                del busy[worker]
                idle.append(worker)
            if sys.stderr.isatty():
                print(f"\r{len(results)} of {len(names)}", end="", file=sys.stderr)
        for worker in idle:
            worker.process.kill()
    return {name: results[name] for name in names}


def summary(results):
    """Lines of a table: category, passed, of which not expanded, all."""
    counts = collections.defaultdict(lambda: [0, 0, 0])
    for name, reason in results.items():
        count = counts[name.split("/")[0]]
        count[2] += 1
        if reason is None:
            count[0] += 1
            count[1] += "_expanded" not in name
    lines = ["| tests | pass | of these not `_expanded` | all |", "|---|---|---|---|"]
    return lines + [f"| {category} | {a} | {b} | {c} |" for category, (a, b, c) in counts.items()]


def write_document(results):
    lines = [
        f"# The backend tests of onnx {onnx.__version__}",
        "",
        "Written by `tools/onnx_tests.py --write`, which runs them through the Python binding. Skips count as failures.",
        "Where inputs tell sizes, axes or the like, the backend binds them to their values when it compiles.",
        "",
        *summary(results),
        "",
        "## Those that do not pass, by reason",
    ]
    for reason, names in by_reason(results):
        lines += ["", f"**{len(names)}** {reason}", ""]
        lines += [f"- `{name}`" for name in names]
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text("\n".join(lines) + "\n")


def by_reason(results):
    """(reason, names of the tests), those with most tests first. What only names a node or tensor is left out."""
    groups = collections.defaultdict(list)
    for name, reason in results.items():
        if reason is not None:
            reason = re.sub(r"; \w*#\d+\b.*|(?<=input )'\w+' |\b1 of its nodes cannot be compiled: ", "", reason)
            groups[shortened(re.sub(r" First 5 mism.*| Mismatch at.*", "", reason))].append(name)
    return sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))


def shortened(reason):
    reason = re.sub(r"/tmp/\S*/(\S*)", r"\1", " ".join(reason.split()))
    return reason if len(reason) <= 160 else reason[:157] + "..."


def is_rounding(name, reason):
    """The neighbour of the expected float16: sums are rounded once here and step by step there, in another order."""
    largest = re.search(r"Max relative difference among violations: (\S+)", reason)
    return bool(re.search("fp16|float16", name) and reason.startswith("wrong") and largest and float(largest[1]) < 2**-9)


def listed_failures():
    return set(re.findall(r"^- `(.*)`$", DOCUMENT.read_text(), flags=re.M))


def main():
    parser = argparse.ArgumentParser(description="Runs onnx's backend tests against the Python binding.")
    parser.add_argument("--only", metavar="REGEX", default="")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--timeout", type=float, default=120, help="seconds a test")
    parser.add_argument("--write", action="store_true", help="write docs/onnx-tests.md")
    parser.add_argument("--check", action="store_true", help="compare with docs/onnx-tests.md")
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write needs all tests: leave --only out")
    names = [name for name in cases() if re.search(options.only, name)]
    results = run(names, options.jobs, options.timeout)
    failing = {name: reason for name, reason in results.items() if reason is not None}
    print("\n".join(summary(results)))
    if options.write:
        write_document(results)
    if options.check:
        listed = listed_failures()
        news = {name: reason for name, reason in failing.items() if name not in listed and not is_rounding(name, reason)}
        crashes = {name: reason for name, reason in failing.items() if reason.startswith(("CRASH", "TIMEOUT"))}
        for name, reason in {**news, **crashes}.items():
            print(f"{name}: {reason}")
        return 1 if news or crashes else 0
    if not options.write:
        for reason, members in by_reason(results):
            print(f"\n{len(members)}  {reason}")
            print("\n".join(f"    {name}" for name in members))
    return 0


if __name__ == "__main__":
    sys.exit(main())
