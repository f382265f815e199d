"""burnish records and burnish completion: what they print, leave, refuse, and exit with."""

import json
import os
import pty
import re
import select
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(os.environ.get("BURNISH_COMMAND", ROOT / "build/bin/burnish"))

pytestmark = pytest.mark.skipif(not COMMAND.exists(), reason=f"{COMMAND} is not built")

TARGET = "llvm:cpu=x86-64-v3,threads=2"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def burnish(*args, status=0, **options):
    done = subprocess.run([COMMAND, *map(str, args)], capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def records(*args, **options):
    return burnish("records", *args, **options)


def hash_text(text):
    """64-bit FNV-1a."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def workload(name="relu", channels=16):
    return (f"group {name} {{\n  input in0: f32[n:1, c:{channels}]\n  compute relu: f32[n:1, c:{channels}]\n  inputs in0\n"
            "  outputs relu\n  relu {\n    body max(in0[n, c], 0.0)\n  }\n}\n")


def record(median=1e-3, when=1_700_000_000, name="relu", **changes):
    text = workload(name)
    line = {
        "burnish": 1, "workload_hash": hash_text(text), "workload": text, "target": TARGET, "threads": 2,
        "compiler": "burnish 0.1.0", "machine": "some CPU", "tuner": "xgb", "seed": 1, "knobs": "rows=6", "point": [1, 2],
        "trace": "vectorize(relu, c)", "status": "ok", "message": "", "median": median, "mad": median / 50,
        "min": median * 0.75, "repeats": 5, "checked": True, "build_seconds": 0.02, "measure_seconds": 0.01,
        "probe_seconds": 1e-5, "when": when,
    }
    return json.dumps({**line, **changes})


def winner(name="relu", when=1_700_000_100):
    return json.dumps({
        "burnish_winner": 1, "workload_hash": hash_text(workload(name)), "target": TARGET, "trace": "vectorize(relu, c)",
        "default_seconds": 2e-3, "tuned_seconds": 1.5e-3, "model": "m.onnx", "when": when})


AUTOTVM = json.dumps({
    "input": ["llvm -mcpu=core-avx2", "dense_pack.x86", [["TENSOR", [1, 8], "float32"]], {}],
    "config": {"index": 3, "code_hash": None, "entity": [["tile_y", "sp", [-1, 2]]]},
    "result": [[0.5e-3], 0, 0.4, 1676344759.5], "version": 0.2, "tvm_version": "0.10.0"})


@pytest.fixture
def database(here):
    lines = [record(2e-3), record(1e-3, when=1_700_000_001), record(0, status="wrong", message="differs", min=0, mad=0),
             record(3e-3, name="other"), AUTOTVM, winner()]
    (here / "lines.jsonl").write_text("\n".join(lines) + "\n")
    done = records("import", "a.db", "lines.jsonl")
    assert done.stdout == "lines.jsonl: imported 5, known already 0, winners 1, refused lines 0\n"
    assert "line 5" in done.stderr and "no code can be made" in done.stderr
    return here / "a.db"


@pytest.mark.parametrize("args", [
    [], ["frob"], ["ls"], ["best"], ["import", "a.db"], ["merge", "a.db"], ["ls", "a.db", "--status", "splendid"],
    ["ls", "a.db", "--limit", "-1"], ["ls", "a.db", "--task", "("], ["doctor", "a.db", "b.db", "--salvage", "c.db"],
])
def test_wrong_usage(here, args):
    done = records(*args, status=2)
    assert done.stdout == "" and done.stderr
    assert os.listdir() == []


def test_ls(database):
    lines = records("ls", "a.db").stdout.splitlines()
    assert lines[0].split() == "id when (UTC) status time noise target tuner workload task knobs".split()
    assert len(lines) == 1 + 5 + 2  # the targets below
    assert "2023-11-14 22:13  ok*     2 ms" in lines[1] and "relu 1x16" in lines[1] and hash_text(workload()) in lines[1]
    assert "wrong" in lines[3] and "differs" in lines[3] and " ms " not in lines[3]
    assert "dense_pack.x86" in lines[5] and "tile_y=[-1,2]" in lines[5]
    assert lines[-2:] == [f"target 1: {TARGET}", "target 2: llvm -mcpu=core-avx2"]


@pytest.mark.parametrize(("options", "ids"), [
    ([], [1, 2, 3, 4, 5]), (["--status", "ok"], [1, 2, 4, 5]), (["--status", "wrong"], [3]), (["--target", "v3"], [1, 2, 3, 4]),
    (["--target", "mcpu"], [5]), (["--task", "^other"], [4]), (["--workload", "dense|other"], [4, 5]),
    (["--task", hash_text(workload("other"))], [4]), (["--limit", "2"], [4, 5]), (["--limit", "0"], [1, 2, 3, 4, 5]),
    (["--limit", "1", "--status", "ok", "--task", "relu 1x16"], [2]), (["--target", "nowhere"], []),
])
def test_filters(database, options, ids):
    table = records("ls", "a.db", *options).stdout.splitlines()
    assert [int(line.split()[0]) for line in table if line[0].isdigit()] == ids
    if not ids:
        assert table == ["no records"]
    lines = [json.loads(line) for line in records("ls", "a.db", "--json", *options).stdout.splitlines()]
    assert len(lines) == len(ids)


def test_many_records_are_cut_for_people_only(here):
    (here / "many.jsonl").write_text("\n".join(record(when=i) for i in range(120)))
    records("import", "a.db", "many.jsonl")
    done = records("ls", "a.db")
    assert len(done.stdout.splitlines()) == 1 + 50 + 1 and "newest 50 of 120" in done.stderr
    assert done.stdout.splitlines()[50].startswith("120 ")
    assert len(records("ls", "a.db", "--json").stdout.splitlines()) == 120


def test_best(database):
    table = records("best", "a.db").stdout.splitlines()
    relu = next(line for line in table if "relu 1x16" in line and "other" not in line)
    assert "2/3" in relu and "1 ms" in relu and "2 ms -> 1.5 ms (-25.0%) in m.onnx" in relu
    assert "no code from autotvm" in next(line for line in table if "dense_pack" in line)
    lines = [json.loads(line) for line in records("best", "a.db", "--json", "--task", "^relu").stdout.splitlines()]
    assert len(lines) == 1
    assert lines[0]["best"]["median"] == 1e-3 and lines[0]["winner"]["tuned_seconds"] == 1.5e-3 and lines[0]["trials"] == 3


def test_several_databases(database):
    shutil.copy("a.db", "b.db")
    out = records("ls", "a.db", "b.db").stdout
    assert out.startswith("a.db:\n") and "\n\nb.db:\n" in out


def test_export_and_import_are_exact(database):
    text = records("export", "a.db").stdout
    assert len(text.splitlines()) == 6
    assert [json.loads(line) for line in text.splitlines()][:1] == [json.loads(record(2e-3))]
    done = records("export", "a.db", "-o", "out.jsonl")
    assert done.stdout == "" and "wrote out.jsonl" in done.stderr
    assert Path("out.jsonl").read_text() == text
    records("import", "b.db", "out.jsonl")
    assert records("export", "b.db").stdout == text
    assert "imported 0, known already 5, winners 0" in records("import", "b.db", "out.jsonl").stdout
    assert len(records("export", "a.db", "--task", "^other").stdout.splitlines()) == 1
    assert "imported 5" in records("import", "c.db", "-", input=text).stdout
    burnish("records", "export", "a.db", "-o", "nowhere/out.jsonl", status=1)


def test_bad_lines_are_refused_alone(here):
    good = record()
    bad = [good.replace("0.001,", "NaN,", 1), good.replace("0.001,", "-0.001,", 1), good[:100], "[1,2]", "\x00\xff",
           record(target="cuda:cpu=x,threads=2"), record(target="llvm:cpu=\x1b[2J,threads=2"), "[" * 100000,
           record(workload="x"), record(point=[-1]), "{\"burnish\": 1, \"x\": " + "[" * 50 + "]" * 50 + "}"]
    text = "".join(f"{line}\n{record(when=i)}\n" for i, line in enumerate(bad))
    (here / "l.jsonl").write_bytes(text.encode("latin-1"))
    done = records("import", "a.db", "l.jsonl", "--json")
    report = json.loads(done.stdout)
    assert report["imported"] == len(bad) and report["refused_lines"] == len(bad)
    assert [re.match(r"line (\d+): ", line).group(1) for line in report["refused"]] == [str(2 * i + 1) for i in range(len(bad))]
    assert "NaN" in done.stderr and "\x1b" not in done.stderr and "\x00" not in done.stderr


def test_exit_status_of_import(here):
    (here / "bad.jsonl").write_text("nothing\n")
    (here / "empty.jsonl").write_text("")
    records("import", "a.db", "bad.jsonl", status=1)
    records("import", "a.db", "empty.jsonl")
    assert "none.jsonl" in records("import", "a.db", "none.jsonl", status=1).stderr
    assert "folder" in records("import", str(here), "bad.jsonl", status=1).stderr
    records("import", "a.db", str(here), status=1)


def test_merge(database):
    (database.parent / "more.jsonl").write_text(record(2e-3) + "\n" + record(5e-4, when=3) + "\n" + winner(when=1_700_000_200))
    records("import", "b.db", "more.jsonl")
    out = records("merge", "a.db", "b.db", "-o", "c.db").stdout.splitlines()
    assert out == ["a.db: added 5, known already 0, winners 1, states of searches 0",
                   "b.db: added 1, known already 1, winners 1, states of searches 0", "c.db: records 6"]
    assert records("merge", "a.db", "b.db", "-o", "a.db").stdout.splitlines()[-1] == "a.db: records 6"
    assert records("merge", "a.db", "-o", "c.db").stdout.splitlines()[-1] == "c.db: records 6"
    best = json.loads(records("best", "c.db", "--json", "--task", "^relu").stdout)
    assert best["best"]["median"] == 5e-4 and best["winner"]["when"] == 1_700_000_200
    assert "none.db" in records("merge", "a.db", "none.db", "-o", "d.db", status=1).stderr
    assert not Path("d.db").exists()


def test_doctor(database):
    out = records("doctor", "a.db", "--target", TARGET).stdout
    assert out.splitlines() == ["a.db: well", "  note: 1 record of autotvm: listed, never used for code"]
    with sqlite3.connect("a.db") as db:
        db.execute("UPDATE trials SET median = -1 WHERE id = 1")
        db.execute("UPDATE trials SET trace = '' WHERE status = 'ok'")
    db.close()
    done = records("doctor", "a.db", status=1)
    assert "2 problems" in done.stdout and "impossible" in done.stdout and "orphan" in done.stdout
    report = json.loads(records("doctor", "a.db", "--json", status=1).stdout)
    assert report["file"] == "a.db" and len(report["problems"]) == 2 and report["notes"]
    assert sorted(os.listdir()) == ["a.db", "lines.jsonl"]


def test_a_torn_database(here):
    (here / "l.jsonl").write_text("\n".join(record(when=i) for i in range(1, 601)))
    records("import", "a.db", "l.jsonl")
    size = os.path.getsize("a.db")
    os.truncate("a.db", size // 2)
    before = Path("a.db").read_bytes()
    for command in ("ls", "best", "export"):
        message = records(command, "a.db", status=1).stderr
        assert "a.db" in message and "--salvage" in message
    records("import", "a.db", "l.jsonl", status=1)
    done = records("doctor", "a.db", "--salvage", "b.db")
    assert "damaged" in done.stdout and "lost: " in done.stdout
    saved = int(re.search(r"saved records (\d+)", done.stdout).group(1))
    assert 200 < saved < 600
    assert Path("a.db").read_bytes() == before
    assert "well" in records("doctor", "b.db").stdout
    assert len(records("ls", "b.db", "--limit", "0", "--json").stdout.splitlines()) == saved
    assert "there already" in records("doctor", "a.db", "--salvage", "b.db", status=1).stderr
    assert f"imported {600 - saved}, known already {saved}" in records("import", "b.db", "l.jsonl").stdout
    Path("c.db").write_text("no database at all " * 1000)
    assert "no database of records" in records("ls", "c.db", status=1).stderr
    records("doctor", "c.db", "--salvage", "d.db", status=1)
    assert not Path("d.db").exists()


def test_terminals_are_safe(here):
    evil = "\x1b[2J\x9b31m\u202e" + "x" * 500
    (here / "l.jsonl").write_text(record(knobs=evil, tuner=evil, machine=evil, compiler=evil))
    records("import", "a.db", "l.jsonl")
    with sqlite3.connect("a.db") as db:
        db.execute("UPDATE trials SET target = ?, status = 'crashed', message = ?", (evil, evil))
    db.close()
    for command in ("ls", "best"):
        out = records(command, "a.db").stdout
        assert "\x1b" not in out and "\x9b" not in out
    assert "\x1b" not in records("doctor", "a.db").stdout


def test_writing_fails_with_a_sentence(database):
    def small_files():
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    (database.parent / "l.jsonl").write_text("\n".join(record(when=i) for i in range(1000)))
    message = records("import", "a.db", "l.jsonl", status=1, preexec_fn=small_files).stderr
    assert "a.db cannot grow" in message and "make room" in message
    assert len(records("ls", "a.db", "--json").stdout.splitlines()) >= 5
    with open("/dev/full", "w") as full:
        done = subprocess.run([COMMAND, "records", "ls", "a.db"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and b"cannot write" in done.stderr


# ---- completion


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "burnish.bash"
    path.write_text(burnish("completion", "bash").stdout)
    return path


def commands_of(*args):
    """Names of the subcommands that --help lists."""
    text = burnish(*args, "--help").stdout
    return re.findall(r"^  (\w+) ", text.split("Subcommands:\n")[1].split("\n\n")[0], flags=re.M)


def complete(script, *words):
    """What bash offers for the last of the words."""
    line = " ".join(f"'{w}'" for w in words)
    code = f"source '{script}'; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _burnish; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "--norc", "-uc", code], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.split()


def test_completion_is_valid_bash(bash_script):
    done = subprocess.run(["bash", "-n", bash_script], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
    burnish("completion", status=2)
    burnish("completion", "tcsh", status=2)


def test_completion_knows_all_commands_and_options(bash_script):
    commands = commands_of()
    assert complete(bash_script, "burnish", "") == commands
    assert complete(bash_script, "burnish", "records", "") == commands_of("records")
    for command in [[c] for c in commands] + [["records", c] for c in commands_of("records")]:
        listed = set(re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", burnish(*command, "--help").stdout.split("Options:\n")[1].split("\n\n")[0]))
        offered = set(complete(bash_script, "burnish", *command, "-"))
        assert offered and offered <= listed, command


@pytest.mark.parametrize(("words", "expected"), [
    (["comp"], ["compile", "completion"]),
    (["records", "e"], ["export"]),
    (["compile", "--em"], ["--emit"]),
    (["compile", "--emit", "l"], ["loops", "llvm"]),
    (["compile", "m.onnx", "--emit", "=", "l"], ["loops", "llvm"]),
    (["compile", "m.onnx", "--emit", "="], ["graph", "loops", "llvm", "asm", "obj", "cuda", "ptx", "so"]),
    (["records", "ls", "a.db", "--status", "bu"], ["build_failed", "build_timeout"]),
    (["completion", ""], ["bash", "zsh"]),
    (["compile", "-o", ""], []),  # files
    (["compile", "records", "--emit", "g"], ["graph"]),  # a model that is called like a command
    (["records", "ls", ""], []),
    (["frobnicate", "--x"], []),
])
def test_completion(bash_script, words, expected):
    assert complete(bash_script, "burnish", *words) == expected


def test_completion_at_a_prompt(bash_script, here):
    """A real bash on a terminal: Tab, then Enter, and a function in the place of burnish says what it got."""
    (here / "my model.onnx").write_text("")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="dumb", PS1="$ ", INPUTRC="/dev/null")
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])

    def read_until(pattern, seconds=20):
        text, end = "", time.monotonic() + seconds
        while not re.search(pattern, text):
            assert time.monotonic() < end, text
            if select.select([terminal], [], [], 0.1)[0]:
                text += os.read(terminal, 65536).decode(errors="replace")
        return text

    try:
        os.write(terminal, f"source '{bash_script}'; burnish() {{ printf 'GOT:<%s>' \"$@\"; echo :END; }}; echo REA''DY\n".encode())
        read_until("READY")
        for typed, got in [("burnish rec\tmer\tx", ["records", "merge", "x"]), ("burnish lower --pa\tx", ["lower", "--pass", "x"]),
                           ("burnish inspect my\t", ["inspect", "my model.onnx"]),
                           ("burnish compile --emit gra\t", ["compile", "--emit", "graph"])]:
            os.write(terminal, (typed + "\n").encode())
            out = read_until(":END")
            assert re.findall(r"GOT:<(.*?)>", out) == got, out
    finally:
        os.write(terminal, b"exit\n")
        os.close(terminal)
        os.waitpid(pid, 0)


@pytest.mark.skipif(not shutil.which("zsh"), reason="there is no zsh")
def test_completion_is_valid_zsh(here):
    (here / "_burnish").write_text(burnish("completion", "zsh").stdout)
    done = subprocess.run(["zsh", "-n", "_burnish"], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
