"""Bytes to text."""

from __future__ import annotations

import io
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from metaformer_cli.data import encoding as module
from metaformer_cli.data.encoding import decoded, read_bytes, read_text, text_file
from metaformer_cli.data.problems import Problems

PATH = Path("a.csv")


def read(data: bytes, encoding: str | None = None) -> tuple[str, list[str]]:
    found = Problems()
    return decoded(data, PATH, found, encoding), found.notes


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_utf_8_is_read_as_it_is_and_without_a_word(text):
    assert read(text.encode()) == (text.removeprefix("\ufeff"), [])
    assert read(text.encode("utf-8-sig")) == (text, [])


@pytest.mark.parametrize("name", ["utf-16", "utf-32"])
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), min_size=1))
def test_what_a_byte_order_mark_says_is_followed_and_said(name, text):
    found, notes = read(text.encode(name))
    assert found == text
    assert notes == [f"a.csv is read as {name}, as its byte order mark says"]


@given(
    data=st.binary() | st.text().map(str.encode),
    mark=st.sampled_from([b"", *module.MARKS]),
    name=st.sampled_from([None, "utf-8", "utf-16", "utf-32", "cp1252"]),
    chunk=st.integers(4, 9),  # the first one holds a mark
)
def test_what_is_not_read_to_its_end_is_no_text(data, mark, name, chunk):
    """However it is cut into chunks; a text is read to its end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        found = read_bytes(BytesIO(mark + data), PATH, name)
    assert (mark + data).startswith(found)
    if len(found) < len(mark + data):
        for read in (found, mark + data):
            with pytest.raises(ValueError, match=r"a\.csv"):
                decoded(read, PATH, None, name)


WESTERN = {
    "English": "text,label\nit’s £5 – or “free”…,spam\n",
    "French": "texte,genre\nl’été dernier, à Noël ; où êtes-vous allés,voyage\nça suffit,fin\n",
    "German": "Text,Klasse\nÜber größere Straßen fährt er müde,Weg\n",
    "Spanish": "texto,clase\n¿Dónde está el niño? ¡Aquí!,lugar\n",
    "Swedish": "text,klass\nåtta små grå får på väg över ån,djur\n",
}


@pytest.mark.parametrize("language", WESTERN)
def test_western_text_in_cp1252_is_read_and_said_with_an_example(language):
    text = WESTERN[language]
    found, (note,) = read(text.encode("cp1252"))
    assert found == text
    beyond = [letter for letter in text if not letter.isascii()]
    assert f"read as cp1252: {len(beyond)} characters beyond ASCII" in note
    assert beyond[0] in note
    assert "data.encoding=" in note


FOREIGN = {
    "Russian": ("cp1251", "текст,класс\nпривет всем,привет\n"),
    "Russian in English": ("cp1251", "text,label\nhello there all of you,привет\n"),
    "Greek": ("iso8859-7", "text,label\nκαλημέρα σας,greet\n"),
    "Chinese": ("gb18030", "text,label\n请帮我查一下余额 please,balance\n"),
    "Japanese": ("shift_jis", "text,label\nおはようございます,greet\n"),
    "Polish": ("cp1250", "text,label\nksiążka leży na półce i świeci,rzecz\n"),
    "a picture": ("latin-1", "\x89PNG\r\n\x1a\n\xff\xd8"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_not_plausible_as_cp1252_is_refused_and_read_when_it_is_named(name):
    encoding, text = FOREIGN[name]
    data = text.encode(encoding)
    with pytest.raises(ValueError, match=r"^a\.csv:\d: byte .* is not UTF-8, nor plausible") as no:
        read(data)
    assert "data.encoding=" in str(no.value)
    assert "\n" not in str(no.value)
    assert read(data, encoding) == (text, [])


def test_a_damaged_place_in_utf_8_does_not_make_it_cp1252():
    data = "où êtes-vous allés cet été\n".encode() * 9 + b"caf\xe9\n"
    with pytest.raises(ValueError, match=r"a\.csv:10: byte .* is not UTF-8, nor plausible"):
        read(data)


def test_a_named_encoding_is_used_strictly():
    assert read("café".encode(), "latin-1") == ("cafÃ©", [])
    with pytest.raises(ValueError, match=r"a\.csv:2: byte 5 \(0xe9\) is not UTF-8: save it"):
        read(b"a\ncaf\xe9", "utf-8")
    for name in ("utf-9", "base64", ""):
        with pytest.raises(ValueError, match=f"data.encoding={name}: Python knows no text in it"):
            read(b"a", name)


def test_nothing_is_guessed_where_nobody_would_hear_of_it():
    with pytest.raises(ValueError, match=r"a\.csv:1: byte 3 \(0xe9\) is not UTF-8"):
        decoded("café".encode("cp1252"), PATH)


@pytest.mark.parametrize("data", [b"a\nb\0c", "a\nb\0".encode("utf-16"), b"\xff\xfea", b"\xe9\0"])
def test_a_nul_and_half_a_character_are_no_text(data):
    with pytest.raises(
        ValueError, match=r"^a\.csv:[12]: (character \d is NUL|.* is not UTF)"
    ) as no:
        read(data)
    assert "\n" not in str(no.value)


ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "cp1252", "gb18030")


@given(
    st.binary(max_size=40)
    | st.builds(
        lambda text, name: text.encode(name, errors="ignore"),
        st.text('é—a,"\n\r\0 \ufeff学', max_size=20),
        st.sampled_from(ENCODINGS),
    ),
    st.sampled_from([None, *ENCODINGS, "rot13"]),
)
def test_a_file_is_the_same_text_in_pieces(tmp_path_factory, data, encoding):
    assume(data or encoding != "rot13")  # Python says nothing where there is nothing
    path = tmp_path_factory.mktemp("pieces") / "a.csv"
    path.write_bytes(data)
    whole, found = Problems(), Problems()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PIECE", 3)
        try:
            expected = read_text(path, whole, encoding)
        except ValueError:
            with pytest.raises(ValueError, match=r"a\.csv|rot13"):
                text_file(path, found, encoding)
            return
        file = text_file(path, found, encoding)
        assert "".join(file.pieces()) == "".join(file.pieces()) == expected
    assert list(file.lines()) == list(io.StringIO(expected, newline=None))
    assert file.blank == (not expected.strip())
    assert found.notes == whole.notes


def test_where_a_nul_is_is_said_and_what_follows_is_not_read(tmp_path):
    path = tmp_path / "a.csv"
    with path.open("wb") as stream:
        stream.write("\ufeffein Wort,ä\nb\0".encode())
        stream.truncate(1 << 40)  # a terabyte, of which hardly anything is on the disk
    with pytest.raises(ValueError, match=r"a\.csv:2: character 12 is NUL"):
        text_file(path)
