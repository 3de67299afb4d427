"""The reader, over a small module that tells signatures as pybind11 does."""

from __future__ import annotations

from types import ModuleType
from typing import Any, ClassVar

import pytest

from tests.tensorrt_api.holding import Held
from tests.tensorrt_api.uses import hold
from tests.tensorrt_api.values import unnamed


class Kind:
    """An enumeration as pybind11 makes one."""

    __members__: ClassVar[dict[str, int]] = {"CONVOLUTION": 0, "SHUFFLE": 1}

    @property
    def name(self) -> str:
        raise NotImplementedError


class Logger:
    def __init__(self) -> None:
        """__init__(self: fake.Logger) -> None"""

    def log(self, text: str) -> None:
        """log(self: fake.Logger, text: str) -> None"""


class Layer:
    @property
    def kind(self) -> Kind:
        """(arg0: fake.fake.Layer) -> fake.fake.Kind"""
        raise NotImplementedError


class Network:
    def get_layer(self, index: int) -> Layer:
        """get_layer(self: fake.Network, index: int) -> fake.fake.Layer"""
        raise NotImplementedError


class Builder:
    def __init__(self, logger: Logger) -> None:
        """__init__(self: fake.Builder, logger: fake.Logger) -> None"""

    def network(self, *, strong: bool = False) -> Network:
        """network(self: fake.Builder, strong: bool = False) -> fake.fake.Network"""
        raise NotImplementedError

    @property
    def level(self) -> int:
        """(self: fake.Builder) -> int"""
        return 0

    @level.setter
    def level(self, value: int) -> None: ...

    @property
    def version(self) -> str:
        """(self: fake.Builder) -> str"""
        return ""


def fake(**other: Any) -> ModuleType:
    module = ModuleType("fake")
    for cls in (Kind, Logger, Layer, Network, Builder):
        setattr(module, cls.__name__, cls)
    vars(module).update(other)
    return module


def held(source: str, **other: Any) -> Held:
    return hold(fake(**other), {"ours.py": source}, frozenset({"name", "append"}))


RIGHT = """
KINDS = ("CONVOLUTION", "SHUFFLE")

def make(library) -> trt.Builder:
    class Ours(library.module.Logger):
        def __init__(self):
            library.module.Logger.__init__(self)
        def log(self, text: str) -> None: ...
    builder: trt.Builder = library.module.Builder(Ours())
    builder.level = 3
    return builder

def layers(network: trt.Network) -> Iterator[trt.Layer]:
    return (network.get_layer(index) for index in range(3))

def count(library):
    builder = make(library)
    some = list(layers(builder.network(strong=True)))
    makers = {layer.name: layer for layer in some if hasattr(library.module, "Kind")}
    found = [one for one, index in zip(some, range(3)) if one.kind.name in KINDS]
    return makers.get("x").kind.name == "SHUFFLE", found
"""


def test_what_is_there_holds() -> None:
    found = held(RIGHT.replace("layer.name", "str(layer)"))
    assert not found.problems
    assert found.uses >= {
        "Builder()",
        "Builder.level =",
        "Builder.network(strong=)",
        "Kind.CONVOLUTION",
        "Layer.kind",
        "Logger.__init__()",
        "Logger.log()",
        "Network.get_layer()",
    }
    assert found.probes == {"Kind": True}


WRONG = {
    "a keyword": ("strong=True", "strongly=True", "Builder.network takes no keyword 'strongly'"),
    "a method": ("get_layer(", "layer_at(", "Network.layer_at is not there"),
    "too many arguments": ("get_layer(index)", "get_layer(index, 1)", "takes 1 arguments, not 2"),
    "an argument that is missing": ("Builder(Ours())", "Builder()", "Builder needs 'logger'"),
    "a class": ("library.module.Builder(", "library.module.Maker(", "the module Maker is not"),
    "an attribute": ("one.kind", "one.type", "Layer.type is not there"),
    "an attribute that is set": ("builder.level", "builder.depth", "Builder.depth is not there"),
    "one that cannot be set": ("builder.level", "builder.version", "version cannot be set"),
    "a member in a constant": ('"CONVOLUTION", ', '"CONV", ', "Kind has no member 'CONV'"),
    "a member that is compared with": ('== "SHUFFLE"', '== "SLICE"', "no member 'SLICE'"),
    "a method that TensorRT calls": ("def log(", "def tell(", "Logger.tell is not there"),
    "its arguments": ("def log(self, text: str)", "def log(self)", "Logger.log needs 'text'"),
}


