"""What an expression of ours stands for, as far as TensorRT is concerned."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.tensorrt_api.signatures import Signature

_MANY = {"list", "tuple", "Iterator", "Iterable", "Sequence", "deque"}
_MAPPINGS = {"Mapping", "dict", "OrderedDict"}


@dataclass(frozen=True)
class Module:
    """TensorRT's module."""


@dataclass(frozen=True)
class Class:
    """A class of the module."""

    cls: type


@dataclass(frozen=True)
class Instance:
    """An object of a class of the module."""

    cls: type


@dataclass(frozen=True)
class Function:
    """A function of the module, or a method; one that is taken of a class wants ``self`` too."""

    name: str
    overloads: tuple[Signature, ...]
    unbound: bool = False


@dataclass(frozen=True)
class OwnFunction:
    """A function of ours, with what it returns."""

    returns: Value


@dataclass(frozen=True)
class MemberName:
    """The name of a member of an enumeration, which a string may be compared with."""

    cls: type


@dataclass(frozen=True)
class Many:
    """A container of such things."""

    one: Value


@dataclass(frozen=True)
class Items:
    """A tuple of different things."""

    parts: tuple[Value, ...]


Value = Module | Class | Instance | Function | OwnFunction | MemberName | Many | Items | None


def instance(module: Any, path: str) -> Value:
    """Return an object of a class that is named by its path, with or without its module's."""
    parts = path.split(".")
    for start in range(len(parts)):
        found = module
        for part in parts[start:]:
            found = getattr(found, part, None)
        if isinstance(found, type):
            return Instance(found)
    return None


def element(value: Value) -> Value:
    """Return what a container holds."""
    if isinstance(value, Many):
        return value.one
    if isinstance(value, Items):
        known = (part for part in value.parts if part is not None)
        return next(known, None)
    return None


def strings(tree: ast.Module) -> dict[str, tuple[str, ...]]:
    """Return a module's constants that are tuples, or keys of dicts, of strings."""
    found = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.Assign) and isinstance(target, ast.Name):
            found[target.id] = texts(node.value)
    return found


def unnamed(module: Any, path: str, named: Sequence[str], where: str) -> list[str]:
    """Return a problem for each text that names no member of an enumeration the module has."""
    found = instance(module, path)
    if not isinstance(found, Instance):
        return []
    there = members(found.cls)
    return [f"{where}: {path} has no member {text!r}" for text in named if text not in there]


def members(cls: Any) -> Mapping[str, Any]:
    """Return the members of an enumeration by name."""
    there: Mapping[str, Any] = cls.__members__
    return there


def texts(node: ast.expr) -> tuple[str, ...]:
    """Return the strings that an expression lists: itself, of a tuple, the keys of a dict."""
    given: Sequence[ast.expr | None] = [node]
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        given = node.elts
    elif isinstance(node, ast.Dict):
        given = node.keys
    constants = [one.value for one in given if isinstance(one, ast.Constant)]
    return tuple(text for text in constants if isinstance(text, str))


class Ours:
    """What functions, properties and attributes of ours have to do with TensorRT.

    Annotations tell at once; what is passed to a parameter and kept in a private attribute is noted
    while the source is read.

    Attributes
    ----------
    attributes, functions : dict
        Name → what it gives, and what a call of it gives.
    parameters : dict
        Function's or class's name and parameter's → what is passed.
    unmade : set of str
        Classes whose only calls stand behind a probe that the module denies.
    called : dict
        Definition → the name it is called by: that of the class for ``__init__``.
    features : dict
        Field of ``Features`` → the expression that finds it out.
    """

    def __init__(self, module: Any, trees: Iterable[ast.Module]) -> None:
        self._module = module
        self.attributes: dict[str, Value] = {}
        self.functions: dict[str, Value] = {}
        self.features: dict[str, ast.expr] = {}
        self.parameters: dict[tuple[str, str], Value] = {}
        self.called: dict[ast.FunctionDef, str] = {}
        self.unmade: set[str] = set()
        self._made: set[str] = set()
        self._makeable: set[str] = set()
        self._classes: set[str] = set()
        for tree in trees:
            for node in ast.walk(tree):
                self._note(node)

    def begin(self) -> tuple[int, set[str]]:
        """Begin to read all anew; return what is known so far."""
        if self._made:
            self.unmade = (self._classes & self._makeable) - self._made
        self._made = set()
        return len(self.parameters) + len(self.attributes), self.unmade

    def passed(self, name: str, given: Sequence[Value], named: Mapping[str, Value]) -> None:
        """Note what a call passes to a function of ours, if there is one of that name alone."""
        self._made.add(name)
        definitions = [node for node, called in self.called.items() if called == name]
        if len(definitions) != 1:
            return
        parameters = [one.arg for one in definitions[0].args.args if one.arg != "self"]
        for parameter, value in [*zip(parameters, given, strict=False), *named.items()]:
            if isinstance(value, Class | Instance | Many):
                self.parameters.setdefault((name, parameter), value)

    def _note(self, node: ast.AST) -> None:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            self._makeable.add(node.func.id)
        if isinstance(node, ast.ClassDef):
            self._classes.add(node.name)
            own = [one for one in node.body if isinstance(one, ast.FunctionDef)]
            self.called |= {one: node.name for one in own if one.name == "__init__"}
        if isinstance(node, ast.FunctionDef):
            self.called.setdefault(node, node.name)
            returned = self.annotated(node.returns)
            kinds = {ast.unparse(one).split(".")[-1] for one in node.decorator_list}
            if returned is not None and kinds & {"property", "cached_property"}:
                self.attributes[node.name] = returned
            elif returned is not None:
                self.functions[node.name] = OwnFunction(returned)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
            found = self.annotated(node.annotation)
            if found is not None:
                self.attributes[node.target.attr] = found
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "Features":
            self.features = {one.arg: one.value for one in node.keywords if one.arg}

    def annotated(self, node: ast.expr | None) -> Value:
        """Return what an annotation names: ``trt.ILayer``, ``trt.ILayer | None``, a list of it."""
        found: Value = None
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            found = self.annotated(ast.parse(node.value, mode="eval").body)
        elif isinstance(node, ast.Attribute) and ast.unparse(node).startswith("trt."):
            found = instance(self._module, ast.unparse(node).removeprefix("trt."))
        elif isinstance(node, ast.BinOp):
            found = self.annotated(node.left) or self.annotated(node.right)
        elif isinstance(node, ast.Tuple):
            found = items([self.annotated(one) for one in node.elts])
        elif isinstance(node, ast.Subscript):
            found = self.annotated(node.slice)
            outer = ast.unparse(node.value).split(".")[-1]
            if outer in _MAPPINGS and isinstance(found, Items):
                found = Many(found.parts[-1])
            elif found is not None and outer in _MANY and not isinstance(found, Items):
                found = Many(found)
        return found


def items(parts: Sequence[Value]) -> Value:
    """Return a tuple of values; None if nothing is known of any of them."""
    return Items(tuple(parts)) if any(part is not None for part in parts) else None
