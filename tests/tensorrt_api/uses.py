"""What our source asks of a TensorRT module, held against that module.

The source is read, not run. What a name stands for is followed from the module, from annotations
(``trt.ICudaEngine``) and from the types that pybind11's docstrings give, through assignments,
calls, loops and parameters. A condition that probes the module (``hasattr``, ``library.features``)
is decided as the module decides it: what stands behind it is held where the module has it, and
nowhere else. So is a class of ours that is made behind such a condition only.
"""

from __future__ import annotations

import ast
from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import Any

from tests.tensorrt_api.expressions import Expressions, Names
from tests.tensorrt_api.holding import Held
from tests.tensorrt_api.values import Class, Instance, Ours, element


def hold(module: Any, sources: Mapping[str, str], own_names: frozenset[str]) -> Held:
    """Hold every use of a module's classes, methods, keywords and enum members against it.

    Parameters
    ----------
    module : module
        TensorRT's bindings, or what stands for them in a test.
    sources : mapping
        File's name → Python.
    own_names : frozenset of str
        Attributes that objects of ours and of Python's own have. An attribute of the module's
        objects that is none of them must be on an object whose class the reader knows.
    """
    trees = {name: ast.parse(text) for name, text in sources.items()}
    ours = Ours(module, trees.values())
    known = ours.begin()
    while True:
        held = Held()
        for name, tree in trees.items():
            reader = _Statements(Expressions(module, tree, name, ours, own_names, held))
            reader.block(tree.body, ChainMap())
        # What is passed and kept somewhere is known elsewhere the next time.
        before, known = known, ours.begin()
        if known == before:
            return held


class _Statements:
    """Reads the statements of one file in turn."""

    def __init__(self, expressions: Expressions) -> None:
        self._read = expressions

    def block(self, body: Sequence[ast.stmt], names: Names) -> bool:
        """Read statements up to one that leaves the block; return whether there is one."""
        return any(self._statement(statement, names) for statement in body)

    def _statement(self, node: ast.stmt, names: Names) -> bool:
        read = getattr(self, f"_{type(node).__name__.lower()}", self._parts)
        left: bool = read(node, names)
        return left

    def _if(self, node: ast.If, names: Names) -> bool:
        decided = self._read.decided(node.test, names)
        if decided is not None:
            return self.block(node.body if decided else node.orelse, names)
        self._read.value(node.test, names)
        self.block(node.body, names)
        self.block(node.orelse, names)
        return False

    def _functiondef(self, node: ast.FunctionDef, names: Names) -> bool:
        names[node.name] = self._read.ours.functions.get(node.name)
        parameters = (*node.args.args, *node.args.kwonlyargs)
        ours = self._read.ours
        inner = {
            one.arg: ours.annotated(one.annotation)
            or ours.parameters.get((ours.called[node], one.arg))
            for one in parameters
        }
        self.block(node.body, names.new_child(inner))
        return False

    def _classdef(self, node: ast.ClassDef, names: Names) -> bool:
        """Read a class; a method of a subclass of TensorRT's must be one that TensorRT calls."""
        if node.name in self._read.ours.unmade:
            return False
        bases = [self._read.value(base, names) for base in node.bases]
        for base in [base for base in bases if isinstance(base, Class)]:
            for method in [one for one in node.body if isinstance(one, ast.FunctionDef)]:
                if not method.name.startswith("_"):
                    called = self._read.attribute(Instance(base.cls), method.name, method)
                    self._read.check(called, len(method.args.args) - 1, (), method)
        self.block(node.body, names.new_child())
        return False

    def _assign(self, node: ast.Assign, names: Names) -> bool:
        value = self._read.value(node.value, names)
        for target in node.targets:
            self._read.assign(target, value, names)
        return False

    def _annassign(self, node: ast.AnnAssign, names: Names) -> bool:
        value = None if node.value is None else self._read.value(node.value, names)
        known = self._read.ours.annotated(node.annotation) or value
        self._read.assign(node.target, known, names)
        return False

    def _for(self, node: ast.For, names: Names) -> bool:
        self._read.assign(node.target, element(self._read.value(node.iter, names)), names)
        self.block(node.body, names)
        self.block(node.orelse, names)
        return False

    def _while(self, node: ast.While, names: Names) -> bool:
        self._read.value(node.test, names)
        self.block(node.body, names)
        self.block(node.orelse, names)
        return False

    def _with(self, node: ast.With, names: Names) -> bool:
        for item in node.items:
            value = self._read.value(item.context_expr, names)
            if item.optional_vars is not None:
                self._read.assign(item.optional_vars, value, names)
        return self.block(node.body, names)

    def _try(self, node: ast.Try, names: Names) -> bool:
        self.block(node.body, names)
        for handler in node.handlers:
            self.block(handler.body, names)
        self.block(node.orelse, names)
        self.block(node.finalbody, names)
        return False

    def _parts(self, node: ast.stmt, names: Names) -> bool:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self._read.value(child, names)
        return isinstance(node, ast.Return | ast.Raise | ast.Continue | ast.Break)
