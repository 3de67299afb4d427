from __future__ import annotations

import pytest

from tests.tensorrt_api.signatures import signatures

OVERLOADED = """create(*args, **kwargs)
Overloaded function.

1. create(self: m.Engine, strategy: m.Strategy = <Strategy.STATIC: 0>) -> m.Context


    Make a context.


2. create(self: m.Engine, config: m.Config) -> m.Context
"""


def test_overloads_and_defaults_are_told() -> None:
    first, second = signatures(OVERLOADED, "create")
    assert first.parameters == (("strategy", True),)
    assert second.parameters == (("config", False),)
    assert first.returns == second.returns == "m.Context"


@pytest.mark.parametrize(
    ("doc", "name", "parameters", "returns"),
    [
        ("(arg0: m.Engine) -> int", "", (), "int"),
        ("version() -> int", "version", (), "int"),
        (
            "each(self: m.S, call: Callable[[int, str], None], more: tuple[int, int] = (1, 2))",
            "each",
            (("call", False), ("more", True)),
            "",
        ),
        (
            "set(arg0: m.S, arg1: int) -> None\n\n    f(x, y) -> z",
            "set",
            (("arg1", False),),
            "None",
        ),
    ],
)
def test_a_signature_is_read(
    doc: str, name: str, parameters: tuple[tuple[str, bool], ...], returns: str
) -> None:
    (found,) = signatures(doc, name)
    assert (found.parameters, found.returns) == (parameters, returns)


@pytest.mark.parametrize("doc", [None, "", "Makes things.", "made(self: m.S) -> int"])
def test_a_doc_without_the_signature_tells_none(doc: str | None) -> None:
    assert not signatures(doc, "make")


def test_a_call_that_does_not_fit_says_why() -> None:
    (found,) = signatures("f(self: m.S, a: int, b: int, c: int = 0) -> None", "f")
    assert found.why_not(2, ("c",)) == ""
    assert found.why_not(1, ("b",)) == ""
    assert found.why_not(4, ()) == "takes 3 arguments, not 4"
    assert found.why_not(2, ("d",)) == "takes no keyword 'd'"
    assert found.why_not(1, ("a", "b")) == "takes no keyword 'a'"
    assert found.why_not(1, ()) == "needs 'b'"
