"""What a page consists of, as its template takes it."""

from __future__ import annotations

from dataclasses import dataclass

from facenet_validate.reporting.page.parts import Cell, Line


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes
    ----------
    caption : str
        What it shows.
    head : tuple of str
        Names of the columns.
    rows : tuple of tuples of Line
        The first cell names the row.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Line, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A picture with its words.

    Attributes
    ----------
    name : str
        Its id in the page, unlike any other's.
    title : str
        What it shows.
    words : Line
        What to see in it; it stands for the picture where that is not seen.
    svg : str
        The drawing.
    table : Table or None
        The figures behind it, where they are few.
    """

    name: str
    title: str
    words: Line
    svg: str
    table: Table | None = None


@dataclass(frozen=True)
class Face:
    """A photo of a pair: its name, and the path of its picture; empty where there is none."""

    name: Cell
    picture: str


@dataclass(frozen=True)
class Pair:
    """Two faces, what they are and how they were decided."""

    faces: tuple[Face, Face]
    kind: str
    words: Line
    mark: str


@dataclass(frozen=True)
class Gallery:
    """Pairs to look at.

    Attributes
    ----------
    title : str
        What they have in common.
    words : Line
        How many there are, and which are shown.
    pairs : tuple of Pair
        Those that are shown.
    """

    title: str
    words: Line
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Block:
    """What was measured once: an engine on a data set.

    Attributes
    ----------
    title : str
        What was measured, of what.
    words : tuple of Line
        Said of it.
    figures, tables, galleries : tuples
        Shown of it.
    folded : bool
        Whether it is shown when it is asked for.
    run : Line
        Of which run of a joined report; empty in any other.
    """

    title: str
    words: tuple[Line, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    galleries: tuple[Gallery, ...] = ()
    folded: bool = False
    run: Line = ()


@dataclass(frozen=True)
class GateRow:
    """A gate as the page has it."""

    name: Cell
    title: Cell | None
    about: Line
    observed: Cell
    limit: Cell
    interval: Line
    verdict: Cell
    fails: bool
    recipe_only: bool
    detail: Line


@dataclass(frozen=True)
class Suite:
    """A suite: its worst verdict, its gates worst first, and what it measured."""

    name: str
    title: str
    verdict: str
    gates: tuple[GateRow, ...]
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Diagnosis:
    """Why an engine differs: cause, evidence, what to do, what was tried, and the walk."""

    about: Line
    cause: Line
    evidence: Line
    advice: Line
    alike: tuple[Line, ...]
    notes: tuple[Line, ...]
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    pictures: tuple[str, ...]


@dataclass(frozen=True)
class Fact:
    """What was tested: a name and its values, a line each."""

    name: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class FactGroup:
    """Facts of one thing: the model, an engine, the machine, the data.

    Attributes
    ----------
    title : str
        Of what.
    facts, more : tuple of Fact
        What everybody wants to know, and what is shown when it is asked for.
    run : Line
        Of which run of a joined report; empty in any other.
    """

    title: str
    facts: tuple[Fact, ...]
    more: tuple[Fact, ...] = ()
    run: Line = ()


@dataclass(frozen=True)
class Sheet:
    """A picture file beside ``results.json``, and what it shows."""

    title: str
    picture: str


@dataclass(frozen=True)
class Page:
    """A report.

    Attributes
    ----------
    verdict, sentence, finished : Cell
        The run's verdict, in a word and in words, and when it ended.
    counts : tuple of Line
        How many gates have which verdict.
    unfinished : bool
        Whether the run has not come to its end.
    runs : tuple of Line
        The runs of a joined report, each with its own verdict.
    failures : tuple of GateRow
        Gates that failed or were not decided, the worst first.
    diagnoses : tuple of Diagnosis
        Why.
    errors : tuple of Line
        Tests that broke before a verdict.
    conflicts : tuple of Line
        Where the runs of a joined report contradict each other.
    unjudged : tuple of Line
        What was not judged, and why.
    tested : tuple of FactGroup
        What was tested.
    suites : tuple of Suite
        The worst first.
    sheets : tuple of Sheet
        Photos to look at.
    photos : tuple of Line
        Whose photos are shown, a line a set.
    other : tuple of Block
        What else was measured.
    """

    verdict: Cell
    sentence: Cell
    finished: Cell
    counts: tuple[Line, ...]
    unfinished: bool
    runs: tuple[Line, ...]
    failures: tuple[GateRow, ...]
    diagnoses: tuple[Diagnosis, ...]
    errors: tuple[tuple[Line, Line], ...]
    conflicts: tuple[Line, ...]
    unjudged: tuple[Line, ...]
    tested: tuple[FactGroup, ...]
    suites: tuple[Suite, ...]
    sheets: tuple[Sheet, ...]
    photos: tuple[Line, ...]
    other: tuple[Block, ...]
