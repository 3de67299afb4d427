"""The first GPU session's script, from end to end over the checking fakes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from typing import Any

import first_gpu_session as script
import pytest
from gpu_session import engines, inputs, missing, page, records, runner, speed, suites
from gpu_session.runner import Ended, Step, run_steps
from gpu_session.session import Notes, Session

from facenet_validate.base.errors import EngineError
from facenet_validate.benchmarking import measure
from facenet_validate.benchmarking.measure import Measurement
from tests.test_runs_on_a_fake_gpu import Gpu, gpu, pytestmark  # noqa: F401

ALL = {step.name: step for step in script.STEPS}
PAGE = f"# Speed\n\n{page.BEGIN}\nNothing yet.\n{page.END}\n\nMore.\n"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    """Folders of a session, with a page."""
    (tmp_path / "gpu.md").write_text(PAGE)
    (tmp_path / "work").mkdir()
    (tmp_path / "out").mkdir()
    return Session(tmp_path / "work", tmp_path / "out", tmp_path / "gpu.md")


# --- steps in processes of their own --------------------------------------------------------------

NOTED = "from gpu_session.session import Notes; Notes(Path(sys.argv[1])).put('rows', [1])"
HANGS = "import threading; threading.Event().wait()"
DEAF = "import signal; signal.signal(signal.{}, signal.SIG_IGN)"
CODE = {
    "notes": "",
    "hangs": HANGS,
    "hangs in a driver": f"{DEAF.format('SIGINT')}; {DEAF.format('SIGABRT')}; {HANGS}",
    "crashes": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "fails": "raise SystemExit('no such thing')",
}


def planted(name: str, *, seconds: float = 600, rtx: bool = False, device: bool = True) -> Step:
    return Step(name, "", seconds, "", rtx=rtx, device=device)


def ended(session: Session, *steps: Step, budget: float = 600) -> list[Ended]:
    """Run steps that note a row and then do what `CODE` says."""

    def command(step: Step) -> Sequence[str]:
        code = f"import sys; from pathlib import Path; {NOTED}; {CODE[step.name] or 'pass'}"
        return [sys.executable, "-c", code, str(session.out / f"{step.name}.json")]

    environment = script._environment(script.ROOT / "docs/evidence")
    return run_steps(
        steps,
        session,
        command,
        budget=budget,
        environment=environment,
        grace=0.1,
        say=lambda line: None,
    )


@pytest.mark.parametrize("name", ["hangs", "hangs in a driver"])
def test_a_step_that_hangs_is_ended_and_the_next_one_runs(
    session: Session, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "ABORTING", 0.1)
    hung, after = ended(session, planted(name, seconds=0.3), planted("notes"))
    assert (hung.status, after.status) == ("stopped at its limit", "done")
    assert session.results("notes") == {"finished": False, "rows": [1]}


def test_a_step_that_does_not_heed_its_interruption_tells_where_it_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "ABORTING", 600)
    code = f"{DEAF.format('SIGINT')}; print('hangs now', flush=True); {HANGS}"
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", code],
            stdout=subprocess.PIPE,
            stderr=log,
            process_group=0,
        ) as child,
    ):
        assert child.stdout is not None
        assert child.stdout.readline() == b"hangs now\n"
        runner._end(child, 0.1)
        assert child.returncode == -signal.SIGABRT
    assert "most recent call first" in (tmp_path / "log").read_text()


def test_a_step_that_crashes_keeps_what_it_noted(session: Session) -> None:
    crashed, failed, after = ended(session, *map(planted, ("crashes", "fails", "notes")))
    assert (crashed.status, failed.status, after.status) == ("crashed", "failed", "done")
    assert crashed.why.startswith("SIGSEGV; see ")
    assert failed.why.startswith("exit code 1; see ")
    assert "no such thing" in (session.out / "fails.log").read_text()
    assert session.results("crashes") == {"finished": False, "rows": [1]}


def test_without_budget_only_what_needs_no_device_runs(session: Session) -> None:
    skipped, written = ended(session, planted("hangs"), planted("notes", device=False), budget=1)
    assert skipped.status == "skipped"
    assert skipped.why == "1 s of the budget are left"
    assert written.status == "done"


def test_a_later_call_keeps_how_earlier_steps_ended(session: Session) -> None:
    ended(session, planted("crashes"))
    ended(session, planted("notes"))
    told = json.loads((session.out / "session.json").read_text())["steps"]
    assert {name: one["status"] for name, one in told.items()} == {
        "crashes": "crashed",
        "notes": "done",
    }


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"rtx": {"accepted": False, "why": "loading: SM 90"}}, "loading: SM 90"),
        ({"host": {}}, "the step `facts` did not come so far"),
    ],
)
def test_where_rtx_is_refused_what_needs_it_is_skipped(
    session: Session, told: dict[str, Any], why: str
) -> None:
    with Notes(session.out / "facts.json") as notes:
        for key, value in told.items():
            notes.put(key, value)
    skipped, other = ended(session, planted("fails", rtx=True), planted("notes"))
    assert skipped.status == "skipped"
    assert skipped.why.endswith(why)
    assert other.status == "done"


def test_the_end_of_the_session_ends_its_step(session: Session) -> None:
    """A device's machine is given back with nothing left on it."""
    waits = session.out / "waits"
    os.mkfifo(waits)
    code = f"""
import os, signal, sys
sys.path[:0] = [{str(script.ROOT)!r}, {str(script.ROOT / "docs/evidence")!r}]
from pathlib import Path
import first_gpu_session
child = "import os, threading; print(os.getpid(), file=open({str(waits)!r}, 'w'), flush=True); "
first_gpu_session._command = lambda *_: [sys.executable, "-c", child + {HANGS!r}]
first_gpu_session.main(["--steps=facts", "--work={session.work}", "--out={session.out}"])
"""
    parent = subprocess.Popen([sys.executable, "-c", code])
    child = int(waits.read_text())
    parent.send_signal(signal.SIGTERM)
    assert parent.wait() == 128 + signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


