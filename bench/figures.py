#!/usr/bin/env python3
"""All figures of README.md and docs/performance.md: takes them, keeps them, writes them down.

    bench/figures.py take                       everything; hours, most of it tuning. Run again after a stop: what is
                                                there is not taken again
    bench/figures.py take tuned --tune 10m      one part
    bench/figures.py write                      the tables of both files, from what was taken; others stay as they are
    bench/figures.py show                       the same tables on the terminal

Figures are kept as JSON in build/figures, a file a part, with the commit of the compiler that they are of: those of an
older one, and those that lack an engine, are taken again. `write` and `show` have the tuned ones of --tune. Take them
on a quiet machine.
"""

import argparse
import json
import os
import re
import subprocess
import sys

from peers import ROOT, geometric_mean, ratio, reexecute_in_venv

FOLDER = ROOT / "build/figures"
# Their reshapes are for one input.
BATCH_OF_ONE = ("minilm_l6", "vit_b16")
# What takes a part, given what --tune and --duration say; each writes the JSON file of its name.
PARTS = {
    "default": ["peers.py", "--runs", "100"],
    "tuned": ["peers.py", "--tune", "{tune}"],
    "batch8": ["peers.py", "--batch", "8", "--duration", "{duration}"],
    "extra": ["peers.py", "--extra", "--duration", "{duration}"],
    "memory": ["execution.py", "memory"],
    "pauses": ["execution.py", "pauses"],
    "size": ["execution.py", "size"],
}
TITLES = {
    "centerface": "CenterFace 544×960", "nudenet_320": "YOLOv8n (nudenet) 320×320", "nudenet_640": "YOLOv8n (nudenet) 640×640",
    "ppocr_det": "PP-OCRv4 detector 640×640", "ppocr_rec": "PP-OCRv4 recogniser 48×320",
    "ppocr_cls": "PP-OCR classifier 48×192", "mobilenetv2": "MobileNetV2 224", "efficientnet_b0": "EfficientNet-B0 224",
    "resnet50": "ResNet50 224", "minilm_l6": "MiniLM-L6, 128 tokens", "vit_b16": "ViT-B/16 224",
}
PARTS["batch8"] += [name for name in TITLES if name not in BATCH_OF_ONE]
ENGINES = {"burnish": "Burnish", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def rows_of(part, tune=""):
    """What was taken of a part; `tune`: of several tuning times this one."""
    path = FOLDER / f"{part}.json"
    taken = json.loads(path.read_text()) if path.is_file() else {"machine": "", "rows": []}
    return {**taken, "rows": [row for row in taken["rows"] if row.get("tune", "") == tune]}


def number(row, field, engine):
    value = row[field].get(engine)
    return "–" if value is None else f"{value:.2f}"


def sentence(rows):
    """The geometric mean, and how many are lost."""
    ratios = [r for r in map(ratio, rows) if r]
    if not ratios:
        return "No case could be compared."
    lost = sum(r < 1 for r in ratios)
    return (f"Geometric mean of the last column: **{geometric_mean(ratios):.3f}** over {len(ratios)} cases, of which "
            f"{lost} {'is' if lost == 1 else 'are'} below 1.")


def table(head, lines):
    rule = "|" + "---|" * len(head)
    return "\n".join(["| " + " | ".join(head) + " |", rule, *("| " + " | ".join(line) + " |" for line in lines)]) + "\n"


def medians(part, tune=""):
    """A table of medians, a line a model and thread count."""
    taken = rows_of(part, tune)
    if not taken["rows"]:
        return ""
    lines, before = [], None
    for row in taken["rows"]:
        title = TITLES.get(row["model"], row["model"]) if row["model"] != before else ""
        before = row["model"]
        faster = ratio(row)
        lines.append([title, str(row["threads"]), *(number(row, "ms", engine) for engine in ENGINES),
                      f"{faster:.2f}" if faster else "–"])
    return (table(["model", "threads", *ENGINES.values(), "best peer / Burnish"], lines)
            + f"\n{sentence(taken['rows'])}\nMedian milliseconds of a run; {taken['machine']}.\n")


def by_engine(part, field, value, first=("model", lambda row: TITLES.get(row["model"], row["model"]))):
    """A table of one figure an engine, a line a row: `value` of the row and its `field` for the engine, as text."""
    rows = rows_of(part)["rows"]
    if not rows:
        return ""
    head, name = first
    return table([head, "threads", *ENGINES.values()], (
        [name(row), str(row["threads"]),
         *(value(row, row[field][engine], engine) if engine in row[field] else "–" for engine in ENGINES)]
        for row in rows))


def tails(part):
    """The 99th percentile over the median, beside that of a busy loop of the same length."""
    def tail(row, engine):
        taken = {"ms": row["ms"].get(engine), "p99_ms": row["p99_ms"].get(engine)} if engine != "busy" else row.get("busy", {})
        return taken["p99_ms"] / taken["ms"] if taken.get("ms") else None

    rows = rows_of(part)["rows"]
    columns = {**ENGINES, "busy": "a busy loop"}
    lines, worse = [], 0
    for row in rows:
        values = {engine: tail(row, engine) for engine in columns}
        lines.append([TITLES.get(row["model"], row["model"]), str(row["threads"]),
                      *(f"{value:.2f}" if value else "–" for value in values.values())])
        peers = [values[engine] for engine in ENGINES if engine != "burnish" and values[engine]]
        worse += bool(values["burnish"] and peers and values["burnish"] > min(peers))
    if not lines:
        return ""
    return (table(["model", "threads", *columns.values()], lines)
            + f"\nLonger than the better peer's in {worse} of {len(lines)} cases.\n")


def memory():
    """Peak resident megabytes."""
    return by_engine("memory", "memory", lambda row, taken, engine: f"{taken['peak']:.0f}")


def pauses():
    """Medians of runs that follow a pause."""
    return by_engine("pauses", "pauses", lambda row, taken, engine: f"{taken['ms']:.2f}")


def size():
    """Nanoseconds a pixel of CenterFace."""
    return by_engine("size", "ms", lambda row, ms, engine: f"{1e6 * ms / row['pixels']:.1f}",
                     ("Mpixel", lambda row: f"{row['pixels'] / 1e6:.2f}"))


# What stands between `<!-- figures NAME -->` and `<!-- end of NAME -->`, of the options.
TABLES = {
    "default": lambda _: medians("default"), "tuned": lambda options: medians("tuned", options.tune),
    "batch8": lambda _: medians("batch8"), "extra": lambda _: medians("extra"), "tails": lambda _: tails("default"),
    "memory": lambda _: memory(), "pauses": lambda _: pauses(), "size": lambda _: size(),
}


def take(options):
    failed = []
    for part in options.parts or PARTS:
        program, *arguments = [text.format(tune=options.tune, duration=options.duration) for text in PARTS[part]]
        print(f"== {part}", flush=True)
        # A model that fails is told and does not end the others.
        done = subprocess.run([sys.executable, ROOT / "bench" / program, *arguments, "--json", FOLDER / f"{part}.json"])
        if done.returncode != 0:
            failed.append(part)
    if failed:
        raise SystemExit(f"not all of {', '.join(failed)} could be taken")


def write(options):
    for path in (ROOT / "README.md", ROOT / "docs/performance.md"):
        text = path.read_text()
        for name, table in TABLES.items():
            block = re.compile(rf"(<!-- figures {name} -->\n).*?(<!-- end of {name} -->\n)", re.S)
            if written := table(options):
                text = block.sub(lambda found, written=written: found[1] + written + found[2], text)
        partial = path.with_suffix(".part")
        partial.write_text(text)
        os.replace(partial, path)


def show(options):
    for name in options.parts or TABLES:
        print(f"{name}\n\n{TABLES[name](options) or 'not taken yet'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = {"take": take, "write": write, "show": show}
    parser.add_argument("action", choices=actions)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of: {' '.join(dict.fromkeys([*PARTS, *TABLES]))}")
    parser.add_argument("--tune", default="10m", help="how long each model is tuned for each thread count")
    parser.add_argument("--duration", default="3", help="seconds a model, engine and thread count of `batch8` and `extra`")
    options = parser.parse_args()
    known = PARTS if options.action == "take" else TABLES
    for part in options.parts:
        if part not in known:
            parser.error(f"{options.action} knows no part {part}; there are {' '.join(known)}")
    reexecute_in_venv()
    FOLDER.mkdir(parents=True, exist_ok=True)
    actions[options.action](options)


if __name__ == "__main__":
    main()
