"""Trains on two nodes that are one machine: two network, host-name and process namespaces.

    sudo python scripts/two_nodes.py [NAME=VALUE ...]

Linux, and root, who alone may make namespaces. Each node runs torchrun, and the two meet by its
c10d rendezvous over a pair of virtual network cards. Three things are compared with a run of one
process: a run of two nodes, to rounding; a run in which all processes of the second node are
killed, which must end with that node's name on the first and exit code 1; and its end, resumed on
two nodes. Overrides go to `metaformer train`; the default is a tiny model on the built-in data.
Exit code 0: all is as it should be.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import safetensors.torch
import torch

IP = shutil.which("ip") or "/usr/sbin/ip"
HOSTS = ("node-a", "node-b")
ADDRESSES = ("10.77.0.1", "10.77.0.2")
CARDS = ("veth-a", "veth-b")
TINY = [
    *("model=transformer", "model.width=8", "model.layers=1", "model.heads=1"),
    *("task.vocab_size=400", "task.ways=3", "task.shots=2", "task.queries=2", "device=cpu"),
    *("learner.inner_steps=1", "train.meta_batch=4", "train.steps=60", "train.log_every=1"),
    *("train.eval_every=20", "train.valid_episodes=4", "train.patience=null"),
]


def main() -> int:
    """Run the comparison; returns the exit code."""
    if sys.platform != "linux" or os.geteuid() != 0:
        print("scripts/two_nodes.py makes network namespaces: expected Linux, and root")
        return 2
    words = [*TINY, *sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        one, two, killed = (Path(folder) / name for name in ("one", "two", "killed"))
        command = [sys.executable, "-m", "metaformer_cli", "train", f"run_dir={one}", *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        try:
            make_network()
            codes = ended(start(two, words))
            print(f"two nodes end with {codes}; {beside(two, one)}", flush=True)
            nodes = start(killed, words)
            wait_for_lines(killed, 10, nodes)
            nodes[1].send_signal(signal.SIGKILL)  # the first process of its namespace: all end
            out, _ = nodes[0].communicate()
            said = [line for line in out.splitlines() if "metaformer: error" in line]
            print(f"node-b is killed, and node-a ends with {nodes[0].returncode}: {said}")
            named = len(said) == 1 and "node-b (rank 1) does not answer" in said[0]
            again = ended(start(killed, ["resume=true"]))
            print(f"resumed, they end with {again}; {beside(killed, one)}")
            same = difference(two, one) < 1e-5 and difference(killed, one) < 1e-5
        finally:
            for host in HOSTS:
                subprocess.run([IP, "netns", "del", host], check=False)
    right = [*codes, *again, nodes[0].returncode] == [0, 0, 0, 0, 1]
    return 0 if right and named and same else 1


def make_network() -> None:
    """Two network namespaces, with a card each, and a cable between them."""
    for host in HOSTS:
        ip("netns", "add", host)
    ip("link", "add", CARDS[0], "netns", HOSTS[0], "type", "veth", "peer", CARDS[1])
    ip("link", "set", CARDS[1], "netns", HOSTS[1])
    for host, card, address in zip(HOSTS, CARDS, ADDRESSES, strict=True):
        ip("-n", host, "addr", "add", f"{address}/24", "dev", card)
        ip("-n", host, "link", "set", card, "up")
        ip("-n", host, "link", "set", "lo", "up")


def ip(*words: str) -> None:
    """Run `ip` of iproute2."""
    subprocess.run([IP, *words], check=True)


def start(run: Path, words: list[str]) -> list[subprocess.Popen[str]]:
    """Start a run, or go on with one, on both nodes; the first node's output is kept."""
    nodes = []
    for host, card, address in zip(HOSTS, CARDS, ADDRESSES, strict=True):
        torchrun = [
            *(sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"),
            *("--rdzv-backend=c10d", f"--rdzv-endpoint={ADDRESSES[0]}:29400", "--rdzv-id=run"),
            *(f"--local-addr={address}", f"--rdzv-conf=is_host={int(host == HOSTS[0])}"),
            *("-m", "metaformer_cli", "train", f"run_dir={run}", *words),
        ]
        named = ["sh", "-c", 'hostname "$0"; exec "$@"', host, *torchrun]
        apart = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", *named]
        nodes.append(
            subprocess.Popen(
                [IP, "netns", "exec", host, *apart],
                env={**os.environ, "GLOO_SOCKET_IFNAME": card},
                stdout=subprocess.PIPE if host == HOSTS[0] else subprocess.DEVNULL,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return nodes


def ended(nodes: list[subprocess.Popen[str]]) -> list[int]:
    """Wait for both; the exit codes."""
    return [node.wait() if node.stdout is None else read_to_end(node) for node in nodes]


def read_to_end(node: subprocess.Popen[str]) -> int:
    """Wait for a node; what it says is shown where it fails."""
    out, _ = node.communicate()
    if node.returncode:
        print(out)
    return node.returncode


def wait_for_lines(run: Path, count: int, nodes: list[subprocess.Popen[str]]) -> None:
    """Wait for so many lines of metrics."""
    path = run / "metrics.jsonl"
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert nodes[0].poll() is None, "it ended before its time"
        time.sleep(0.01)


def difference(run: Path, one: Path) -> float:
    """The largest difference of two runs' weights."""
    ours, theirs = (
        safetensors.torch.load_file(own / "checkpoints/last.safetensors") for own in (run, one)
    )
    assert ours.keys() == theirs.keys()
    return max((ours[name] - theirs[name]).abs().max().item() for name in ours)


def beside(run: Path, one: Path) -> str:
    """How near the weights are to one process's, in words."""
    return f"weights within {difference(run, one):.1e} of one process's"


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    sys.exit(main())
