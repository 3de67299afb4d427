from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from facenet_validate.benchmarking.baselines import BaselineStore
from facenet_validate.benchmarking.sessions import to_line, to_mapping
from facenet_validate.history import sources
from facenet_validate.history.sources import default_sources, read, session_id
from tests.history.sessions import benchmark_file, make_session, report_file


def test_every_kind_of_file_is_read(tmp_path: Path) -> None:
    BaselineStore(tmp_path / "baselines").append(make_session(0))
    benchmark_file(tmp_path / ".benchmarks/Linux/0001_run.json", [make_session(1)])
    report_file(tmp_path / "artefacts/job 7/report", make_session(2))
    reading = read([tmp_path])
    assert not reading.problems
    assert reading.files == 3
    found = {one.session: one.accepted for one in reading.found.values()}
    assert found == {make_session(0): True, make_session(1): False, make_session(2): False}


def test_the_same_session_counts_once_and_its_accepted_copy_is_kept(tmp_path: Path) -> None:
    accepted = make_session(0, epoch=3, reason="faster kernels")
    BaselineStore(tmp_path / "baselines").append(accepted)
    # A run's files are written seconds apart.
    later = replace(accepted, recorded_at="2026-01-01T03:00:09+00:00")
    report = report_file(tmp_path / "report", later)
    benchmarks = benchmark_file(tmp_path / "0001_x.json", [replace(accepted, epoch=1)])
    for order in ([report, benchmarks, tmp_path / "baselines"], [tmp_path, report]):
        (found,) = read(order).found.values()
        assert found.session == accepted
        assert found.accepted


def test_a_session_is_told_by_its_blocks_and_identity() -> None:
    session = make_session(0)
    blocks = (*session.block_seconds[:-1], session.block_seconds[-1] * (1 + 1e-15))
    others = [
        replace(session, block_seconds=blocks),
        replace(session, identity=replace(session.identity, protocol=1)),
    ]
    assert session_id(session) not in map(session_id, others)
    assert session_id(session) == session_id(replace(session, epoch=2, reason="x"))


