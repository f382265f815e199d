"""onnx's own backend tests: what docs/onnx-tests.md does not list has to pass, and nothing may crash or hang."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_those_that_passed_still_pass():
    run = subprocess.run([sys.executable, ROOT / "tools/onnx_tests.py", "--check"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    row = re.search(r"\| node tests \| (\d+) \| (\d+) \| (\d+) \|", run.stdout)
    passed, of_these_not_expanded, _ = (int(number) for number in row.groups())
    assert passed >= 600 and of_these_not_expanded >= 350
