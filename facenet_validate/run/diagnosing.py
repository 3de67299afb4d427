"""Finds out why an engine differs where a gate shows that it does: once for each engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from facenet_validate.gates import catalogue
from facenet_validate.gates.verdicts import GateResult, Verdict
from facenet_validate.run.run import Run

if TYPE_CHECKING:
    from facenet_validate.base.vocabulary import Precision
    from facenet_validate.cache import Cache
    from facenet_validate.datasets.faces import AlignedFaces
    from facenet_validate.diagnosis.case import Case
    from facenet_validate.engines.protocol import Engine
    from facenet_validate.run.embedding import Embedder
    from facenet_validate.run.engines import Engines


@dataclass(frozen=True)
class Explanation:
    """What a test tells of why its engine differs.

    Attributes
    ----------
    words : str
        The cause, the evidence and what to do; empty where there is nothing to tell.
    numbers : str
        What was tried and where the nodes part, or why nothing was found out.
    """

    words: str = ""
    numbers: str = ""

    def around(self, *parts: str) -> str:
        """Return a failure's text with the cause above it and the numbers below."""
        return "\n\n".join(part for part in (self.words, *parts, self.numbers) if part)


Explainer = Callable[[Sequence[GateResult]], Explanation]
"""Returns why the engine of a test differs, where these results of its gates ask for it."""


def unexplained(results: Sequence[GateResult]) -> Explanation:
    """Explain nothing."""
    del results
    return Explanation()


class Diagnosing:
    """The diagnoses of one process, one for each engine under test.

    Parameters
    ----------
    run : Run
        Says when to diagnose, and where the report's pictures go.
    record : callable
        Takes the values of a diagnosis for ``results.json``, with the test that runs now.
    """

    def __init__(self, run: Run, record: Callable[[Mapping[str, Any]], None]) -> None:
        self._run = run
        self._record = record
        self._known: dict[str, Explanation] = {}
        self._errors: dict[tuple[str, str], str] = {}

    def explain(
        self, results: Sequence[GateResult], precision: str, case: Callable[[], Case]
    ) -> Explanation:
        """Return why the engine of a precision differs, where its gates ask for it.

        No verdict changes. What goes wrong here becomes a note beside the failure.

        Parameters
        ----------
        results : sequence of GateResult
            The test's.
        precision : str
            The engine's.
        case : callable
            Returns what the diagnosis stands on.

        Returns
        -------
        Explanation
            Empty where nothing asks for one. A diagnosis that is known is told again, without its
            numbers.
        """
        mode, due = self._run.settings.diagnose, [one for one in results if _tells(one)]
        failed = any(one.verdict is Verdict.FAIL for one in due)
        if mode == "off" or not (failed or (mode == "full" and due)):
            return Explanation()
        return self._told(precision, case, failed=failed)

    def explain_error(self, message: str, precision: str, case: Callable[[], Case]) -> str:
        """Return an error's message with the cause above it, where the error is an engine's.

        Parameters
        ----------
        message : str
            What is wrong with the engine's embeddings, so that no gate can judge them.
        precision : str
            The engine's.
        case : callable
            Returns what the diagnosis stands on.
        """
        if self._run.settings.diagnose == "off":
            return message
        # The same each time: an error is told in full only once.
        if (precision, message) not in self._errors:
            told = self._told(precision, case, failed=True).around(message)
            self._errors[precision, message] = told
        return self._errors[precision, message]

    def _told(self, precision: str, case: Callable[[], Case], *, failed: bool) -> Explanation:
        if precision in self._known:
            return replace(self._known[precision], numbers="")
        made, values = self._made(precision, case)
        # Of an engine that passes only a cause or a note is worth telling.
        explains = failed or bool(values.get("cause") or values.get("untold"))
        self._record({"precision": precision, **values, "explains": explains})
        self._known[precision] = made
        return made

    def _made(
        self, precision: str, case: Callable[[], Case]
    ) -> tuple[Explanation, Mapping[str, Any]]:
        try:
            from facenet_validate.diagnosis.diagnosing import diagnose
            from facenet_validate.diagnosis.telling import numbers, values, words
            from facenet_validate.reporting.diagnosis import diagnosis_pictures

            stood_on, full = case(), self._run.settings.diagnose == "full"
            with self._run.progress.stage(f"finding why {precision} differs, step") as report:
                found = diagnose(stood_on, full=full, progress=report)
            pictures = diagnosis_pictures(stood_on, found, self._run.settings.report)
            told = numbers(found)
            if pictures:
                told += f"\npictures in the report's folder: {', '.join(pictures)}"
            return Explanation(words(found), told), {**values(found), "pictures": pictures}
        except Exception as error:  # whatever it is, the failure must be told
            why = " ".join(str(error).split()) or type(error).__name__
            note = f"why it differs could not be found out: {why}"
            return Explanation("", note), {"text": note, "untold": why}


def _tells(result: GateResult) -> bool:
    """Say whether a gate was measured that shows whether the engine is its model."""
    return result.observed is not None and catalogue.row(result.gate).diagnosed


def case_of(
    engine: Engine,
    reference: Engine,
    engines: Engines,
    precision: Precision,
    faces: AlignedFaces,
    embedder: Embedder,
    cache: Cache,
) -> Case:
    """Return what a diagnosis of the engine under test stands on.

    Parameters
    ----------
    engine, reference : Engine
        The engine under test, and what it is compared with.
    engines : Engines
        Their model, and the graph.
    precision : str
        The engine's.
    faces : AlignedFaces
        The evaluation faces.
    embedder : Embedder
        Says which of them moved most, where it has embedded them already.
    cache : Cache
        Where other models may be.
    """
    from facenet_validate.diagnosis.case import Case
    from facenet_validate.diagnosis.sampling import faces_to_try, rows_to_try, worst_first

    expected, found = embedder.at_hand(reference), embedder.at_hand(engine)
    chosen, names = faces_to_try(faces, rows_to_try(len(faces.names), expected, found))
    return worst_first(
        Case(
            engine=engine,
            reference=reference,
            model=engines.model,
            faces=chosen,
            names=names,
            graph=engines.graph(engine, precision),
            cache=cache,
        )
    )
