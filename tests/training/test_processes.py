"""Ranks exchange figures and gradients, and notice each other's death."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.training.optimiser import AdamW
from metaformer_cli.training.processes import BUCKET, Processes, buckets, in_order

RANK = """
import json, math, os, socket, sys
from pathlib import Path
import torch
from metaformer_cli.training import processes as module
from metaformer_cli.training.launch import Place, DeadRankError
from metaformer_cli.training.optimiser import AdamW
from metaformer_cli.training.processes import Processes
module.BUCKET = 24  # bytes: two numbers beside four make two buckets, as six and one do
rank, size, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
socket.gethostname = lambda: ["near", "near", "far"][rank]
processes = Processes(Place(rank, size, rank, folder))
told = {"texts": processes.exchange("é" * 3 * rank), "share": list(processes.share(5))}
told["figures"] = processes.exchange([0.1 + rank, math.nan, -math.inf, 2**63 - 1 - rank, None])
gradient = {"w": torch.full((2, 3), 0.1) * (rank + 1), "b": torch.tensor(1.0)}
mean = processes.mean(gradient, weight=[0.25, 0.75, 0.0][rank])
told["mean"] = {name: value.tolist() for name, value in mean.items()}
gradient["b"] = torch.tensor(math.nan if rank == 2 else 1.0)
told["bad"] = processes.mean(gradient, weight=0.0)["b"].item()

def sharded(meta):
    return AdamW(meta, **json.loads(sys.argv[4]), processes=processes, sharded_over=0)

meta = {"w": torch.ones(3, 2).T, "b": torch.tensor(2.0)}
ours = sharded(meta)
ours.update({"w": torch.full((2, 3), 0.5), "b": torch.tensor(-1.0)}, 1)
state = ours.state_tensors()
torch.save(ours._own_state(), folder / f"own-{rank}")
if rank == 0:
    torch.save((meta, state), folder / "one")
processes.exchange(None)
meta, state = torch.load(folder / "one")
resumed = sharded(meta)
told["expected"] = {name: list(own.shape) for name, own in resumed.expected_state().items()}
resumed.restore(state)
resumed.update({"w": torch.full((2, 3), 0.25)}, 2)
state = resumed.state_tensors()
torch.save((meta, state), folder / f"two-{rank}")
print(json.dumps(told), flush=True)
if rank == 1:
    sys.stdin.read(1)
try:
    processes.exchange(rank)
except DeadRankError as error:
    print(json.dumps([str(error), processes.heir]), flush=True)
"""


OPTIONS: dict[str, Any] = {"lr": 0.1, "rate_lr": 0.1, "weight_decay": 0.1, "clip_norm": 1.0}
OPTIONS |= {"warmup_steps": 0, "steps": 9}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where they meet, and leave tensors."""
    made: Path = tmp_path_factory.mktemp("meeting")
    return made


@pytest.fixture(scope="module")
def told(folder, popen, environment) -> list[list[str]]:
    """What three ranks print, of which rank 1 is killed in the end; rank 2 is on another host."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    words = [3, folder, json.dumps(OPTIONS)]
    ranks = [popen("-c", RANK, rank, *words, **pipes, env=environment) for rank in range(3)]
    assert ranks[1].stdout is not None
    first = ranks[1].stdout.readline()
    ranks[1].kill()
    answers = [rank.communicate(timeout=100)[0] for rank in (ranks[1], ranks[0], ranks[2])]
    assert ranks[1].returncode == -signal.SIGKILL
    answers = [answers[1], first, answers[2], f"rank 1 (process {ranks[1].pid} on near) died"]
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


def test_survivors_name_the_killed_rank_where_they_can_see_it_and_else_its_host(told):
    (died,) = told[3]
    (near, near_is_heir), (far, far_is_heir) = (json.loads(told[rank][1]) for rank in (0, 2))
    assert (near, near_is_heir) == (died, True)
    assert far.startswith("near (rank 0, 1) does not answer: ")
    assert far_is_heir  # for all it knows, nobody else lives


@pytest.mark.parametrize("rank", [0, 2])
def test_of_several_hosts_that_may_be_gone_all_are_named_and_the_first_rank_alone_inherits(rank):
    seen = Processes()
    seen.rank, seen.size = rank, 4
    seen._where = [("a", 1), ("b", 1), ("c", 1), ("b", 2)]
    others = {0: "b (rank 1, 3) or c (rank 2)", 2: "a (rank 0) or b (rank 1, 3)"}
    assert seen._who_is_gone("closed") == f"{others[rank]} does not answer: closed"
    assert seen.heir is (rank == 0)


def test_a_sharded_optimiser_makes_the_updates_of_a_whole_one_and_its_state_is_whole_when_saved(
    told, folder
):
    expected = json.loads(told[0][0])["expected"]
    meta = {"w": torch.ones(3, 2).T, "b": torch.tensor(2.0)}
    whole = AdamW(meta, **OPTIONS)
    own = [torch.load(folder / f"own-{rank}") for rank in range(3)]
    assert [{name.partition("/")[0] for name in shard} for shard in own] == [{"w"}, {"b"}, set()]
    assert expected == {name: [*value.shape] for name, value in whole.state_tensors().items()}
    whole.update({"w": torch.full((2, 3), 0.5), "b": torch.tensor(-1.0)}, 1)
    same_bits((meta, whole.state_tensors()), torch.load(folder / "one"))
    whole.update({"w": torch.full((2, 3), 0.25)}, 2)
    same_bits((meta, whole.state_tensors()), torch.load(folder / "two-0"))
    for rank in (1, 2):
        same_bits((meta, {}), torch.load(folder / f"two-{rank}"))


def same_bits(ours, theirs) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        assert all(torch.equal(value, other[name]) for name, value in mine.items())


@given(st.lists(st.integers(0, 1000), max_size=12), st.integers(1, 5))
def test_things_are_shared_by_cost_and_no_rank_has_much_more_than_the_mean(costs, size):
    processes = Processes()
    processes.size = size
    owners = processes.owners(costs)
    loads = [sum(c for c, own in zip(costs, owners, strict=True) if own == r) for r in range(size)]
    assert sum(loads) == sum(costs)
    # Graham's bound for any order: what the last to come found was at most the mean of the others
    assert max(loads) <= (sum(costs) + (size - 1) * max(costs, default=0)) / size


def test_equal_costs_go_round():
    processes = Processes()
    processes.size = 3
    assert processes.owners([7] * 5) == [0, 1, 2, 0, 1]
    assert processes.owners([1, 9, 1, 5, 4]) == [2, 0, 1, 1, 2]


def test_buckets_hold_all_in_order_and_no_more_than_their_size_but_for_one_tensor():
    quarters = [1, 2, 30, 3, 2, 1]  # of a bucket; of no memory
    whole = {str(i): torch.empty(n * BUCKET // 16, device="meta") for i, n in enumerate(quarters)}
    found = list(buckets(whole))
    assert [id(value) for bucket in found for value in bucket] == [id(v) for v in whole.values()]
    assert [len(bucket) for bucket in found] == [2, 1, 1, 2]


def test_one_process_talks_to_nobody():
    alone = Processes()
    gradient = {"w": torch.ones(2)}
    assert list(alone.share(3)) == [0, 1, 2]
    assert alone.exchange({1}) == [{1}]  # not even JSON
    assert alone.mean(gradient, weight=1.0) is gradient
    assert not torch.distributed.is_initialized()