def test_what_pytest_benchmark_saves_is_read(pytester: pytest.Pytester) -> None:
    session = make_session(0)
    pytester.makepyfile(
        f"""
        import json

        def test_speed(benchmark):
            benchmark.extra_info["session"] = json.loads({json.dumps(to_mapping(session))!r})
            benchmark.pedantic(lambda: None, rounds=2)

        def test_other(benchmark):
            benchmark.pedantic(lambda: None, rounds=2)
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:facenet_validate", "--benchmark-autosave")
    result.assert_outcomes(passed=2)
    reading = read(default_sources(pytester.path))
    assert not reading.problems
    assert [one.session for one in reading.found.values()] == [session]
    assert reading.without_session == 1


def test_every_bad_line_is_told_and_hides_no_good_one(tmp_path: Path) -> None:
    good = [to_line(make_session(day)) for day in range(4)]
    newer = to_line(make_session(9)).replace('"schema": 1', '"schema": 2')
    older = to_line(make_session(9)).replace('"schema": 1', '"schema": 0')
    lines = [
        good[0].encode(),
        b"<<<<<<< HEAD",
        good[1].encode(),
        b"=======",
        good[2].encode(),
        b">>>>>>> theirs",
        good[3][:50].encode(),
        newer.encode(),
        older.encode(),
        b"\xff\xfe",
        b"",
        good[3].encode(),
    ]
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b"\n".join(lines))
    reading = read([path])
    assert len(reading.found) == 4
    told = {problem.where.removeprefix(f"{path}:"): problem.why for problem in reading.problems}
    assert list(told) == ["2", "7", "8", "9", "10"]
    assert "merge conflict; keep the lines of both sides" in told["2"]
    assert "not a line of JSON" in told["7"]
    assert "its schema is 2" in told["8"]
    assert "upgrade" in told["8"]
    assert "record its sessions again" in told["9"]
    assert "not UTF-8; restore the file" in told["10"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("results.json", '{"measurements": [', "this is not JSON"),
        ("0001_x.json", "[" * 100_000, "this is not JSON"),
        ("results.json", "[]", "it has neither"),
        ("results.json", '{"measurements": [{"name": "speed", "session": {}}]}', "no schema"),
        ("0001_x.json", '{"benchmarks": [{"extra_info": {"session": 5}}]}', "not a session"),
        ("notes.txt", "", "expected a .jsonl"),
    ],
)
def test_a_bad_file_is_told_and_hides_no_other(
    tmp_path: Path, name: str, content: str, why: str
) -> None:
    bad = tmp_path / name
    bad.write_text(content)
    good = report_file(tmp_path / "good", make_session())
    reading = read([bad, good])
    assert len(reading.found) == 1
    (problem,) = reading.problems
    assert problem.where.startswith(str(bad))
    assert why in problem.why


def test_the_place_in_a_document_is_told(tmp_path: Path) -> None:
    session = to_mapping(make_session())
    session["latency_seconds"] = "fast"
    document = {"measurements": [{"name": "parity"}, {"name": "speed", "session": session}]}
    (tmp_path / "results.json").write_text(json.dumps(document))
    (problem,) = read([tmp_path]).problems
    assert problem.where == f"{tmp_path / 'results.json'}, measurements[1]"
    assert "latency_seconds" in problem.why


def test_files_of_others_in_a_folder_are_no_errors(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"name": "x"}')
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "login.json").write_text('{"session": "abc"}')
    (tmp_path / "training.jsonl").write_text('{"loss": 1.0}\n{"loss": 0.5}\n')
    benchmark_file(tmp_path / "0001_x.json", [make_session()], others=3)
    reading = read([tmp_path])
    assert not reading.problems
    assert len(reading.found) == 1
    assert reading.without_session == 3


def test_a_file_of_others_that_is_named_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "training.jsonl"
    path.write_text('{"loss": 1.0}\n')
    (problem,) = read([path]).problems
    assert problem.where == f"{path}:1"


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = report_file(tmp_path / "outside", make_session(1))
    folder = tmp_path / "artefacts"
    inside = report_file(folder / "run", make_session(0))
    (folder / "results.json").symlink_to(outside)
    (folder / "linked").symlink_to(outside.parent)
    (folder / "again.json").symlink_to(inside)
    (folder / "gone.json").symlink_to(folder / "nothing.json")
    reading = read([folder])
    assert [one.session for one in reading.found.values()] == [make_session(0)]
    assert [problem.where for problem in reading.problems] == [str(folder / "gone.json")]


def test_a_large_file_and_a_pipe_are_told_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = BaselineStore(tmp_path).append(make_session())
    monkeypatch.setattr(sources, "MAXIMUM_BYTES", path.stat().st_size)
    assert len(read([path]).found) == 1
    monkeypatch.setattr(sources, "MAXIMUM_BYTES", path.stat().st_size - 1)
    os.mkfifo(tmp_path / "pipe.jsonl")
    whys = [problem.why for problem in read([tmp_path]).problems]
    assert len(whys) == 2
    assert any("the most that is read" in why for why in whys)
    assert any("not a regular file" in why for why in whys)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    (problem,) = read([tmp_path / "nothing"]).problems
    assert "no such file" in problem.why


def test_a_bad_link_or_name_hides_nothing_else(tmp_path: Path) -> None:
    good = report_file(tmp_path / "run", make_session())
    loop = tmp_path / "loop.json"
    loop.symlink_to(loop)
    loops = [tmp_path / "a", tmp_path / "b"]
    for link, target in zip(loops, loops[::-1], strict=True):
        link.symlink_to(target)
    long = tmp_path / ("n" * 300)
    (inside,) = read([tmp_path]).problems
    assert inside.where == str(loop)
    reading = read([loop, loops[0], loops[0] / "x", long, long / "x.json", good])
    assert len(reading.found) == 1
    assert [problem.where for problem in reading.problems] == [
        *map(str, (loop, loops[0], loops[0] / "x", long, long / "x.json"))
    ]
    assert {problem.why for problem in reading.problems} == {
        "cannot be read (Too many levels of symbolic links)",
        "cannot be read (File name too long)",
    }


def test_what_may_not_be_looked_at_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, **options: object) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", refuse)
    (problem,) = read([tmp_path / "closed/results.json"]).problems
    assert problem.why == "cannot be read (Permission denied)"


def test_what_git_keeps_is_not_searched(tmp_path: Path) -> None:
    report_file(tmp_path / ".git/lost", make_session(0))
    report_file(tmp_path / "run", make_session(1))
    assert [one.session for one in read([tmp_path]).found.values()] == [make_session(1)]


def test_default_sources_are_those_that_exist(tmp_path: Path) -> None:
    assert default_sources(tmp_path) == ()
    (tmp_path / ".benchmarks").mkdir()
    assert default_sources(tmp_path) == (tmp_path / ".benchmarks",)
