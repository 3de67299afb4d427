"""The accuracy suite in runs: protocols, further sets, another engine beside, all pairs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from facenet_validate.reporting.schema import results_schema
from tests.conftest import FEW_PAIRS_GATES

LEAN = 3.0
ACCURACY = ("suites/test_accuracy.py", "--facenet-report=report")


@pytest.fixture
def project(project: pytest.Pytester) -> pytest.Pytester:
    """The common project, with floors that the small network reaches."""
    gates = FEW_PAIRS_GATES.replace("accuracy.auc = 0.7", "accuracy.auc = 0.5")
    gates += "accuracy.against_drop = 0.05\n"
    (project.path / "baselines" / "gates.toml").write_text(gates)
    return project


def _results(project: pytest.Pytester) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.path / "report" / "results.json").read_text())
    return found


def _measured(project: pytest.Pytester, name: str) -> list[dict[str, Any]]:
    return [m for m in _results(project)["measurements"] if m["name"] == name]


def _shorter(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with embeddings of their first 8 values."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.graph.node[-1].output[0] = "rows"
    for name, value in (("first", 0), ("last", 8), ("axis", 1)):
        made.graph.initializer.append(numpy_helper.from_array(np.array([value], np.int64), name))
    made.graph.node.extend(
        [
            helper.make_node("Slice", ["rows", "first", "last", "axis"], ["fewer"]),
            helper.make_node("LpNormalization", ["fewer"], ["embeddings"], axis=1, p=2),
        ]
    )
    made.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 8
    return made


@pytest.fixture
def drifted_engine(
    project: pytest.Pytester,
    prepared_onnx: onnx.ModelProto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """An FP32 engine whose embeddings all lean to one side, which brings them closer together.

    It is made of the pretrained network, which the run is of then: the small one tells nobody
    apart, and so has nothing to lose.
    """
    monkeypatch.delenv("FACENET_MODEL")
    drifted = onnx.ModelProto()
    drifted.CopyFrom(prepared_onnx)
    bias = next(w for w in drifted.graph.initializer if w.name == "bottleneck/bias")
    values = numpy_helper.to_array(bias)
    bias.CopyFrom(numpy_helper.from_array(values + np.float32(LEAN), bias.name))
    onnx.save(drifted, tmp_path / "drifted.onnx")
    return tmp_path / "drifted.onnx"


def test_a_protocol_is_recorded_with_every_result(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess(
        *ACCURACY, "--precision=fp32", "--facenet-protocol=davidsandberg"
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(
        ["facenet: protocol davidsandberg*", "embeddings, fp32 engine*mirrored faces: *"]
    )
    result.stdout.fnmatch_lines(["classic, fp32 on lfw, as the published scripts print it*"])
    (measured,) = _measured(project, "verification")
    assert measured["protocol"].startswith("angle, flip concatenated, mean of the training")
    assert 0.5 < measured["classic"]["accuracy"] <= 1
    assert all(0 < threshold < 1 for threshold in measured["thresholds"])


def test_a_small_lfw_without_floors_is_not_evaluated(project: pytest.Pytester) -> None:
    (project.path / "baselines" / "gates.toml").write_text(
        "schema = 1\n[gates.any.any.any]\nparity.cosine_min = 0.98\n"
    )
    result = project.runpytest_inprocess(*ACCURACY, "-k", "verification", "--precision=fp32")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["not evaluated: accuracy.acc: no limit in gates.toml*"])


def test_pairs_worth_seeing_are_kept_with_their_distances(
    project: pytest.Pytester, drifted_engine: Path
) -> None:
    project.runpytest_inprocess(*ACCURACY, f"--facenet-engine={drifted_engine}")
    (measured,) = _measured(project, "paired comparison")
    seen = measured["worth_seeing"]
    assert measured["lost"] > 0
    assert len(seen["changed"]) == measured["lost"] + measured["won"]
    for pair in seen["changed"]:
        assert pair["correct"] != pair["reference_correct"]
        accepted = pair["distance"] < pair["threshold"]
        assert pair["correct"] == (accepted == pair["same"])
    hardest = [pair["distance"] - pair["threshold"] for pair in seen["hardest_genuine"]]
    assert len(hardest) == 10
    assert hardest == sorted(hardest, reverse=True)
    assert not any(pair["same"] for pair in seen["hardest_impostor"])


def test_people_of_a_set_of_one_s_own_are_not_named(
    project: pytest.Pytester, drifted_engine: Path, small_set: Path
) -> None:
    arguments: tuple[str, ...] = (
        *ACCURACY,
        "suites/test_parity.py",
        f"--facenet-engine={drifted_engine}",
    )
    arguments += ("--facenet-report=report", "--junitxml=report/junit.xml", "-v")
    said = project.runpytest_inprocess(*arguments).stdout.str()
    report = project.path / "report"
    texts = [(report / name).read_text() for name in ("results.json", "report.html", "junit.xml")]
    people = {path.name for path in small_set.iterdir() if path.is_dir()}
    assert not [name for name in people for text in (said, *texts) if name in text]
    assert "photos of lfw: no photos are shown, and rows stand for names" in said
    assert "No photos are shown, and rows stand for names" in texts[1]
    assert not (report / "pictures").exists()
    project.runpytest_inprocess(*arguments, "--facenet-report-photos=changed")
    document = json.loads((report / "results.json").read_text())
    (paired,) = [one for one in document["measurements"] if one["name"] == "paired comparison"]
    first = paired["worth_seeing"]["changed"][0]
    assert first["left"].rpartition("_")[0] in people
    assert (report / first["left_picture"]).is_file()
    assert "data:image/jpeg;base64," in (report / "report.html").read_text()
    jsonschema.validate(document, results_schema())


@pytest.fixture
def staff(small_set: Path, tmp_path: Path) -> Path:
    """A set of one's own: a folder of photos and a CSV of pairs."""
    folder = tmp_path / "staff"
    (folder / "photos").mkdir(parents=True)
    lines = ["left,right,same"]
    for person in range(12):
        for photo in (1, 2, 3):
            name = f"Person_{person:02d}_{photo:04d}.png"
            (folder / "photos" / name).symlink_to(small_set / name[:9] / name)
            other = f"Person_{(person + 1) % 12:02d}_{photo:04d}.png"
            lines.append(f"photos/{name},photos/{other},0")
        lines += [f"photos/Person_{person:02d}_0001.png,photos/Person_{person:02d}_000{n}.png,1"
                  for n in (2, 3)]  # fmt: skip
    for link in (folder / "photos").iterdir():
        content = link.read_bytes()
        link.unlink()
        link.write_bytes(content)
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    return folder / "pairs.csv"


