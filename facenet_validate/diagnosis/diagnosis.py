"""What a diagnosis tells: the cause, what was tried, where the nodes part."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cause:
    """A way in which an engine can differ from its reference.

    Attributes
    ----------
    name : str
        For tables and JSON, as ``colour order``.
    title : str
        What is wrong, a clause for people, as ``red and blue are exchanged``.
    advice : str
        What to do, in a sentence or two.
    alike : tuple of str
        Faults that no embedding tells apart from this one, as clauses.
    """

    name: str
    title: str
    advice: str
    alike: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """What one experiment found: how much of the difference its fault explains.

    Attributes
    ----------
    cause : Cause
        The fault that was imitated on the reference.
    removed : float
        Share of the difference that the imitation removes: 1 - after / before, where each is the
        sum over the faces of the squared distance to the engine's embeddings. 1 is all of it. It is
        below zero where the imitation is further away than the reference.
    cosine_before, cosine_after : float
        Mean row cosine of the engine to the reference, and to the reference with the fault.
    named : bool
        Whether this alone explains the engine: the rule of the experiment holds.
    detail : str
        What was fitted, for people, as ``every row times 0.50``; may be empty.
    """

    cause: Cause
    removed: float
    cosine_before: float
    cosine_after: float
    named: bool
    detail: str = ""


@dataclass(frozen=True)
class NotTried:
    """An experiment that could not be made, and why.

    Attributes
    ----------
    name : str
        Of the cause.
    reason : str
        For people.
    over : bool
        Whether it was left out because the time for experiments was over.
    """

    name: str
    reason: str
    over: bool = False


@dataclass(frozen=True)
class NodeDifference:
    """How far one node's output is from the reference's.

    Attributes
    ----------
    node, kind : str
        Its ONNX name and operation.
    block : str
        The part of the network, as ``block35 3``; empty where it is not known.
    local_sqnr, local_cosine : float or None
        Where the node is fed with the reference's tensors: 10 log10 of signal power over noise
        power, in dB, and the cosine. None where it was not measured.
    sqnr, cosine : float
        Where the whole engine runs: what has come together up to this node.
    """

    node: str
    kind: str
    block: str
    local_sqnr: float | None
    local_cosine: float | None
    sqnr: float
    cosine: float


@dataclass(frozen=True)
class Walk:
    """The nodes of both engines side by side, in topological order.

    Attributes
    ----------
    source : str
        How the tensors were taken, for people.
    nodes : tuple of NodeDifference
        Empty where they cannot be told.
    jump : NodeDifference or None
        The first node at which the difference jumps.
    untold : str
        Why there are no nodes; empty where there are.
    notes : tuple of str
        What else to know, as that marking outputs changes fusion.
    """

    source: str = ""
    nodes: tuple[NodeDifference, ...] = ()
    jump: NodeDifference | None = None
    untold: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """Why an engine differs from its reference, as far as it was found.

    Attributes
    ----------
    cause : Finding or None
        The named cause; None where no known cause explains the difference.
    tried : tuple of Finding
        Every experiment, the one that removes most first.
    not_tried : tuple of NotTried
        Experiments that could not be made.
    walk : Walk or None
        None where the nodes were not walked.
    faces : int
        How many faces the experiments saw.
    worst : tuple of str
        The faces that moved most, worst first.
    """

    cause: Finding | None
    tried: tuple[Finding, ...]
    not_tried: tuple[NotTried, ...]
    walk: Walk | None
    faces: int
    worst: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether no experiment was left out because the time for them was over."""
        return not any(one.over for one in self.not_tried)
