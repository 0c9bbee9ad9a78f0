"""Measure the table of docs/results.md: train, judge, and print it as Markdown.

    python scripts/results.py runs/results clinc150=FOLDER banking77=FOLDER

takes two to three hours on two cores, SetFit (`pip install "metaformer-cli[setfit]"`) a third of
them. Each row is one `experiment=`; what is there already is not measured again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Reports = dict[tuple[str, str, str], dict[str, Any]]  # (data set, row, setting) -> report

SETTINGS = {"5-way 1-shot": (5, 1), "5-way 5-shot": (5, 5), "20-way 1-shot": (20, 1)}
UNTRAINED = ("tfidf", "class_means", "probe", "setfit")
TRAINED = ("scratch", "fomaml", "maml")
ROWS = {
    "tfidf": "TF-IDF + logistic regression",
    "class_means": "frozen MiniLM + class means",
    "probe": "frozen MiniLM + logistic regression",
    "setfit": "SetFit from MiniLM",
    "scratch": "`fomaml`, Transformer from scratch",
    "zero": "`fomaml` from MiniLM, 0 inner steps",
    "fomaml": "`fomaml` from MiniLM",
    "maml": "`maml` from MiniLM",
    "other": "`fomaml`, trained on the other data set",
}


def metaformer(*words: str) -> None:
    """Run a command; its output is this one's."""
    print("$ metaformer", *words, flush=True)
    subprocess.run([sys.executable, "-m", "metaformer_cli", *words], check=True)


def judge(folder: Path, words: Sequence[str], setting: str, data: str) -> dict[str, Any]:
    """The report of one evaluation, measured if it is not there yet."""
    ways, shots = SETTINGS[setting]
    if not list(folder.glob("eval-*.json")):
        metaformer(
            "eval", *words, data, f"task.ways={ways}", f"task.shots={shots}", f"run_dir={folder}"
        )
    (report,) = folder.glob("eval-*.json")
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def difference(values: Sequence[float], others: Sequence[float]) -> str:
    """The paired difference in points, and half of its 95% interval."""
    from metaformer_cli.training.comparison import paired

    found = paired(values, others)
    return f"{100 * found.mean:+.1f} ± {100 * found.ci95:.1f}"


def measure(home: Path, folders: dict[str, str]) -> Reports:
    """Every report that can be had."""
    reports: Reports = {}
    for name, folder in folders.items():
        data = f"data.path={folder}"
        for row in TRAINED:
            run = home / f"{name}-{row}"
            if not (run / "checkpoints" / "best.safetensors").exists():
                metaformer("train", f"experiment={name}_{row}", data, f"run_dir={run}")
    for name, folder in folders.items():
        data = f"data.path={folder}"
        for setting in SETTINGS:
            place = setting.replace(" ", "-")
            for row in UNTRAINED:
                words, own = [f"experiment={name}_{row}"], home / f"{name}-{row}-{place}"
                if row == "setfit" and not own.exists() and find_spec("setfit") is None:
                    print(f"setfit is not installed: {name}, {setting} is left out")
                    continue
                found = judge(own, words, setting, data)
                reports[name, row, setting] = found
            for row in TRAINED:
                words = [f"ckpt={home / f'{name}-{row}'}"]
                found = judge(home / f"{name}-{row}-{place}", words, setting, data)
                reports[name, row, setting] = found
            for other in folders.keys() - {name}:
                words = [f"ckpt={home / f'{other}-fomaml'}", f"data={name}"]
                found = judge(home / f"{other}-to-{name}-{place}", words, setting, data)
                reports[name, "other", setting] = found
    return reports


def table(reports: Reports, name: str) -> list[str]:
    """A data set's rows, each with the paired difference to the frozen encoder's."""
    lines = [f"| {name} | {' | '.join(SETTINGS)} |", "|---" * (1 + len(SETTINGS)) + "|"]
    for row, title in ROWS.items():
        cells = []
        for setting in SETTINGS:
            probe = reports[name, "probe", setting]["scores"]["accuracy"]["per_episode"]
            found = reports.get((name, "fomaml" if row == "zero" else row, setting))
            if found is None:
                cells.append("–")
                continue
            figure = found["scores"]["accuracy"]
            if row == "zero":
                cells.append(f"{100 * figure['per_step'][0]:.1f}")
                continue
            cell = f"{100 * figure['mean']:.1f} ± {100 * figure['ci95']:.1f}"
            if row != "probe":
                values = figure["per_episode"]
                cell += f" ({difference(values, probe[: len(values)])})"
            if row == "setfit":
                cell += f", {found['seconds'] / found['episodes']:.0f} s each"
            cells.append(cell)
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def gains(reports: Reports, names: Sequence[str]) -> list[str]:
    """What the inner steps add, in points."""
    lines = [
        f"| the inner steps add | {' | '.join(SETTINGS)} |",
        "|---" * (1 + len(SETTINGS)) + "|",
    ]
    for name in names:
        for row in (*TRAINED, "other"):
            cells = []
            for setting in SETTINGS:
                if found := reports.get((name, row, setting)):
                    gain = found["scores"]["accuracy"]["gain"]
                    cells.append(f"{100 * gain['mean']:+.1f} ± {100 * gain['ci95']:.1f}")
                else:
                    cells.append("–")
            lines.append(f"| {name}: {ROWS[row]} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure, and print."""
    if len(sys.argv) < 3 or not all("=" in pair for pair in sys.argv[2:]):
        raise SystemExit(
            "expected: python scripts/results.py HOME clinc150=FOLDER banking77=FOLDER"
        )
    home, *pairs = sys.argv[1:]
    folders = dict(pair.split("=", 1) for pair in pairs)
    reports = measure(Path(home), folders)
    for name in folders:
        hashes = {
            reports[name, row, setting]["episodes_sha256"]
            for row in ROWS.keys() - {"zero", "setfit"}
            for setting in SETTINGS
            if (name, row, setting) in reports
        }
        assert len(hashes) == len(SETTINGS), "rows of a column are judged on other episodes"
        print("\n".join(table(reports, name)), end="\n\n")
    print("\n".join(gains(reports, [*folders])))


if __name__ == "__main__":
    main()