def test_a_further_set_is_judged_by_its_own_limits(project: pytest.Pytester, staff: Path) -> None:
    gates = project.path / "baselines" / "gates.toml"
    own = "[gates.staff.any.any]\naccuracy.acc = 1.01\naccuracy.auc = 0.6\n"
    gates.write_text(gates.read_text().replace("schema = 1", "schema = 1\nsets = ['staff']") + own)
    result = project.runpytest_inprocess(
        *ACCURACY, "--precision=fp32", f"--facenet-pairs={staff}", "--facenet-require=staff"
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "facenet: data set staff: the pairs of *, 60 pairs",
            "fail: accuracy.acc, fp32 on staff: * observed, limit 1.01; *",
            "not evaluated: *accuracy.acc: *",
            "data set staff: 60 pairs, 36 images",
        ]
    )
    verdicts = {(g["gate"], g["dataset"]): g["verdict"] for g in _results(project)["gates"]}
    assert verdicts["accuracy.acc", "staff"] == "fail"
    assert verdicts["accuracy.acc", "lfw"] == "not evaluated"
    assert ("parity.cosine_min", "staff") not in verdicts


def test_a_set_that_no_test_was_chosen_for_is_reported_too(
    project: pytest.Pytester, staff: Path
) -> None:
    project.runpytest_inprocess(
        *ACCURACY, "-k", "verification and lfw", "--precision=fp32", f"--facenet-pairs={staff}"
    )
    assert list(_results(project)["sets"]) == ["staff"]


def test_workers_report_every_set(project: pytest.Pytester, staff: Path) -> None:
    result = project.runpytest_subprocess(
        *ACCURACY, "--precision=fp32", f"--facenet-pairs={staff}", "-n", "2"
    )
    assert result.ret == 0
    document = _results(project)
    assert document["sets"]["staff"]["pairs"] == 60
    assert document["sets"]["staff"]["alignment"]["aligner"] == "none"
    judged = {g["dataset"] for g in document["gates"] if g["gate"] == "accuracy.paired_drop"}
    assert judged == {"lfw", "staff"}


