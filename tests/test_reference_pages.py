"""The tables of the reference pages are those of the code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from docs.reference.generate import (
    BLOCKS,
    EXIT_CODES,
    SCHEMA,
    gates_table,
    pages,
    schema_text,
    with_tables,
)
from facenet_validate.gates import catalogue


def test_every_table_stands_on_a_page() -> None:
    text = "".join(path.read_text("utf-8") for path in pages())
    assert {name for name in BLOCKS if f"<!-- begin {name} -->" in text} == set(BLOCKS)


@pytest.mark.parametrize("page", pages(), ids=lambda path: path.stem)
def test_a_page_has_the_tables_of_the_code(page: Path) -> None:
    text = page.read_text("utf-8")
    assert with_tables(text) == text, "run python docs/reference/generate.py"


def test_a_table_that_is_out_of_date_is_found() -> None:
    (page,) = [path for path in pages() if path.stem == "gates"]
    text = page.read_text("utf-8")
    assert with_tables(text.replace("| ceiling |", "| floor |", 1)) == text


def test_the_schema_is_that_of_the_code() -> None:
    assert SCHEMA.read_text("utf-8") == schema_text(), "run python docs/reference/generate.py"


def test_pytest_s_exit_codes_are_told() -> None:
    assert set(map(int, pytest.ExitCode)) <= set(EXIT_CODES)


def test_a_row_of_the_catalogue_is_a_row_of_the_page() -> None:
    toy = replace(catalogue.CATALOGUE[0], name="contract.toy", observes="a|b", above=1.0)
    assert gates_table([toy]).splitlines()[-1] == (
        r"| `contract.toy` | a\|b | ceiling above 1 | engine |  |  | not evaluated |  |  |"
    )
