"""Reads expressions: what they stand for, and whether the module has what they use."""

from __future__ import annotations

import ast
from collections import ChainMap
from collections.abc import Sequence
from typing import Any

from tests.tensorrt_api.holding import Holding
from tests.tensorrt_api.signatures import signatures
from tests.tensorrt_api.values import (
    Class,
    Function,
    Instance,
    Items,
    Many,
    MemberName,
    Module,
    OwnFunction,
    Value,
    element,
    items,
    members,
    texts,
)

Names = ChainMap[str, Value]
"""What is known of the names at a place of the source."""

_PASSING = {"list", "tuple", "sorted", "reversed", "iter", "set"}
"""Builtins that hold what they are given."""

_TAKING_ONE = {"get", "pop", "popleft"}
"""Methods of containers that give an element."""


class Expressions(Holding):
    """Reads the expressions of one file."""

    def value(self, node: ast.expr, names: Names) -> Value:
        """Return what an expression stands for, having held every use in it."""
        read = getattr(self, f"_of_{type(node).__name__.lower()}", self._of_parts)
        found: Value = read(node, names)
        return found

    def assign(self, target: ast.expr, value: Value, names: Names) -> None:
        """Note what a target stands for now; an attribute of TensorRT's must be one to set."""
        if isinstance(target, ast.Name):
            names[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            parts = value.parts if isinstance(value, Items) else ()
            for index, one in enumerate(target.elts):
                self.assign(one, parts[index] if index < len(parts) else element(value), names)
        elif isinstance(target, ast.Attribute) and target.attr == "__class__":
            # The known way to have a layer of the class that the binding does not return.
            if isinstance(target.value, ast.Name) and isinstance(value, Class):
                names[target.value.id] = Instance(value.cls)
        elif isinstance(target, ast.Attribute):
            owner = self.value(target.value, names)
            if isinstance(owner, Instance):
                self.settable(owner, target)
            elif owner is None:
                self.distinguish(target)
                if target.attr.startswith("_") and isinstance(value, Instance | Many):
                    self.ours.attributes.setdefault(target.attr, value)
        else:
            self.value(target, names)

    def decided(self, node: ast.expr, names: Names) -> bool | None:
        """Return what a condition is with this module; None where the module does not decide."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.decided(node.operand, names)
            return None if inner is None else not inner
        if isinstance(node, ast.BoolOp):
            parts = [self.decided(one, names) for one in node.values]
            short = isinstance(node.op, ast.Or)
            if short in parts:
                return short
            return None if None in parts and not self._is_feature(node) else not short
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("features"):
            feature = self.ours.features.get(node.attr)
            config = getattr(self.module, "IBuilderConfig", None)
            known: Value = Class(config) if isinstance(config, type) else None
            return None if feature is None else self.decided(feature, ChainMap({"config": known}))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "hasattr":
            return self._probed(node, names)
        return None

    # Kinds of expressions

    def _of_name(self, node: ast.Name, names: Names) -> Value:
        if node.id == "module" and names.get(node.id) is None:
            return Module()
        return names[node.id] if node.id in names else self.ours.functions.get(node.id)

    def _of_attribute(self, node: ast.Attribute, names: Names) -> Value:
        owner = self.value(node.value, names)
        if isinstance(owner, Many) and node.attr in _TAKING_ONE:
            return OwnFunction(owner.one)
        if isinstance(owner, Many) and node.attr == "values":
            return OwnFunction(owner)
        if owner is not None:
            return self.attribute(owner, node.attr, node)
        if node.attr == "module":
            return Module()
        ours = self.ours.attributes.get(node.attr) or self.ours.functions.get(node.attr)
        if ours is None:
            self.distinguish(node)
        return ours

    def _of_call(self, node: ast.Call, names: Names) -> Value:
        called = node.func.id if isinstance(node.func, ast.Name) else ""
        if called == "hasattr":
            self._probed(node, names)
            return None
        given = [self.value(one, names) for one in node.args]
        named = {one.arg or "**": self.value(one.value, names) for one in node.keywords}
        if called == "cast":
            # What is cast to Any has attributes of ours.
            return self.ours.annotated(node.args[0])
        if called and called not in names:
            passed = self._passed(called, given)
            if passed is not None:
                return passed
        function = self.value(node.func, names)
        if not isinstance(function, Class | Function):
            of = node.func.attr if isinstance(node.func, ast.Attribute) else called
            self.ours.passed(of, given, named)
        return self._called(function, node, len(given))

    def _called(self, function: Value, node: ast.Call, count: int) -> Value:
        keywords = tuple(one.arg for one in node.keywords if one.arg)
        if isinstance(function, OwnFunction):
            return function.returns
        if isinstance(function, Class):
            init: Any = function.cls.__init__  # type: ignore[misc]  # of whatever class it is
            made = Function(function.cls.__name__, signatures(init.__doc__, "__init__"))
            self.check(made, count, keywords, node)
            return Instance(function.cls)
        if isinstance(function, Function):
            if not any(isinstance(one, ast.Starred) for one in node.args):
                self.check(function, count - function.unbound, keywords, node)
            return self.returned(function.overloads)
        return None

    def _of_compare(self, node: ast.Compare, names: Names) -> Value:
        """Hold strings that a member's name is compared with."""
        sides = [node.left, *node.comparators]
        values = [self.value(one, names) for one in sides]
        for cls in [one.cls for one in values if isinstance(one, MemberName)]:
            for side in sides:
                constant = self.strings.get(side.id, ()) if isinstance(side, ast.Name) else ()
                for text in constant or texts(side):
                    if text in members(cls):
                        self.held.uses.add(f"{cls.__name__}.{text}")
                    else:
                        self.problem(side, f"{cls.__name__} has no member {text!r}")
        return None

    def _of_boolop(self, node: ast.BoolOp, names: Names) -> Value:
        return _first([self.value(one, names) for one in node.values])

    def _of_ifexp(self, node: ast.IfExp, names: Names) -> Value:
        decided = self.decided(node.test, names)
        if decided is not None:
            return self.value(node.body if decided else node.orelse, names)
        self.value(node.test, names)
        return _first([self.value(node.body, names), self.value(node.orelse, names)])

    def _of_namedexpr(self, node: ast.NamedExpr, names: Names) -> Value:
        value = self.value(node.value, names)
        self.assign(node.target, value, names)
        return value

    def _of_subscript(self, node: ast.Subscript, names: Names) -> Value:
        self.value(node.slice, names)
        return element(self.value(node.value, names))

    def _of_tuple(self, node: ast.Tuple | ast.List | ast.Set, names: Names) -> Value:
        return items([self.value(one, names) for one in node.elts])

    _of_list = _of_set = _of_tuple

    def _of_listcomp(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, names: Names
    ) -> Value:
        inner = names.new_child()
        for loop in node.generators:
            self.assign(loop.target, element(self.value(loop.iter, inner)), inner)
            for condition in loop.ifs:
                self.value(condition, inner)
        if isinstance(node, ast.DictComp):
            self.value(node.key, inner)
        one = self.value(node.value if isinstance(node, ast.DictComp) else node.elt, inner)
        return None if one is None else Many(one)

    _of_setcomp = _of_generatorexp = _of_dictcomp = _of_listcomp

    def _of_lambda(self, node: ast.Lambda, names: Names) -> Value:
        unknown = dict.fromkeys(one.arg for one in node.args.args)
        self.value(node.body, names.new_child(unknown))
        return None

    def _of_parts(self, node: ast.AST, names: Names) -> Value:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child, names)
        return None

    # What expressions need

    def _passed(self, called: str, given: Sequence[Value]) -> Value:
        """Return what a builtin gives, by what it is given."""
        if called == "zip":
            return Many(Items(tuple(element(one) for one in given)))
        first = given[0] if given else None
        if called == "enumerate":
            return Many(Items((None, element(first))))
        if called == "next":
            return element(first)
        if called in _PASSING or (called == "str" and isinstance(first, MemberName)):
            return first
        return None

    def _is_feature(self, node: ast.expr) -> bool:
        """Say whether a condition is what finds a feature: what the backend is does not matter."""
        return node in self.ours.features.values()

    def _probed(self, node: ast.Call, names: Names) -> bool | None:
        asked = node.args[1]
        owner, of = self.holder(self.value(node.args[0], names))
        if not isinstance(asked, ast.Constant) or not isinstance(asked.value, str):
            return None
        if owner is not None:
            found = hasattr(owner, asked.value)
            self.held.probes[of + asked.value] = found
            return found
        if asked.value in self.distinct:
            self.problem(node, f"{asked.value} is asked for of something unknown")
        return None


def _first(values: Sequence[Value]) -> Value:
    return next((value for value in values if value is not None), None)
