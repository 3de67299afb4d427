"""What the module has and what it has not, of what is used."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.tensorrt_api.signatures import Signature, signatures
from tests.tensorrt_api.values import (
    Class,
    Function,
    Instance,
    Many,
    MemberName,
    Module,
    Ours,
    Value,
    instance,
    strings,
)


@dataclass
class Held:
    """What came of it.

    Attributes
    ----------
    problems : list of str
        Uses that the module does not have, each with its place.
    uses : set of str
        What is used and is there: ``IBuilderConfig.set_timing_cache(ignore_mismatch=)``.
    probes : dict
        What is asked for by ``hasattr`` → whether the module has it.
    """

    problems: list[str] = field(default_factory=list)
    uses: set[str] = field(default_factory=set)
    probes: dict[str, bool] = field(default_factory=dict)


class Holding:
    """Holds the uses of one file.

    Parameters
    ----------
    module : module
        TensorRT's.
    tree : ast.Module
        The file.
    file : str
        Its name.
    ours : Ours
        What all files annotate.
    own_names : frozenset of str
        Attributes that objects which are not TensorRT's have.
    held : Held
        Takes what is found.
    """

    def __init__(
        self,
        module: Any,
        tree: ast.Module,
        file: str,
        ours: Ours,
        own_names: frozenset[str],
        held: Held,
    ) -> None:
        self.module = module
        self.strings = strings(tree)
        self._file = file
        self.ours = ours
        self.held = held
        classes = [one for one in vars(module).values() if isinstance(one, type)]
        theirs = {name for cls in classes for name in dir(cls) if not name.startswith("_")}
        self.distinct = theirs - own_names

    def check(
        self, function: Value, positional: int, keywords: tuple[str, ...], node: ast.AST
    ) -> None:
        """Hold a call against the overloads of what is called."""
        if not isinstance(function, Function):
            return
        reasons = [one.why_not(positional, keywords) for one in function.overloads]
        if all(reasons):
            reason = reasons[0] if reasons else "tells no signature"
            self.problem(node, f"{function.name} {reason}")
        else:
            given = ", ".join(f"{keyword}=" for keyword in keywords)
            self.held.uses.add(f"{function.name}({given})")

    def attribute(self, owner: Value, name: str, node: ast.AST) -> Value:
        """Return an attribute of something of the module's, which must have it."""
        holder, of = self.holder(owner)
        if holder is None:
            return None
        if not hasattr(holder, name):
            self.problem(node, f"{of or 'the module '}{name} is not there")
            return None
        if not name.startswith("__"):
            self.held.uses.add(of + name)
        found = getattr(holder, name)
        value: Value = None
        if isinstance(found, type):
            value = Class(found)
        elif isinstance(found, property) and name == "name" and hasattr(holder, "__members__"):
            value = MemberName(holder)
        elif isinstance(found, property):
            value = self.returned(signatures(getattr(found.fget, "__doc__", None)))
        elif callable(found):
            overloads = signatures(found.__doc__, name)
            value = Function(of + name, overloads, unbound=isinstance(owner, Class))
        elif isinstance(holder, type) and isinstance(found, holder):
            value = Instance(holder)  # a member of an enumeration
        return value

    def holder(self, owner: Value) -> tuple[Any, str]:
        """Return what has something's attributes, and how it is called in front of them."""
        if isinstance(owner, Module):
            return self.module, ""
        if isinstance(owner, Class | Instance):
            return owner.cls, f"{owner.cls.__name__}."
        return None, ""

    def returned(self, told: Sequence[Signature]) -> Value:
        for signature in told:
            for path in re.findall(r"[\w.]+", signature.returns):
                found = instance(self.module, path)
                if found is not None:
                    many = signature.returns.lower().startswith(("list", "tuple", "iterator"))
                    return Many(found) if many else found
        return None

    def settable(self, owner: Instance, node: ast.Attribute) -> None:
        found = getattr(owner.cls, node.attr, None)
        name = f"{owner.cls.__name__}.{node.attr}"
        if not isinstance(found, property):
            self.problem(node, f"{name} is not there")
        elif found.fset is None:
            self.problem(node, f"{name} cannot be set")
        else:
            self.held.uses.add(f"{name} =")

    def distinguish(self, node: ast.Attribute) -> None:
        if node.attr in self.distinct:
            self.problem(
                node,
                f"{node.attr} is a name of TensorRT's, on something whose class the check does not "
                "know: annotate it as trt.… where it comes from",
            )

    def problem(self, node: ast.AST, text: str) -> None:
        self.held.problems.append(f"{self._file}:{getattr(node, 'lineno', 0)}: {text}")
