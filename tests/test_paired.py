"""scripts/paired.py, on reports whose figures are known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "scripts" / "paired.py"


def report(folder: Path, values: list[float], episodes: str = "same") -> str:
    folder.mkdir()
    facts = {"episode": "5-way", "split": "test", "data": "x", "episodes": len(values)}
    found = {"scores": {"accuracy": {"per_episode": values}}, "episodes_sha256": episodes}
    (folder / "eval.json").write_text(json.dumps(facts | found))
    return str(folder / "eval.json")


def paired(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *words]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_each_report_has_its_mean_and_its_paired_difference_to_the_first(tmp_path):
    files = report(tmp_path / "a", [0.0, 0.5, 1.0]), report(tmp_path / "b", [0.25, 0.75, 1.25])
    done = paired(*files)
    assert done.stderr == ""
    first, second = done.stdout.splitlines()[-2:]
    # 1.96 standard errors of three values half apart; their differences are all alike
    assert first.split() == ["a", "0.5000", "±", "0.5658"]
    assert second.split() == ["b", "0.7500", "±", "0.5658", "+0.2500", "±", "0.0000"]
    assert all(len(line) <= 80 for line in done.stdout.splitlines())


def test_reports_of_other_episodes_are_refused_in_one_line(tmp_path):
    done = paired(report(tmp_path / "a", [0.0, 1.0]), report(tmp_path / "b", [0.0, 1.0], "other"))
    assert done.returncode == 1
    assert done.stderr.startswith("paired: error: b judged other episodes than a")
    assert done.stderr.count("\n") == 1