def test_bad_rows_end_the_run_before_it_starts(project: pytest.Pytester, staff: Path) -> None:
    lines = staff.read_text().splitlines()
    lines[3], lines[7] = "photos/no.png,photos/Person_00_0001.png,1", "one field"
    staff.write_text("\n".join(lines))
    result = project.runpytest_inprocess(*ACCURACY, f"--facenet-pairs={staff}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "line 4" in result.stderr.str()
    assert "line 8" in result.stderr.str()
    assert "Traceback" not in result.stderr.str()


def test_two_sets_of_one_name_are_refused(
    project: pytest.Pytester, staff: Path, tmp_path: Path
) -> None:
    (tmp_path / "staff" / "staff.csv").write_text(staff.read_text())
    both = f"--facenet-pairs={staff},{tmp_path / 'staff' / 'staff.csv'}"
    result = project.runpytest_inprocess(*ACCURACY, both)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "two sets would be called staff" in result.stderr.str()


def test_a_required_set_that_was_not_given(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess(*ACCURACY, "--facenet-require=staff")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "data set staff is required and was not given; at hand: lfw" in result.stderr.str()


def test_an_engine_worse_than_the_one_it_replaces_fails(
    project: pytest.Pytester, drifted_engine: Path, prepared_onnx: onnx.ModelProto
) -> None:
    onnx.save(prepared_onnx, project.path / "production.onnx")
    result = project.runpytest_inprocess(
        *ACCURACY, f"--facenet-engine={drifted_engine}", "--facenet-against=production.onnx"
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "facenet: compared with *production.onnx too",
            "*accuracy*against_drop*fp32*0.05*fail*",
            "paired, fp32 on lfw, beside the against:*",
        ]
    )
    beside = {m["compared_with"]: m for m in _measured(project, "paired comparison")}
    assert beside["against"]["lost"] == beside["reference"]["lost"]
    assert beside["against"]["cosine_mean"] < 0.999
    assert _results(project)["against"]["precision"] == "fp32"


def test_templates_of_another_size_are_enrolled_again(
    project: pytest.Pytester, small_onnx: onnx.ModelProto
) -> None:
    """The engine in production gives 8 values, the new one 16: nothing is computed of both."""
    onnx.save(_shorter(small_onnx), project.path / "production.onnx")
    gates = project.path / "baselines" / "gates.toml"
    gates.write_text(gates.read_text() + "accuracy.against_mixed_drop = 0.05\n")
    arguments = ("--precision=fp32", "--facenet-against=production.onnx")
    result = project.runpytest_inprocess(*ACCURACY, *arguments)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (failed,) = (gate for gate in _results(project)["gates"] if gate["verdict"] == "fail")
    assert failed["gate"] == "accuracy.against_mixed_drop"
    assert failed["detail"] == "enrol again: templates of 8 values, embeddings of 16"
    (measured,) = (
        m for m in _measured(project, "paired comparison") if m["compared_with"] == "against"
    )
    assert "cosine_min" not in measured


def test_an_engine_compared_with_itself_loses_nothing(
    project: pytest.Pytester, small_onnx: onnx.ModelProto
) -> None:
    onnx.save(small_onnx, project.path / "production.onnx")
    result = project.runpytest_inprocess(
        *ACCURACY, "--precision=fp32", "--facenet-against=production.onnx"
    )
    assert result.ret == 0
    (measured,) = (
        m for m in _measured(project, "paired comparison") if m["compared_with"] == "against"
    )
    assert (measured["lost"], measured["won"]) == (0, 0)
    assert measured["cosine_min"] == pytest.approx(1)


def test_cosines_to_another_engine_are_no_cosines_to_the_reference(
    project: pytest.Pytester, small_onnx: onnx.ModelProto
) -> None:
    """A test of one's own without a mark runs beside both."""
    onnx.save(small_onnx, project.path / "production.onnx")
    project.makepyfile(
        test_own="""
        def test_rows(facenet_comparison, facenet_gates):
            facenet_gates.check(*facenet_comparison.row_cosines())
        """
    )
    result = project.runpytest_inprocess(
        "test_own.py", "--precision=fp32", "--facenet-against=production.onnx", *ACCURACY[1:]
    )
    assert result.ret == 0
    verdicts = {
        (gate["test"].rpartition("-")[2], gate["verdict"])
        for gate in _results(project)["gates"]
        if gate["gate"].startswith("parity.")
    }
    assert verdicts == {("reference]", "pass"), ("against]", "not evaluated")}


@pytest.mark.parametrize("there", [True, False], ids=["not an engine", "not there"])
def test_what_cannot_be_compared_with_is_refused(project: pytest.Pytester, there: bool) -> None:
    if there:
        (project.path / "production.onnx").write_bytes(b"no model")
    result = project.runpytest_inprocess(*ACCURACY, "--facenet-against=production.onnx")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "production.onnx" in result.stderr.str()
    assert "Traceback" not in result.stderr.str()


def test_all_pairs_are_compared_where_asked_for(project: pytest.Pytester) -> None:
    arguments = (*ACCURACY, "--precision=fp32", "-k", "all_pairs")
    result = project.runpytest_inprocess(*arguments, "-rs")
    result.stdout.fnmatch_lines(["SKIPPED*--facenet-all-pairs*"])
    result = project.runpytest_inprocess(*arguments, "--facenet-all-pairs")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["all pairs, fp32 on lfw: *48 photos, each of 12 people*"])
    (measured,) = _measured(project, "all pairs")
    assert measured["genuine_pairs"] == 12 * 6
    assert measured["impostor_pairs"] == 48 * 47 // 2 - 12 * 6
    assert [point["drop"] for point in measured["points"]] == [0.0] * 4
