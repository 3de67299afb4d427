"""Where the check cannot be made, and where it must fail; the index is not asked."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.tensorrt_api import __main__ as check
from tests.tensorrt_api import bindings
from tests.tensorrt_api.bindings import ALL, REASON, REQUIREMENTS, NoIndexError, download, unpack

# A binding, as far as its libraries are concerned, and one of them to link it with.
BINDING = """
extern void *createInferBuilder_INTERNAL(void *logger);
void *ask(void *logger) { return createInferBuilder_INTERNAL(logger); }
"""
LIBRARY = "void *createInferBuilder_INTERNAL(void *logger) { return logger; }"

# Loads the binding, and asks it with a logger whose function stands in the slot.
ASK = """
import ctypes, sys

told = []
Log = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
log = Log(lambda _logger, severity, text: told.append((severity, text.decode())))
table = (ctypes.c_void_p * 5)()
table[int(sys.argv[2])] = ctypes.cast(log, ctypes.c_void_p).value
logger = ctypes.pointer(ctypes.c_void_p(ctypes.addressof(table)))
binding = ctypes.CDLL(sys.argv[1])
binding.ask.restype = ctypes.c_void_p
print(binding.ask(logger), *told)
"""


def _compile(folder: Path, name: str, source: str, *options: str) -> Path:
    text, made = folder / f"{name}.c", folder / name
    text.write_text(source)
    command = ["cc", "-shared", "-fPIC", "-o", str(made), str(text), *options]
    subprocess.run(command, check=True)
    return made


@pytest.mark.skipif(bool(bindings.why_not_here()), reason=bindings.why_not_here())
@pytest.mark.parametrize("one", ALL, ids=lambda one: one.distribution)
def test_a_binding_over_stubs_logs_a_reason_and_makes_nothing(tmp_path: Path, one: Any) -> None:
    linked, wheels, work = (tmp_path / name for name in ("linked", "wheels", "work"))
    linked.mkdir()
    wheels.mkdir()
    _compile(linked, "libnvinfer.so", LIBRARY, "-Wl,-soname,libnvinfer.so.99")
    binary = _compile(linked, "binding.so", BINDING, f"-L{linked}", "-lnvinfer")
    wheel = wheels / f"{one.distribution.replace('-', '_')}-1.0-cp311-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(binary, f"{one.module}/{one.module}.so")
    package, stubs = unpack(wheels, one, work)
    done = subprocess.run(
        [sys.executable, "-c", ASK, package / one.module / f"{one.module}.so", str(one.log_slot)],
        env=os.environ | {"LD_LIBRARY_PATH": str(stubs)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"None (2, '{REASON}')\n"


def _pip_fails_with(monkeypatch: pytest.MonkeyPatch, stderr: str) -> None:
    failed = subprocess.CompletedProcess[str]([], 1, "", stderr)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)


def test_every_wheel_is_pinned_by_digest_for_each_python() -> None:
    lines = REQUIREMENTS.read_text().splitlines()
    pinned = [line.partition("==")[0] for line in lines if "==" in line]
    assert pinned == [one.distribution for one in ALL]
    assert sum("--hash=sha256:" in line for line in lines) == len(ALL) * len(bindings.PYTHONS)


def test_an_index_that_does_not_answer_skips(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "why_not_here", lambda: "")
    _pip_fails_with(monkeypatch, "WARNING: Retrying\nERROR: No matching distribution found\n")
    assert check.main() == 0
    assert capsys.readouterr().out == (
        "skipped, TensorRT's API is not checked: the package index does not answer: No matching "
        "distribution found\n"
    )


def test_a_wheel_of_another_digest_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _pip_fails_with(monkeypatch, "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE FILE")
    with pytest.raises(RuntimeError, match=r"requirements\.txt: .*DO NOT MATCH"):
        download(tmp_path)
    _pip_fails_with(monkeypatch, "")
    with pytest.raises(NoIndexError, match="no reason"):
        download(tmp_path)


def test_without_a_compiler_it_skips(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(bindings, "PYTHONS", (sys.version_info[:2],))
    monkeypatch.setattr("shutil.which", {"nm": "/usr/bin/nm"}.get)
    assert check.main() == 0
    assert "cc, readelf not installed: install a C compiler" in capsys.readouterr().out


def test_another_machine_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert "pinned for Linux x86_64" in bindings.why_not_here()


@pytest.mark.parametrize(
    ("problems", "probes", "code", "told"),
    [
        ([], {"a": True}, 0, ""),
        (["build.py:1: no keyword 'x'"], {"a": True}, 1, "build.py:1: no keyword 'x'\n"),
        ([], {"a": False}, 1, "no version has a\n"),
    ],
    ids=["all holds", "a keyword is wrong", "a probe finds nothing anywhere"],
)
def test_the_exit_code_is_the_verdict(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    problems: list[str],
    probes: dict[str, bool],
    code: int,
    told: str,
) -> None:
    def found(_work: Path, one: Any) -> dict[str, Any]:
        first = one is ALL[0]
        return {"problems": problems if first else [], "probes": probes if first else {}}

    monkeypatch.setattr(check, "why_not_here", lambda: "")
    monkeypatch.setattr(check, "download", lambda _: None)
    monkeypatch.setattr(check, "_held", found)
    assert check.main() == code
    assert capsys.readouterr().out == told
