"""Downloads of the published data sets, against a server on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from metaformer_cli.data import presets
from metaformer_cli.data.presets import PRESETS, Download, preset_folder

SHARED = Path(__file__).parents[2] / "../shared/data"
FILES = {
    "DIR/full.jsonl": b'{"sentence": "hi", "label": "greet"}\n' * 9000,  # several chunks
    "DIR/few_shot/01/labels.train.txt": b"greet\n",
}


class Server(ThreadingHTTPServer):
    """Serves `FILES`, or whatever `answer` does instead; remembers what it was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[str] = []
        self.answer = self.whole

    @staticmethod
    def whole(handler: Handler, body: bytes) -> None:
        handler.send(body, length=len(body))

    def handle_error(self, *_: object) -> None:
        """Says nothing: some tests hang up."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.path.removeprefix("/")
        self.server.asked.append(path)
        self.server.answer(self, FILES[path])

    def send(self, body: bytes, *, length: int | None, status: int = 200) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    names = ("full.jsonl", "splits/01/train.txt")
    small = tuple(
        Download(address, name, len(body), hashlib.sha256(body).hexdigest())
        for (address, body), name in zip(FILES.items(), names, strict=True)
    )
    monkeypatch.setitem(PRESETS, "small", small)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetched(server: Server, cache: Path) -> Path:
    return preset_folder("small", cache_dir=cache, publisher=server.url)


def files_under(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_preset_is_downloaded_once(server, tmp_path, capsys):
    folder = fetched(server, tmp_path / "cache")
    whole = {"full.jsonl": FILES["DIR/full.jsonl"], "splits/01/train.txt": b"greet\n"}
    assert folder == tmp_path / "cache" / "small"
    assert files_under(folder) == whole
    assert server.asked == list(FILES)
    assert fetched(server, tmp_path / "cache") == folder
    assert server.asked == list(FILES)
    assert capsys.readouterr() == ("", "")  # quiet where stderr is no terminal


def test_a_damaged_file_in_the_cache_is_fetched_anew(server, tmp_path):
    folder = fetched(server, tmp_path)
    (folder / "full.jsonl").write_bytes(b"damaged")
    fetched(server, tmp_path)
    assert (folder / "full.jsonl").read_bytes() == FILES["DIR/full.jsonl"]
    assert server.asked == [*FILES, "DIR/full.jsonl"]


def test_processes_that_need_a_preset_at_once_download_it_once(server, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        folders = [*pool.map(lambda _: fetched(server, tmp_path), range(4))]
    assert folders == [tmp_path / "small"] * 4
    assert server.asked == list(FILES)
    assert files_under(tmp_path / "small").keys() == {"full.jsonl", "splits/01/train.txt"}


@pytest.mark.parametrize("name", ["small", "small/splits", "small/full.jsonl"])
def test_nothing_is_downloaded_to_where_a_link_leads(server, tmp_path, name):
    (tmp_path / "outside").mkdir()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).symlink_to(tmp_path / "outside")
    with pytest.raises(ValueError, match=f"{name} is a symbolic link to .*outside"):
        fetched(server, tmp_path)
    assert list((tmp_path / "outside").iterdir()) == []
    assert server.asked == []


def cut_short(handler: Handler, body: bytes) -> None:
    handler.send(body[:-1], length=len(body) - 1)


def hang_up(handler: Handler, body: bytes) -> None:
    handler.send(body[: len(body) // 2], length=len(body))


def hang_up_unannounced(handler: Handler, body: bytes) -> None:
    handler.send(body[: len(body) // 2], length=None)


def another_file(handler: Handler, body: bytes) -> None:
    handler.send(b"x" * len(body), length=len(body))


def longer_file(handler: Handler, body: bytes) -> None:
    handler.send(body + b"x", length=len(body) + 1)


def endless(handler: Handler, body: bytes) -> None:
    handler.send(b"", length=None)
    with contextlib.suppress(ConnectionError):
        while True:
            handler.wfile.write(body)


def not_found(handler: Handler, _: bytes) -> None:
    handler.send(b"no", length=2, status=404)


def no_http(handler: Handler, _: bytes) -> None:
    handler.wfile.write(b"what?\r\n\r\n")


def silent(handler: Handler, _: bytes) -> None:
    handler.rfile.read(1)  # until the client gives up


SIZE = f"{len(FILES['DIR/full.jsonl']):,}"
SUM = hashlib.sha256(FILES["DIR/full.jsonl"]).hexdigest()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (cut_short, rf"after 332,999 of {SIZE} bytes"),
        (hang_up, r"cannot download"),
        (hang_up_unannounced, rf"after 166,500 of {SIZE} bytes"),
        (another_file, rf"not the published file: expected SHA-256 {SUM}, got [0-9a-f]{{64}};"),
        (longer_file, r"not the published file"),
        (endless, r"not the published file"),
        (not_found, r"cannot download .*404"),
        (no_http, r"cannot download .* \(what\?\);"),
        (silent, r"cannot download .*timed out"),
    ],
)
def test_a_failed_download_is_one_line_and_leaves_nothing(
    server, tmp_path, monkeypatch, answer, message
):
    monkeypatch.setattr(presets, "TIMEOUT", 0.5)
    server.answer = answer
    with pytest.raises(ValueError, match=message) as error:
        fetched(server, tmp_path)
    assert f"{server.url}/DIR/full.jsonl" in str(error.value)
    assert "or give data.path= a folder that holds full.jsonl and splits/01" in str(error.value)
    assert "\n" not in str(error.value)
    assert files_under(tmp_path) == {}


def test_without_network_the_address_and_the_alternative_are_said(server, tmp_path):
    server.shutdown()  # a poll still waiting would hold the port open for a moment
    server.server_close()
    with pytest.raises(ValueError, match=r"cannot download .*refused.*data\.path=") as error:
        fetched(server, tmp_path)
    assert server.url in str(error.value)


def test_a_failed_download_does_not_harm_what_is_cached(server, tmp_path):
    folder = fetched(server, tmp_path)
    (folder / "full.jsonl").write_bytes(b"damaged")
    server.answer = hang_up
    with pytest.raises(ValueError, match="cannot download"):
        fetched(server, tmp_path)
    assert files_under(folder) == {"full.jsonl": b"damaged", "splits/01/train.txt": b"greet\n"}


@pytest.mark.parametrize("name", ["clinc150", "banking77"])
def test_the_checksums_are_those_of_the_published_files(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"needs {name} in the shared data folder beside the project")
    for file in PRESETS[name]:
        data = (SHARED / name / file.name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size, file.sha256)
