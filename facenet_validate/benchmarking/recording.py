"""A measurement as a session: what it is, where it came from, and whether it is stored."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from facenet_validate.benchmarking.baselines import BaselineStore
from facenet_validate.benchmarking.machine import affinity_text
from facenet_validate.benchmarking.measure import Timed
from facenet_validate.benchmarking.paired_ratio import PairedRatio
from facenet_validate.benchmarking.sessions import Identity, Session, newest_epoch, utc_now
from facenet_validate.benchmarking.stored_gate import MINIMUM_SESSIONS
from facenet_validate.benchmarking.timing import PROTOCOL
from facenet_validate.engines.protocol import Engine


def make_session(
    timed: Timed, engine: Engine, target: str, provenance: Mapping[str, str]
) -> Session:
    """Return the session a measurement would be stored as, in epoch 1 without a reason."""
    return Session(
        recorded_at=utc_now(),
        identity=Identity(
            device=engine.info.device,
            device_details=engine.info.device_details,
            precision=engine.info.precision,
            target=target,
            batch=timed.batch,
            shape=(timed.batch, *(int(side) for side in engine.input.shape[1:])),
            backend=engine.info.backend,
            scope=timed.scope,
            protocol=PROTOCOL,
        ),
        provenance=provenance,
        epoch=1,
        reason="",
        latency_seconds=timed.latency_seconds,
        block_seconds=timed.block_seconds,
        paired_ratio=timed.ratio.ratio if timed.ratio else None,
        paired_interval=_finite_interval(timed.ratio),
    )


def provenance_of(engine: Engine, model_digest: str, folder: Path) -> dict[str, str]:
    """Return what a session is compared across and names when it changed."""
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
class Recording:
    """Whether a session is to be stored.

    Attributes
    ----------
    mode : str or None
        ``all``, ``missing`` or ``accept``; None records nothing.
    reason : str or None
        Why a new epoch is accepted.
    refusal : str
        Why this run may not be recorded; empty if it may.
    """

    mode: str | None
    reason: str | None
    refusal: str

    def store(self, session: Session, store: BaselineStore, slower: str) -> str:
        """Store a session if that was asked for, and say what came of it.

        Parameters
        ----------
        session : Session
            What was measured.
        store : BaselineStore
            Where it goes.
        slower : str
            The stored gates it fails; empty if none. A new epoch is accepted in spite of them.

        Returns
        -------
        str
            Empty if nothing was asked for, or there are sessions enough.
        """
        known = [s for s in store.load(session.identity) if s.identity == session.identity]
        epoch = newest_epoch(known)
        enough = self.mode == "missing" and len(epoch) >= MINIMUM_SESSIONS
        if self.mode is None or enough:
            return ""
        accepts = self.mode == "accept"
        refusal = self.refusal or ("" if accepts or not slower else f"it fails {slower}")
        if refusal:
            return f"not recorded: {refusal}"
        number = epoch[-1].epoch if epoch else 1
        if accepts and epoch:
            number += 1
        path = store.append(replace(session, epoch=number, reason=self.reason or ""))
        where = f"recorded in {path.parent.name}/{path.name}"
        return f"epoch {number} begins; {where}" if accepts else where


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
