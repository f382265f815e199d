#!/usr/bin/env python3
"""Checks that no two headers of src/ and include/ define a type of the same name in the same namespace.

The linker keeps one of two destructors of such a name, whichever it meets first. Prints one line a name, and exits 1 when
there is one.
Usage: tools/check_names.py [ROOT]
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

OPEN = re.compile(r"namespace\s*([\w:]*)\s*\{")
CLOSE = re.compile(r"\}\s*//\s*namespace")
TYPE = re.compile(r"(?:struct|class|enum class|enum)\s+(\w+)\s*(?:final\s*)?(?::[^:;]*)?\{")


def types_of(text):
    """Names of the types that a header defines, with their namespaces."""
    inside = []
    for line in text.splitlines():
        if opened := OPEN.match(line):
            inside.append(opened.group(1))
        elif CLOSE.match(line) and inside:
            inside.pop()
        elif defined := TYPE.match(line):
            yield "::".join([*inside, defined.group(1)])


def main(root):
    headers = sorted(path for folder in ("src", "include") for path in (root / folder).rglob("*.h*"))
    where = defaultdict(list)
    for path in headers:
        for name in types_of(path.read_text()):
            where[name].append(str(path.relative_to(root)))
    twice = {name: files for name, files in where.items() if len(set(files)) > 1}
    for name, files in sorted(twice.items()):
        print(f"{name}: defined in {' and '.join(sorted(set(files)))}")
    return 1 if twice else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]))
