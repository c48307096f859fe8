"""The checked-in generated code is what `generate` makes of proto/ today."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent


def generated_files(root: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (root / "filmgate" / "v1").glob("*_pb2*") if path.is_file()}


def test_the_checked_in_code_equals_a_fresh_generation(tmp_path: Path) -> None:
    subprocess.run([sys.executable, PACKAGE / "generate", tmp_path], check=True, timeout=120)
    fresh, checked_in = generated_files(tmp_path), generated_files(PACKAGE / "src")
    assert fresh.keys() == checked_in.keys()
    different = [name for name, text in fresh.items() if checked_in[name] != text]
    assert not different, "run clients/python/generate"