# --- the steps themselves over a fake GPU ---------------------------------------------------------


SMALL = ((inputs, "FACES", 8), (inputs, "CALIBRATION", 100))


@pytest.fixture(scope="module")
def prepared_work(
    small_model: Path, small_set: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A session's inputs, of the small network."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in SMALL:
            patch.setattr(module, name, value)
        inputs.prepare_inputs(Session(folder, folder, folder / "gpu.md"), small_model, small_set)
    return folder


@pytest.fixture
def host(
    gpu: Gpu,  # noqa: F811
    session: Session,
    prepared_work: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Gpu:
    """A host with a fake GPU, and inputs of the small network; nothing is warmed up."""
    for module, name, value in (
        *SMALL,
        (speed, "BATCH", 4),
        (speed, "OTHER_BATCHES", (1, 2)),
        (measure, "LOOKS", (2,)),
        (engines, "inspector_json", lambda *_: json.dumps({"Layers": ["a", "b", "c"]})),
        (Measurement, "warm_up", lambda _: None),
    ):
        monkeypatch.setattr(module, name, value)
    shutil.copytree(prepared_work, session.work, dirs_exist_ok=True)
    return gpu


def called(session: Session, name: str) -> dict[str, Any]:
    """Run a step in this process and return what it noted."""
    script.call(ALL[name], session)
    found = session.results(name)
    assert found is not None
    assert found["finished"]
    return found


def test_facts_tell_of_the_host_and_that_rtx_accepts_the_gpu(host: Gpu, session: Session) -> None:
    told = called(session, "facts")
    assert told["rtx"]["accepted"]
    assert told["graphs"] == "found by the suites"
    assert told["rtx"]["cosine"] > 0.9999
    assert told["gpu"]["name"] == "Fake GPU"
    assert told["device side"]["identity"]["name"] == "Fake GPU"
    assert told["device side"]["taken"] == "tests.engines.device.fake_device"
    assert told["says"] == "Fake GPU; TensorRT for RTX accepts it"
    assert session.refusal() == ""
    assert not +host.device.live
    called(session, "write")
    assert "\nFake GPU, compute capability 9.0, driver unknown" in session.page.read_text()


def test_facts_have_the_librarys_words_where_rtx_refuses(
    host: Gpu, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise EngineError("TensorRT for RTX cannot load this plan: unsupported SM 90")

    monkeypatch.setattr("facenet_validate.engines.tensorrt.engine.TensorRtEngine", refuse)
    monkeypatch.setattr(engines, "takes_its_own_plan", lambda *_: "refused too")
    told = called(session, "facts")
    assert told["rtx"]["stage"] == "loading the plan"
    assert told["rtx"]["for this GPU alone"] == "refused too"
    assert session.refusal() == (
        "loading the plan: TensorRT for RTX cannot load this plan: unsupported SM 90"
    )


def test_engines_are_compared_timed_recorded_and_written(host: Gpu, session: Session) -> None:
    told = called(session, "batch-64")
    assert "problems" not in told
    titles = [variant.title for variant in inputs.VARIANTS]
    assert [(row["engine"], row["scope"]) for row in told["rows"]] == [
        (title, scope) for title in titles for scope in ("device", "end-to-end")
    ]
    # Timed in turns with FP16, which has nothing beside it.
    assert ["ratio" in row for row in told["rows"]] == [False] * 2 + [True] * 6
    assert [one["engine"].split(", ", 1)[1] for one in told["agreement"]] == [
        f"{title}, dynamic" for title in titles
    ]
    assert min(one["mean"] for one in told["agreement"]) > 0.9
    assert {plan["engine"] for plan in told["plans"]} == set(titles)
    recorded = sorted(path.name for path in (session.out / "recorded").iterdir())
    assert len(recorded) == 4 * len(titles)
    assert all("-fake-gpu-" in name for name in recorded)
    assert any(name.endswith("-int8-float-b4-dynamic.trimmed.log") for name in recorded)
    assert not +host.device.live
    ended(session, planted("crashes"))
    called(session, "write")
    text = session.page.read_text()
    assert text.startswith(f"# Speed\n\n{page.BEGIN}\n")
    assert text.endswith(f"{page.END}\n\nMore.\n")
    assert "| INT8, FP16 around it | dynamic | 4 | end-to-end |" in text
    assert "| crashes | crashed |" in text


def test_an_engine_that_cannot_be_had_leaves_the_others(host: Gpu, session: Session) -> None:
    inputs.read_inputs(session).graph(inputs.INT8).write_bytes(b"no graph")
    told = called(session, "batches")
    (problem,) = told["problems"]
    assert problem.startswith("tensorrt-rtx, INT8, FP16 around it, dynamic: ")
    assert {row["engine"] for row in told["rows"]} == {"FP16", "INT8, FP32 around it"}
    assert [row["batch"] for row in told["rows"][:4]] == [1, 1, 2, 2]


def test_graphs_that_stayed_behind_are_made_anew(host: Gpu, session: Session) -> None:
    found = inputs.read_inputs(session)
    carried = found.graph(inputs.FP16)
    content = carried.read_bytes()
    carried.unlink()
    assert found.graph(inputs.FP16).read_bytes() == content
    (session.work / "model.onnx").unlink()
    with pytest.raises(FileNotFoundError, match=r"^model.onnx stayed behind: carry it\.$"):
        found.graph(inputs.FP32)


def test_what_a_host_does_not_have_is_said(
    host: Gpu, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = called(session, "others")
    assert [problem.split(": ")[0] for problem in told["problems"]] == [
        "onnxruntime-cuda",
        "tensorrt",
    ]
    assert "rows" not in told


def test_static_profiles_are_measured_where_there_are_any(host: Gpu, session: Session) -> None:
    told = called(session, "static")
    if "problems" in told:
        assert told["problems"] == [
            "tensorrt-rtx: this version of facenet_validate builds dynamic profiles only."
        ]
    else:
        assert {row["profile"] for row in told["rows"]} == {"static"}


def test_the_suites_are_run_and_what_did_not_pass_is_named(
    host: Gpu, session: Session, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACENET_BATCH_SIZE", "4")

    def in_process(arguments: Sequence[str], environment: dict[str, str]) -> int:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return int(project.runpytest_inprocess(*arguments).ret)

    suites.suites(session, in_process)
    told = session.results("suites")
    assert told is not None
    # What a plan holds beside the small network's weights is more than they are.
    assert told["exit code"] == 1
    assert [
        (gate["gate"], gate["precision"])
        for gate in told["not passed"]
        if gate["verdict"] == "fail"
    ] == [("build.size", "int8")]
    assert told["verdicts"]["pass"] > 10
    assert "1 fail" in told["says"]
    assert (session.out / "suites" / "junit.xml").is_file()


INTERRUPTED = {
    "conftest.py": """
        from threading import Event

        def pytest_sessionfinish():
            Event().wait(1)  # longer than a process waits for another one that was interrupted too
        """,
    "test_interrupted.py": """
        import os
        import signal

        def test_that_is_interrupted():
            os.killpg(0, signal.SIGINT)
        """,
}


def test_pytest_has_written_its_reports_when_its_step_is_interrupted(tmp_path: Path) -> None:
    for name, text in INTERRUPTED.items():
        (tmp_path / name).write_text(dedent(text))
    code = f"""
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background job
sys.path[:0] = [{str(script.ROOT)!r}, {str(script.ROOT / "docs/evidence")!r}]
from pathlib import Path
from gpu_session import suites
suites.ROOT = Path({str(tmp_path)!r})
print(suites.run_pytest(["-q", "--junitxml=junit.xml"], {{}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], process_group=0, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == str(int(pytest.ExitCode.INTERRUPTED))
    assert (tmp_path / "junit.xml").is_file()


JUNIT = """<testsuites><testsuite>
<testcase name="a"/><testcase name="b"><skipped message="no GPU"/></testcase>
<testcase name="c"><failure message="assert 1 == 2"/></testcase>
</testsuite></testsuites>"""


def test_tests_on_the_device_are_counted(session: Session) -> None:
    def writes_junit(arguments: Sequence[str], _environment: dict[str, str]) -> int:
        path = Path(next(one for one in arguments if "--junitxml" in one).partition("=")[2])
        path.parent.mkdir()
        path.write_text(JUNIT)
        return 1

    suites.gpu_tests(session, writes_junit)
    told = session.results("tests")
    assert told is not None
    assert told["says"] == "1 passed, 1 skipped, 1 failure"
    assert told["junit"]["failed"] == ["c: assert 1 == 2"]


def test_five_sessions_are_recorded_beside_the_shipped_gates(session: Session) -> None:
    def records_one(arguments: Sequence[str], _environment: dict[str, str]) -> int:
        assert "--facenet-update-baselines=missing" in arguments
        folder = session.out / "baselines" / "fake-gpu"
        folder.mkdir(exist_ok=True)
        with (folder / "tensorrt-rtx-fp16-b64.jsonl").open("a") as file:
            file.write("{}\n")
        return 0

    suites.baselines(session, records_one)
    told = session.results("baselines")
    assert told is not None
    assert told["sessions"] == {"fake-gpu/tensorrt-rtx-fp16-b64.jsonl": 5}
    assert (session.out / "baselines" / "gates.toml").is_file()


# --- what is carried ------------------------------------------------------------------------------


def test_a_host_is_told_what_to_carry(tmp_path: Path) -> None:
    path = tmp_path / "host.txt"
    path.write_text("numpy 99.0, onnx==1.0, PyYAML, cuda_bindings\npytest  9.2.0\nfilelock\n")
    found = {one.name: one for one in missing.lacking(missing.read_list(path))}
    assert "numpy" not in found
    assert "filelock" not in found  # of a version that is not told
    assert "cuda-bindings" not in found
    assert found["onnx"].found == "1.0"
    assert "too old" in found["onnx"].text()
    assert found["rich"].pure
    assert not found["opencv-python-headless"].pure
    assert found["markdown-it-py"].needed_by == "rich"
    assert "pluggy" not in found  # comes with the host's pytest


def test_a_record_keeps_the_first_layers_of_each_form() -> None:
    line = "Name: {}, LayerType: {}, Inputs: [ {{ Name: x, Format/Datatype: Half }}]"
    log = [
        "WARNING: a",
        *(line.format(name, "gemm") for name in "abc"),
        line.format("d", "kgen"),
        "INFO: b",
    ]
    assert records.trimmed_log("\n".join(log)).splitlines() == [*log[:3], *log[4:]]
    layers = [{"Name": n, "LayerType": "gemm", "Inputs": []} for n in "abc"]
    document = {"Layers": [*layers, {"Name": "d", "LayerType": "kgen"}], "Bindings": ["input"]}
    kept = json.loads(records.trimmed_json(json.dumps(document)))
    assert [layer["Name"] for layer in kept["Layers"]] == ["a", "b", "d"]
    assert kept["Bindings"] == ["input"]


def test_without_a_gpu_the_command_ends_with_the_reason(
    session: Session, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The real processes, on a host whose devices are hidden."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    folders = (f"--work={session.work}", f"--out={session.out}", f"--page={session.page}")
    assert script.main(["--steps=facts,batch-64,write", *folders]) == 0
    lines = [line for line in capfd.readouterr().out.splitlines() if "missing:" not in line]
    assert [line.split(" ")[:2] for line in lines] == [
        ["facts:", "done"],
        ["batch-64:", "skipped:"],
        ["write:", "done"],
    ]
    assert "tensorrt-rtx cannot run here" in lines[1]
    assert "does not accept this GPU" in session.page.read_text()


def test_a_step_that_nobody_knows_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        script.main(["--steps=facts,nothing"])
    assert "nothing: expected check, prepare, facts" in capsys.readouterr().err


@pytest.mark.parametrize("step", script.STEPS, ids=lambda step: step.name)
def test_every_step_has_its_function(step: Step) -> None:
    module, _, function = step.function.partition(":")
    assert callable(getattr(import_module(f"gpu_session.{module}"), function))
