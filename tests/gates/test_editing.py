from __future__ import annotations

import difflib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facenet_validate.base.errors import BaselineError
from facenet_validate.gates import catalogue
from facenet_validate.gates.document import LARGEST
from facenet_validate.gates.editing import MARK, Change, number_text, with_limits
from facenet_validate.gates.limits import read_gates

SHIPPED = Path(__file__).parents[2] / "baselines" / "gates.toml"
PATH = Path("gates.toml")
TABLE = ("lfw", "int8", "cpu")


def _edited(text: str, *changes: Change) -> str:
    return with_limits(PATH, text.encode(), changes).decode()


def _change(
    limit: float, gate: str = "parity.cosine_min", table: tuple[str, str, str] = TABLE
) -> Change:
    return Change(table, gate, limit, "why")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (  # a value alone
            "[gates.lfw.int8.cpu]\nparity.cosine_min  =  0.98   # a reason\n",
            "[gates.lfw.int8.cpu]\n# gates propose: why\nparity.cosine_min  =  0.9   # a reason\n",
        ),
        (  # its comment is replaced, and no other one
            "[gates.lfw.int8.cpu]\n# mine\n# gates propose: old\nparity.cosine_min = 0.98",
            "[gates.lfw.int8.cpu]\n# mine\n# gates propose: why\nparity.cosine_min = 0.9",
        ),
        (  # by the order of the catalogue
            "[gates.lfw.int8.cpu]\ncontract.reload = 0\nparity.cosine_p1 = 0.9\n",
            "[gates.lfw.int8.cpu]\ncontract.reload = 0\n# gates propose: why\n"
            "parity.cosine_min = 0.9\nparity.cosine_p1 = 0.9\n",
        ),
        (  # a table of its own, beside its like and before the heading of the next
            "[gates.lfw.int8.any]\nparity.cosine_p1 = 0.9\n\n# --- next\n[gates.orl.int8.any]\n",
            "[gates.lfw.int8.any]\nparity.cosine_p1 = 0.9\n\n[gates.lfw.int8.cpu]\n"
            "# gates propose: why\nparity.cosine_min = 0.9\n\n# --- next\n[gates.orl.int8.any]\n",
        ),
        (  # at the end
            "[gates.any.any.any]",
            "[gates.any.any.any]\n\n[gates.lfw.int8.cpu]\n# gates propose: why\n"
            "parity.cosine_min = 0.9\n",
        ),
        (  # tables of a suite, and quoted keys
            '[gates."lfw".int8 . cpu.parity]\n"cosine_min" = +9.8e-1#x\n',
            '[gates."lfw".int8 . cpu.parity]\n# gates propose: why\n"cosine_min" = 0.9#x\n',
        ),
        ("", "\n[gates.lfw.int8.cpu]\n# gates propose: why\nparity.cosine_min = 0.9\n"),
    ],
)
def test_lines_are_changed_or_added(before: str, after: str) -> None:
    assert _edited(f"schema = 1\n{before}", _change(0.9)) == f"schema = 1\n{after}"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_the_byte_order_mark_stay(end: str, mark: str) -> None:
    text = mark + f"schema = 1{end}[gates.lfw.int8.cpu]{end}parity.cosine_min = 0.98{end}"
    found = _edited(text, _change(0.9), _change(0.95, "parity.cosine_p1"))
    assert found.startswith(f"{mark}schema = 1{end}")
    assert found.count(end) == found.count("\n") == 6
    assert found.endswith(f"parity.cosine_p1 = 0.95{end}")


@pytest.mark.parametrize(
    "text",
    [
        "[gates.lfw.int8]\ncpu = { parity = { cosine_min = 0.98, cosine_p1 = 0.9 } }\n",
        "[gates.lfw.int8.cpu]\nparity = { cosine_p1 = 0.9 }\n",
        "[gates.lfw.int8.cpu.parity]\ncosine_p1 = 0.9\n",
    ],
)
def test_a_form_that_is_not_edited_is_told(text: str) -> None:
    with pytest.raises(BaselineError) as error:
        _edited(f"schema = 1\n{text}", _change(0.9))
    assert "Write it as parity.cosine_min = 0.9, a line below [gates.lfw.int8.cpu]" in str(
        error.value
    )


def test_text_that_looks_like_a_table_is_left_alone() -> None:
    text = 'schema = 1\nsets = ["""\\\n[gates.lfw.int8.cpu]\\\nparity.cosine_min = 0.98"""]\n'
    with pytest.raises(BaselineError):
        _edited(text, _change(0.9))


def test_a_file_does_not_grow_beyond_what_is_read() -> None:
    text = "schema = 1\n" + f"# {'x' * 1020}\n" * 64
    assert LARGEST - 100 < len(text) <= LARGEST
    with pytest.raises(BaselineError, match="larger than 64 KiB"):
        _edited(text, _change(0.9))


TABLES = st.tuples(
    st.sampled_from(("any", "lfw", "orl", "synthetic")),
    st.sampled_from(("any", "fp16", "int8")),
    st.sampled_from(("any", "cpu", "cpu-vnni", "tensorrt")),
)
CHANGES = st.builds(
    Change,
    TABLES,
    st.sampled_from([gate.name for gate in catalogue.CATALOGUE]),
    st.floats(1.001, 1e9),
    st.just("why"),
)


@given(st.lists(CHANGES, max_size=6))
def test_nothing_else_of_the_shipped_file_changes(changes: list[Change]) -> None:
    """Limits are the wanted ones, every other line is there, in its order, byte for byte."""
    before = SHIPPED.read_bytes()
    after = with_limits(SHIPPED, before, changes)
    wanted = {table: dict(limits) for table, limits in read_gates(SHIPPED).tables.items()}
    for change in changes:
        wanted.setdefault(change.table, {})[change.gate] = change.limit
    found = tomllib.loads(after.decode())["gates"]
    for (dataset, precision, target), limits in wanted.items():
        suites = found[dataset][precision][target]
        assert limits == {f"{s}.{g}": v for s, gates in suites.items() for g, v in gates.items()}
    names = {change.gate for change in changes}
    for line in difflib.ndiff(before.decode().split("\n"), after.decode().split("\n")):
        if line.startswith("- "):
            assert line[2:].partition(" ")[0] in names, line
    assert sum(line.startswith(MARK) for line in after.decode().split("\n")) == len(
        {change.keys for change in changes}
    )


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_written_whole(number: float) -> None:
    assert tomllib.loads(f"x = {number_text(number)}")["x"] == number
