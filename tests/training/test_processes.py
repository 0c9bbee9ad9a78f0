"""Ranks exchange figures and gradients, and notice each other's death."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest
import torch

from metaformer_cli.training.processes import Processes, in_order

RANK = """
import json, math, os, sys
from pathlib import Path
import torch
from metaformer_cli.training.launch import Place, DeadRankError
from metaformer_cli.training.processes import Processes
rank, size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
processes = Processes(Place(rank, size, rank, folder))
told = {"texts": processes.exchange("é" * 3 * rank), "share": list(processes.share(5))}
told["figures"] = processes.exchange([0.1 + rank, math.nan, -math.inf, 2**63 - 1 - rank, None])
gradient = {"w": torch.full((2, 3), 0.1) * (rank + 1), "b": torch.tensor(1.0)}
mean = processes.mean(gradient, weight=[0.25, 0.75, 0.0][rank])
told["mean"] = {name: value.tolist() for name, value in mean.items()}
gradient["b"] = torch.tensor(math.nan if rank == 2 else 1.0)
told["bad"] = processes.mean(gradient, weight=0.0)["b"].item()
print(json.dumps(told), flush=True)
if rank == 1:
    sys.stdin.read(1)
try:
    processes.exchange(rank)
except DeadRankError as error:
    print(json.dumps([str(error), processes.heir]), flush=True)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory, popen, environment) -> list[list[str]]:
    """What three ranks print, of which rank 1 is killed in the end."""
    folder = tmp_path_factory.mktemp("meeting")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    ranks = [popen("-c", RANK, rank, 3, folder, **pipes, env=environment) for rank in range(3)]
    assert ranks[1].stdout is not None
    first = ranks[1].stdout.readline()
    ranks[1].kill()
    answers = [rank.communicate(timeout=100)[0] for rank in (ranks[1], ranks[0], ranks[2])]
    assert ranks[1].returncode == -signal.SIGKILL
    answers = [answers[1], first, answers[2], f"rank 1 (process {ranks[1].pid}) died"]
    return [answer.splitlines() for answer in answers]


def test_every_rank_gets_what_every_rank_gave_to_the_last_bit(told):
    for rank in range(3):
        found = json.loads(told[rank][0])
        assert found["texts"] == ["", "é" * 3, "é" * 6]
        for other, (a, b, c, d, e) in enumerate(found["figures"]):
            assert (a, c, d, e) == (0.1 + other, -float("inf"), 2**63 - 1 - other, None)
            assert b != b  # not a number


def test_each_episode_has_one_rank(told):
    shares = [json.loads(told[rank][0])["share"] for rank in range(3)]
    assert shares == [[0, 3], [1, 4], [2]]
    assert in_order([["a", "d"], ["b", "e"], ["c"]]) == list("abcde")


def test_the_mean_is_weighted_and_the_same_on_each(told):
    means = [json.loads(told[rank][0])["mean"] for rank in range(3)]
    assert means[0] == means[1] == means[2]
    assert means[0]["w"] == [[pytest.approx(0.175)] * 3] * 2
    assert means[0]["b"] == 1.0


def test_what_is_not_finite_in_one_is_not_finite_in_all(told):
    assert all(json.loads(told[rank][0])["bad"] != 0 for rank in range(3))


def test_survivors_name_the_killed_rank_and_agree_on_the_heir(told):
    (died,) = told[3]
    answers = [json.loads(told[rank][1]) for rank in (0, 2)]
    assert answers[0] == [died, True]
    who, heir = answers[1]
    assert died.removesuffix(" died") in who
    assert heir is (who != died)  # it inherits only where rank 0 had already ended too


def test_one_process_talks_to_nobody():
    alone = Processes()
    gradient = {"w": torch.ones(2)}
    assert list(alone.share(3)) == [0, 1, 2]
    assert alone.exchange({1}) == [{1}]  # not even JSON
    assert alone.mean(gradient, weight=1.0) is gradient
    assert not torch.distributed.is_initialized()
