"""burnish.tune, burnish.records, and compile with records: few trials on small models, whatever they find."""

import signal
import subprocess
import sys
import threading
import xml.etree.ElementTree as ElementTree

import burnish
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

SEED = 5
TRIALS = 24


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """Two convolutions, of different shapes, each with a ReLU."""
    print("seed", SEED)
    random = np.random.default_rng(SEED)
    first = random.standard_normal((32, 8, 3, 3), np.float32)
    second = random.standard_normal((16, 32, 1, 1), np.float32)
    nodes = [helper.make_node("Conv", ["x", "w1"], ["a"], name="first", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
             helper.make_node("Relu", ["a"], ["b"], name="clip"),
             helper.make_node("Conv", ["b", "w2"], ["c"], name="second", kernel_shape=[1, 1]),
             helper.make_node("Sigmoid", ["c"], ["y"], name="squash")]
    graph = helper.make_graph(
        nodes, "test", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8, 24, 24])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 16, 24, 24])],
        [numpy_helper.from_array(first, "w1"), numpy_helper.from_array(second, "w2")])
    path = tmp_path_factory.mktemp("tune") / "network.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def options_for(network, **others):
    return {"model": network, "shapes": {"x": (1, 8, 24, 24)}, "threads": 1, "trials": TRIALS, **others}


@pytest.fixture(scope="session")
def tuned(network, tmp_path_factory):
    """(result, database, report, what the callback was given)"""
    folder = tmp_path_factory.mktemp("tuned")
    told = []
    result = burnish.tune(**options_for(network, records=folder / "tune.db", report=folder / "tune.html", seed=1,
                                        callbacks=[told.append]))
    return result, folder / "tune.db", folder / "tune.html", told


def test_the_result_says_what_was_done(tuned):
    result, _, _, _ = tuned
    assert 1 <= result.trials <= TRIALS and result.threads == 1 and "threads=1" in result.target
    assert 0 < result.search_seconds <= result.seconds and result.stopped and result.machine
    assert result.default_seconds > 0 and result.tuned_seconds > 0 and result.speedup_noise >= 0
    assert "speedup" in repr(result)
    sources = [name for task in result.tasks for name in task.sources]
    assert {"first", "second"} <= set(sources)
    for task in result.tasks:
        assert task.default_seconds > 0 and task.weight >= 1 and task.name in repr(task)
        assert 0 < task.best_seconds <= task.default_seconds * 1.5
        assert sum(t.round >= 0 for t in task.measured) == task.trials
        assert all((t.seconds > 0) == (t.status == "ok") for t in task.measured)
    assert sum(task.trials for task in result.tasks) == result.trials


def test_it_never_uses_what_did_not_win(tuned):
    result, _, _, _ = tuned
    used = [task for task in result.tasks if task.used]
    assert all(task.model_tuned_seconds < task.model_default_seconds for task in used)
    if used:
        assert result.speedup - result.speedup_noise >= 1
    else:
        assert result.speedup == 1


def test_callbacks_see_the_search_go_on(tuned):
    result, _, _, told = tuned
    searching = [p for p in told if p.phase == "search"]
    assert searching and told[-1].phase == "compare" and told[-1].task is None
    assert [p.trials for p in searching] == sorted(p.trials for p in searching)
    assert all(p.task.name in {t.name for t in p.tasks} for p in searching)
    assert searching[-1].best_seconds <= searching[0].default_seconds * 1.5
    assert searching[-1].trials == result.trials and 0 < searching[-1].elapsed <= result.seconds


def test_records_are_dictionaries(tuned):
    result, database, _, _ = tuned
    everything = burnish.records(database)
    assert len(everything) >= result.trials
    ok = [r for r in everything if r["status"] == "ok"]
    assert ok and all(r["median"] > 0 and r["threads"] == 1 and r["target"] == result.target for r in ok)
    best = burnish.records(database, "best")
    assert len(best) == len({r["workload_hash"] for r in ok})
    for record in best:
        times = [r["median"] for r in ok if r["workload_hash"] == record["workload_hash"]]
        assert record["median"] == min(times)
    winners = burnish.records(database, "winners")
    assert len([w for w in winners if w["trace"] != "avoid"]) == sum(task.used for task in result.tasks)
    assert bool(result.changed) == any(w["trace"] == "avoid" for w in winners)
    assert all(w["tuned_seconds"] < w["default_seconds"] for w in winners)


def test_compiling_with_records_gives_the_same_answers(tuned, network):
    _, database, _, _ = tuned
    x = np.random.default_rng(2).standard_normal((1, 8, 24, 24), np.float32)
    answers = []
    for records in (None, database):
        compiled = burnish.compile(network, shapes={"x": x.shape}, threads=1, records=records)
        assert not [note for note in compiled.notes if "is not used" in note]
        answers.append(burnish.InferenceSession(compiled.library, threads=1).run(None, {"x": x})[0])
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-4, atol=1e-5)


