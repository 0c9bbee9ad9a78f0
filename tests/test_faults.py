"""The cheap part of scripts/faults.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "scripts" / "faults.py"


def test_a_few_faults_of_each_cheap_kind_are_borne():
    kinds = "power forged tensors words files places"
    command = [sys.executable, str(SCRIPT), "--cases", "1", "--seconds", "200", "--kinds", kinds]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    assert "0 of 6 were not borne" in done.stdout
