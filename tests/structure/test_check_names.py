"""Types of one name in two headers are found, in our sources there are none."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "check_names.py"


def check(files=None):
    """Exit status and lines of the tool, on our sources or on these files."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (files or {}).items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        done = subprocess.run([sys.executable, TOOL, folder if files else ROOT], text=True, capture_output=True)
        return done.returncode, done.stdout.splitlines()


class Names(unittest.TestCase):
    def test_our_own_are_distinct(self):
        self.assertEqual(check(), (0, []))

    def test_two_headers_with_one_name(self):
        a = "namespace burnish::search {\nstruct Outcome {\n  int a;\n};\n}  // namespace burnish::search\n"
        b = "namespace burnish::search {\nenum class Outcome : int { Ok };\n}  // namespace burnish::search\n"
        self.assertEqual(check({"src/a.h": a, "src/b.h": b}),
                         (1, ["burnish::search::Outcome: defined in src/a.h and src/b.h"]))

    def test_what_is_no_second_definition(self):
        a = "namespace burnish {\nstruct Task {\n  struct Inner {\n  };\n};\nclass Later;\n}  // namespace burnish\n"
        b = "namespace burnish::search {\nstruct Task {\n};\n}  // namespace burnish::search\n"
        c = "namespace burnish {\nclass Later {\n  struct Inner {\n  };\n};\n}  // namespace burnish\n"
        self.assertEqual(check({"src/a.h": a, "src/b.h": b, "include/c.hpp": c}), (0, []))


if __name__ == "__main__":
    unittest.main()
