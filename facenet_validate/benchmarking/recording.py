"""Makes sessions of measurements and records them in the baselines."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from facenet_validate.base.errors import BaselineError
from facenet_validate.base.machine import affinity_text
from facenet_validate.benchmarking.baselines import BaselineStore
from facenet_validate.benchmarking.measure import Timed
from facenet_validate.benchmarking.paired_ratio import PairedRatio
from facenet_validate.benchmarking.sessions import Identity, Session, newest_epoch, utc_now
from facenet_validate.benchmarking.stored_gate import MINIMUM_SESSIONS
from facenet_validate.benchmarking.timing import PROTOCOL
from facenet_validate.engines.protocol import Engine, Scope


def identity_of(engine: Engine, target: str, batch: int, scope: Scope) -> Identity:
    """Return the identity of an engine's sessions: only equal identities are compared."""
    return Identity(
        device=engine.info.device,
        device_details=engine.info.device_details,
        precision=engine.info.precision,
        target=target,
        batch=batch,
        shape=(batch, *(int(side) for side in engine.input.shape[1:])),
        backend=engine.info.backend,
        scope=scope,
        protocol=PROTOCOL,
    )


def make_session(timed: Timed, identity: Identity, provenance: Mapping[str, str]) -> Session:
    """Return the session a measurement would be stored as, in epoch 1 without a reason."""
    return Session(
        recorded_at=utc_now(),
        identity=identity,
        provenance=provenance,
        epoch=1,
        reason="",
        latency_seconds=timed.latency_seconds,
        block_seconds=timed.block_seconds,
        paired_ratio=timed.ratio.ratio if timed.ratio else None,
        paired_interval=_finite_interval(timed.ratio),
    )


def provenance_of(engine: Engine, model_digest: str, folder: Path) -> dict[str, str]:
    """Return the provenance of an engine's sessions: digests, versions, machine and commit."""
    return {
        "model": model_digest,
        "engine": engine.info.digest,
        "options": ", ".join(f"{name}={value}" for name, value in engine.info.options),
        "runtime": engine.info.runtime,
        "affinity": affinity_text(),
        "python": platform.python_version(),
        "numpy": metadata.version("numpy"),
        "facenet_validate": metadata.version("facenet-validate"),
        "kernel": platform.release(),
        "commit": _commit(folder),
    }


@dataclass(frozen=True)
class Measured:
    """A session that may be stored.

    Attributes
    ----------
    session : Session
        What was measured.
    disturbance : str
        What disturbed it every time it was measured; empty if nothing did.
    """

    session: Session
    disturbance: str


@dataclass(frozen=True)
class Recorded:
    """What became of a session.

    Attributes
    ----------
    about : str
        Its precision and batch, for people.
    text : str
        Where it was recorded, or why it was not.
    failed : bool
        Whether it should have been recorded and could not be.
    """

    about: str
    text: str
    failed: bool = False


def record(
    measured: Sequence[Measured],
    store: BaselineStore,
    *,
    mode: str,
    reason: str,
    refusals: Mapping[str, str],
) -> list[Recorded]:
    """Store a run's sessions, at its end, when every gate is known.

    Parameters
    ----------
    measured : sequence of Measured
        In the order measured.
    store : BaselineStore
        Where they go.
    mode : str
        ``all``, ``missing`` (where an epoch has fewer than five) or ``accept`` (a new epoch).
    reason : str
        Why a new epoch is accepted.
    refusals : mapping of str to str
        Precision → why its sessions may not be recorded; empty or absent if they may.
    """
    found = []
    for one in measured:
        identity = one.session.identity
        about = f"{identity.precision}, batch {identity.batch}"
        refusal = refusals.get(identity.precision, "")
        if not refusal and one.disturbance:
            refusal = f"disturbed: {one.disturbance}"
        try:
            text = f"not recorded: {refusal}" if refusal else _store(one, store, mode, reason)
        except BaselineError as error:
            found.append(Recorded(about, f"not recorded: {error}", failed=True))
            continue
        found.append(Recorded(about, text))
    return found


def _store(one: Measured, store: BaselineStore, mode: str, reason: str) -> str:
    identity = one.session.identity
    known = [s for s in store.load(identity) if s.identity == identity]
    epoch = newest_epoch(known)
    if mode == "missing" and len(epoch) >= MINIMUM_SESSIONS:
        return f"not recorded: {len(epoch)} sessions are stored, which are enough"
    begins = mode == "accept" and bool(epoch)
    number = epoch[-1].epoch + begins if epoch else 1
    path = store.append(replace(one.session, epoch=number, reason=reason))
    where = f"recorded in {path.parent.name}/{path.name}"
    return f"epoch {number} begins; {where}" if begins else where


def _finite_interval(ratio: PairedRatio | None) -> tuple[float, float] | None:
    if ratio is None or not np.isfinite(ratio.interval).all():
        return None
    return ratio.interval


def _commit(folder: Path) -> str:
    try:
        found = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],  # noqa: S607 (git from the PATH)
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return found.stdout.strip() or "unknown"
