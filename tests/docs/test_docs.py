"""Runs the examples of the documentation: fenced blocks marked `sh run`, `python run` or `cpp run`, page by page, in order.

A page's blocks run in one empty folder that holds model.onnx and links to build/bin, build/venv, include and tools.
BURNISH_BIN names another folder of the command, for builds that are not build/release.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("BURNISH_BIN", ROOT / "build" / "bin"))
BLOCK = re.compile(r"^```(sh|python|cpp) run\n(.*?)^```$", re.M | re.S)
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def blocks_of(page):
    text = page.read_text()
    return [(text[: m.start()].count("\n") + 1, m.group(1), m.group(2)) for m in BLOCK.finditer(text)]


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    subprocess.run([sys.executable, ROOT / "tools" / "walkthrough.py", "--model", path], check=True)
    return path


@pytest.fixture
def folder(tmp_path, model):
    (tmp_path / "model.onnx").symlink_to(model)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "bin").symlink_to(BIN)
    environment = Path(sys.prefix)  # the one that runs this test
    (tmp_path / "build" / "venv").symlink_to(environment)
    for name in ("include", "tools"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def environment_of(page):
    """Pages about GPUs run on the fakes of tests/fake_cuda."""
    fakes = (BIN / "burnish").resolve().parents[2] / "tests"
    named = {"BURNISH_CUDA_DRIVER": fakes / "libburnish_fake_cuda.so", "BURNISH_NVRTC": fakes / "libburnish_fake_nvrtc.so"}
    if page.name != "gpu.md":
        return dict(os.environ)
    if not all(file.exists() for file in named.values()):
        pytest.skip("the fakes are not built")
    return {**os.environ, **{name: str(file) for name, file in named.items()}}


def command_of(language, text, folder, number):
    if language == "sh":
        return ["bash", "-euo", "pipefail", "-c", text]
    if language == "python":
        return [sys.executable, "-c", text]
    source, program = folder / f"block{number}.cpp", folder / f"block{number}"
    source.write_text(text)
    runtime = (BIN / "burnish").resolve().parent.parent / "runtime"
    compiled = ["c++", "-std=c++20", "-Wall", "-Werror", "-I", str(ROOT / "include"), str(source), "-o", str(program),
                "-L", str(runtime), "-lburnish_runtime", f"-Wl,-rpath,{runtime}"]
    run = subprocess.run(compiled, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return [str(program)]


@pytest.mark.parametrize("page", [p for p in PAGES if blocks_of(p)], ids=lambda p: p.name)
def test_examples_run(page, folder):
    assert (BIN / "burnish").exists(), f"there is no {BIN}/burnish: make build"
    environment = {**environment_of(page), "BURNISH_CACHE": str(folder / "cache")}
    for number, (line, language, text) in enumerate(blocks_of(page)):
        command = command_of(language, text, folder, number)
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
        assert run.returncode == 0, f"{page.name}:{line} exits {run.returncode}\n{text}\n{run.stdout}{run.stderr}"
        assert run.stdout or language != "python", f"{page.name}:{line} prints nothing"


def test_there_are_examples():
    assert sum(len(blocks_of(p)) for p in PAGES) >= 10


def test_the_walkthrough_can_be_regenerated(tmp_path):
    page = tmp_path / "walkthrough.md"
    run = subprocess.run(
        [sys.executable, ROOT / "tools" / "walkthrough.py", "--output", page, "--burnish", BIN / "burnish"],
        capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    blocks = re.findall(r"<!-- generated: (\w+) -->\n```\n(.*?)\n```\n<!-- end -->", page.read_text(), flags=re.S)
    assert {name for name, _ in blocks} >= {"inspect", "imported", "groups", "stages", "schedule", "loops", "asm"}
    assert all(len(text) > 20 for _, text in blocks)


LINK = re.compile(r"\]\(([^)#:]+?)(#[^)]*)?\)")


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "src").rglob("README.md")]),
    ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target, _ in LINK.findall(re.sub(r"```.*?```", "", page.read_text(), flags=re.S)):
        assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: there is no {target}"
