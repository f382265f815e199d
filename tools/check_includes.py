#!/usr/bin/env python3
"""Checks every #include of src/, include/ and python/ against the dependency rule of ARCHITECTURE.md.

Prints one line a violation, `file:line: what is wrong`, and exits 1 when there is one.
Usage: tools/check_includes.py [ROOT]
"""

import re
import sys
from pathlib import Path

# What a folder of src/ sees directly, in processing order; what those see, it sees too.
SEES = {
    "base": set(),
    "expr": {"base"},
    "te": {"expr"},
    "loop": {"expr"},
    "graph": {"expr", "te"},
    "ops": {"graph", "te"},
    "import": {"ops"},
    "schedule": {"te", "loop"},
    "target": {"loop", "schedule", "te"},
    "passes": {"ops", "import", "schedule", "target"},
    "search": {"graph", "schedule", "target"},
    "driver": {"passes", "search"},
    "runtime": set(),
}

# Of target/, this is all that other folders see; search and driver too.
TARGET_INTERFACE = {"target/target.h", "target/space.h", "target/metadata.h"}

# The public headers (include/burnish) that a folder may include; None: all of them.
PUBLIC = {
    "base": {"error.h"},
    "runtime": {"abi.h", "artifact_format.h", "error.h", "runtime.h", "burnish.hpp"},
    "target": {"abi.h", "artifact_format.h", "error.h"},
    "search": {"abi.h", "error.h", "runtime.h"},
    "driver": None,
    "python": None,
    "include": None,
}

# Third-party headers stay in one folder, in .cpp files. In INNER folders a header may have them too, if it is seen in
# that folder only.
THIRD_PARTY = [
    (re.compile(r"(llvm|llvm-c|lld)/"), "LLVM and lld", "target/llvm"),
    (re.compile(r"google/protobuf/|(.*/)?onnx[^/]*\.pb\.h$"), "protobuf", "import"),
    (re.compile(r"(cuda|nvrtc|cublas|cudnn)[a-zA-Z_]*\.h$"), "CUDA", "target/cuda"),
    (re.compile(r"xgboost/"), "XGBoost", "search"),
    (re.compile(r"sqlite3\.h$"), "SQLite", "search"),
    (re.compile(r"CLI/"), "CLI11", "driver"),
    (re.compile(r"(png|jpeglib)\.h$"), "picture readers", "driver"),
    (re.compile(r"nanobind/"), "nanobind", "python/bindings"),
]
INNER = {"target/llvm", "import", "driver", "python/bindings"}

# Costly or untidy in headers; fine in .cpp files.
NOT_IN_HEADERS = {"iostream", "regex", "format"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SUFFIXES = {".h", ".hpp", ".cpp", ".c", ".inc"}


def closure(folder):
    """All folders that `folder` sees, itself among them."""
    seen, todo = set(), [folder]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(SEES[name])
    return seen


def is_header(path):
    return path.suffix not in {".cpp", ".c"}


def within(path, folder):
    return str(path).startswith(folder + "/")


class Checker:
    def __init__(self, root):
        self.root = root
        self.errors = []

    def check(self):
        files = sorted(
            path
            for top in ("src", "include", "python")
            for path in (self.root / top).rglob("*")
            if path.suffix in SUFFIXES
        )
        for path in files:
            self.check_file(path)
        return self.errors

    def check_file(self, path):
        relative = path.relative_to(self.root)
        top = relative.parts[0]
        inside = relative.relative_to("src") if top == "src" else relative
        folder = inside.parts[0] if top == "src" else top
        if top == "src" and len(inside.parts) < 2:
            self.errors.append(f"{relative}:1: a source file outside the folders of src/")
            return
        if top == "src" and folder not in SEES:
            self.errors.append(
                f"{relative}:1: src/{folder} has no line in the dependency rule (tools/check_includes.py)"
            )
            return
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            match = INCLUDE.match(line)
            if match:
                quoted, name = match.group(1) == '"', match.group(2)
                for reason in self.reasons(path, inside, folder, quoted, name):
                    self.errors.append(f"{relative}:{number}: {reason}")

    def reasons(self, path, inside, folder, quoted, name):
        """Why this file may not include `name`; usually nothing."""
        for pattern, what, home in THIRD_PARTY:
            if pattern.match(name):
                if not within(inside, home):
                    yield f"<{name}>: headers of {what} stay in {home}/"
                elif is_header(inside) and home not in INNER:
                    yield f"<{name}>: headers of {what} stay in .cpp files"
                return
        if is_header(inside) and name in NOT_IN_HEADERS:
            yield f"<{name}> does not belong into a header"
        if name.startswith("burnish/"):
            yield from self.public_header(folder, name)
        elif folder == "include":
            if quoted or "/" in name:
                yield f'"{name}": public headers include standard and public headers only'
        elif quoted:
            yield from self.own_header(path, inside, folder, name)

    def public_header(self, folder, name):
        allowed = PUBLIC.get(folder, {"error.h"})
        if allowed is not None and name.removeprefix("burnish/") not in allowed:
            yield f'"{name}": {folder} does not see this public header'

    def own_header(self, path, inside, folder, name):
        if (self.root / "src" / name).is_file():
            wanted = Path(name)
        elif (path.parent / name).is_file():
            resolved = (path.parent / name).resolve()
            base = self.root / ("python" if folder == "python" else "src")
            if not resolved.is_relative_to(base.resolve()):
                yield f'"{name}" leads out of {base.name}/'
                return
            if folder == "python":
                return
            wanted = resolved.relative_to(base.resolve())
        else:
            if not name.endswith(".pb.h"):
                yield f'"{name}" is no header of ours; write <{name}> for one of another project'
            return
        other = wanted.parts[0]
        if folder == "python":
            yield f'"{name}": python sees include/burnish only'
        elif other in ("driver", "python") and folder != other:
            yield f'"{name}": nothing includes {other}'
        elif other not in closure(folder):
            yield f'"{name}": {folder} does not see {other}'
        elif other == "target" and folder != "target" and name not in TARGET_INTERFACE:
            yield f'"{name}": of target/ only {", ".join(sorted(TARGET_INTERFACE))} are seen from elsewhere'
        else:
            yield from self.third_party_through(inside, wanted, name)
            if other == folder == "target":
                yield from self.between_targets(inside, wanted, name)

    def third_party_through(self, inside, wanted, name):
        """A header that includes another project's headers is seen in its own folder only."""
        text = (self.root / "src" / wanted).read_text(errors="replace")
        for include in filter(None, map(INCLUDE.match, text.splitlines())):
            for pattern, what, home in THIRD_PARTY:
                if home in INNER and pattern.match(include.group(2)) and not within(inside, home):
                    yield f'"{name}" has headers of {what} and stays in {home}/'
                    return

    def between_targets(self, inside, wanted, name):
        """Targets do not see each other, but may share c_like; targets.cpp, which lists them, sees them all."""
        mine = inside.parts[1] if len(inside.parts) > 2 else None
        other = wanted.parts[1] if len(wanted.parts) > 2 else None
        if other and mine and mine != other and other != "c_like":
            yield f'"{name}": target/{mine} does not see target/{other}'


def main(argv):
    root = Path(argv[1]) if len(argv) > 1 else Path(__file__).resolve().parent.parent
    errors = Checker(root).check()
    for error in errors:
        print(error)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