def test_compiling_for_another_target_says_that_records_do_not_apply(tuned, network):
    _, database, _, _ = tuned
    compiled = burnish.compile(network, shapes={"x": (1, 8, 24, 24)}, target="llvm:cpu=x86-64-v3", threads=3,
                               records=database)
    assert any("no verified records for" in note and "threads=3" in note for note in compiled.notes)


def test_the_report_is_one_well_formed_file(tuned, network):
    result, _, report, _ = tuned
    tree = ElementTree.parse(report)
    text = "".join(tree.getroot().itertext())
    assert network.name in text and result.target in text
    assert all(task.name in text for task in result.tasks)
    for element in tree.iter():
        assert not element.tag.endswith("script")
        assert not {"src", "href"} & set(element.attrib)


def test_false_ends_the_search(network, tmp_path):
    result = burnish.tune(**options_for(network, trials=10_000, records=tmp_path / "t.db", tuner="random",
                                        callbacks=[lambda p: p.trials == 0, lambda p: None]))
    assert result.trials < 200 and result.tuned_seconds > 0 and len(burnish.records(tmp_path / "t.db")) >= result.trials


def test_what_a_callback_raises_comes_out_after_everything_is_kept(network, tmp_path):
    phases = []

    def callback(progress):
        phases.append(progress.phase)
        if progress.trials > 0:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        burnish.tune(**options_for(network, trials=10_000, records=tmp_path / "t.db", tuner="random",
                                   callbacks=[callback]))
    assert phases.count("compare") == 0, "no further calls"
    assert any(r["tuner"] == "random" for r in burnish.records(tmp_path / "t.db"))


SCRIPT = """
import sys, burnish
try:
    burnish.tune(sys.argv[1], shapes={"x": (1, 8, 24, 24)}, threads=1, time=25, records=sys.argv[2], tuner="random",
                 callbacks=[lambda p: print(p.phase, flush=True)])
except KeyboardInterrupt:
    print("interrupted", len(burnish.records(sys.argv[2])))
"""


def test_ctrl_c_keeps_what_was_found(network, tmp_path):
    command = [sys.executable, "-c", SCRIPT, network, tmp_path / "t.db"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert "search\n" in (process.stdout.readline() for _ in range(2))
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    word, count = out.splitlines()[-1].split()
    assert word == "interrupted" and int(count) > 0 and process.returncode == 0


def test_other_threads_run_meanwhile(network, tmp_path):
    counts, done = [0], threading.Event()

    def count():
        while not done.wait(0.005):
            counts[0] += 1

    seen = []
    thread = threading.Thread(target=count)
    thread.start()
    try:
        burnish.tune(**options_for(network, trials=8, records=None, callbacks=[lambda p: seen.append(counts[0])]))
    finally:
        done.set()
        thread.join()
    assert seen and counts[0] > 50


def test_no_records_leave_no_file(network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    burnish.tune(**options_for(network, trials=4, tuner="grid", tasks="first", records=None))
    assert not list(tmp_path.iterdir())


def test_resuming_goes_on(network, tmp_path):
    options = options_for(network, trials=8, records=tmp_path / "t.db", tuner="random", seed=3, tasks="first")
    burnish.tune(**options)
    burnish.tune(**options, resume=True)
    points = [r["knobs"] for r in burnish.records(tmp_path / "t.db") if r["tuner"] == "random"]
    assert len(points) > 8 and len(set(points)) == len(points), "no candidate twice"


@pytest.mark.parametrize("change, message", [
    ({"time": "soon"}, 'time is "soon"'),
    ({"time": "-3s"}, "60s"),
    ({"time": float("nan")}, "seconds"),
    ({"trials": 0}, "trials is 0"),
    ({"tuner": "magic"}, "the tuners are"),
    ({"tasks": "no_such_task"}, "no task matches 'no_such_task'"),
    ({"tasks": "("}, "no regular expression"),
    ({"resume": True, "records": None}, "resuming needs the records"),
    ({"model": "none.onnx"}, "none.onnx"),
])
def test_mistakes_are_told_at_once(network, tmp_path, change, message):
    with pytest.raises(burnish.UserError) as error:
        burnish.tune(**options_for(network, **{"records": tmp_path / "t.db", **change}))
    assert message in str(error.value)


def test_a_file_that_is_no_database_stays_as_it_is(network, tmp_path):
    path = tmp_path / "t.db"
    path.write_text("these are not records")
    for call in (lambda: burnish.tune(**options_for(network, records=path)), lambda: burnish.records(path),
                 lambda: burnish.compile(network, shapes={"x": (1, 8, 24, 24)}, records=path)):
        with pytest.raises(burnish.UserError, match="t.db"):
            call()
    assert path.read_text() == "these are not records"
    with pytest.raises(burnish.UserError, match="none.db"):
        burnish.records(tmp_path / "none.db")
    with pytest.raises(burnish.UserError, match="winners"):
        burnish.records(path, "fastest")
