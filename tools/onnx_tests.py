#!/usr/bin/env python3
"""Runs the backend tests of the `onnx` package against the Python binding, through onnx's own test runner.

    tools/onnx_tests.py                       all of them; prints what does not pass, by reason
    tools/onnx_tests.py --only 'conv|pool'    those whose names match
    tools/onnx_tests.py --write               also writes docs/onnx-tests.md
    tools/onnx_tests.py --check               fails when one that docs/onnx-tests.md does not list does not pass

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
    "OnnxBackendNodeTest": "node tests",
    "OnnxBackendRealTest": "light networks",
    "OnnxBackendSimpleTest": "simple networks",
    "OnnxBackendPyTorchConvertedTest": "converted from PyTorch",
    "OnnxBackendPyTorchOperatorTest": "operators converted from PyTorch",
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
    if result.skipped:
        return "skipped: " + result.skipped[0][1]
    problems = result.errors + result.failures
    if not problems:
        return None
    lines = [line for line in problems[0][1].strip().splitlines() if line.strip()]
    for line in lines:
        if re.match(r"(burnish\S*|\w+)\.?\w*(Error|Unsupported)\b", line):
            return line.removeprefix("burnish._core.")
    return lines[-1]


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
        "",
        *summary(results),
        "",
        "## Those that do not pass",
    ]
    groups = collections.defaultdict(list)
    for name, reason in results.items():
        if reason is not None:
            groups[name.split("/")[0]].append((name.split("/")[1], reason))
    for category, members in groups.items():
        lines += ["", f"### {category}", ""]
        lines += [f"- `{name}`: {shortened(reason)}" for name, reason in members]
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text("\n".join(lines) + "\n")


def shortened(reason):
    reason = re.sub(r"/tmp/\S*/(\S*)", r"\1", " ".join(reason.split()))
    return reason if len(reason) <= 160 else reason[:157] + "..."


def listed_failures():
    category, names = None, set()
    for line in DOCUMENT.read_text().splitlines():
        if line.startswith("### "):
            category = line[4:]
        elif match := re.match(r"- `(\w+)`", line):
            names.add(f"{category}/{match.group(1)}")
    return names


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
        news = {name: reason for name, reason in failing.items() if name not in listed_failures()}
        crashes = {name: reason for name, reason in failing.items() if reason.startswith(("CRASH", "TIMEOUT"))}
        for name, reason in {**news, **crashes}.items():
            print(f"{name}: {reason}")
        return 1 if news or crashes else 0
    if not options.write:
        for name, reason in failing.items():
            print(f"{name}: {shortened(reason)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
