from __future__ import annotations

import sys
from pathlib import Path

import pytest

from facenet_validate.base.errors import ModelError
from facenet_validate.cache import Cache
from facenet_validate.datasets.synthetic import proof_faces
from facenet_validate.models.prepared import prepare, source_model


def test_a_checkpoint_without_pytorch_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    path = tmp_path / "facenet.pt"
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError, match=r'pip install "facenet-validate\[torch\]"'):
        prepare(source_model(path), Cache(tmp_path / "cache"), faces=proof_faces())