@pytest.mark.parametrize(("right", "wrong", "told"), WRONG.values(), ids=WRONG)
def test_what_is_not_there_is_told(right: str, wrong: str, told: str) -> None:
    source = RIGHT.replace("layer.name", "str(layer)")
    assert right in source
    (problem,) = held(source.replace(right, wrong)).problems
    assert problem.startswith("ours.py:")
    assert told in problem


def test_an_object_of_unknown_class_must_be_named() -> None:
    (problem,) = held("def count(given):\n    return given.get_layer(0)\n").problems
    assert problem.startswith("ours.py:2: get_layer is a name of TensorRT's, on something whose")
    assert not held("def count(given: trt.Network):\n    return given.get_layer(0)\n").problems
    assert not held("def count(given):\n    return given.append(0)\n").problems


KEPT = """
class Holder:
    def use(self):
        return self._network.get_layer(at=1)

    def __init__(self, builder: trt.Builder):
        self._network: Any = builder.network()
"""


def test_what_a_private_attribute_holds_is_known() -> None:
    assert held(KEPT).problems == ["ours.py:4: Network.get_layer takes no keyword 'at'"]
    assert not held(KEPT.replace("at=", "index=")).problems


PASSED = """
class Holder:
    def __init__(self, network: Any, *, one: Any):
        network.get_layer(at=1)
        self.use(one)

    def use(self, layer):
        return layer.type

def start(builder: trt.Builder):
    network = builder.network()
    return Holder(network, one=network.get_layer(0))
"""


def test_what_is_passed_is_known_where_it_arrives() -> None:
    assert held(PASSED).problems == [
        "ours.py:4: Network.get_layer takes no keyword 'at'",
        "ours.py:8: Layer.type is not there",
    ]
    two = PASSED + "\ndef use(layer): ...\n"
    assert len(held(two).problems) == 1  # which of the two is called is not known


MADE = """
class Refitter:
    def __init__(self, builder: trt.Builder):
        self._builder = builder

    def use(self):
        self._builder.refit(weight=1)

def start(builder: trt.Builder):
    return Refitter(builder) if hasattr(builder, "refit") else None
"""


def test_a_class_that_is_made_where_the_module_has_it_is_held_there() -> None:
    assert not held(MADE).problems
    assert held(MADE, Builder=Refitting).problems == [
        "ours.py:7: Refitting.refit takes no keyword 'weight'"
    ]
    assert held(MADE.replace("else None", "else Refitter(1)")).problems


PROBED = """
def one(builder: trt.Builder):
    asked: Any = builder
    if hasattr(asked, "refit"):
        return asked.refit(weights=1)
    return asked.level

def other(builder: trt.Builder):
    if not hasattr(builder, "refit"):
        return None
    return builder.refit(1)

def third(library, builder: trt.Builder):
    return builder.refit() if library.features.refits else builder.level

def describe(module):
    return Features(refits=hasattr(module.Builder, "refit"))
"""


class Refitting(Builder):
    def refit(self, weights: int) -> None:
        """refit(self: fake.Builder, weights: int) -> None"""


def test_what_a_probe_denies_is_not_held() -> None:
    found = held(PROBED)
    assert not found.problems
    assert found.probes == {"Builder.refit": False}


def test_what_a_probe_finds_is_held() -> None:
    found = held(PROBED, Builder=Refitting)
    assert found.probes == {"Refitting.refit": True}
    assert found.problems == ["ours.py:14: Refitting.refit needs 'weights'"]
    assert "Refitting.refit(weights=)" in found.uses
    assert "Refitting.level" not in found.uses


def test_a_probe_of_something_unknown_is_told() -> None:
    source = "def one(given):\n    return hasattr(given, 'get_layer')\n"
    assert held(source).problems == ["ours.py:2: get_layer is asked for of something unknown"]


def test_constants_that_name_members_are_held() -> None:
    assert unnamed(fake(), "Kind", ("SHUFFLE", "CAST"), "ours.py: KINDS") == [
        "ours.py: KINDS: Kind has no member 'CAST'"
    ]
    assert not unnamed(fake(), "NotHere", ("CAST",), "ours.py: KINDS")
