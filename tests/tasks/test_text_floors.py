"""What text costs without weights."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metaformer_cli.tasks.text_floors import ORDER, NGrams, gzip_bits, ngram_bits

passages = st.lists(st.binary(max_size=30), max_size=4)


@given(counted=passages, before=st.binary(max_size=ORDER - 1))
def test_the_chances_of_all_bytes_add_up_to_1(counted, before):
    model = NGrams(counted)
    assert sum(model.chance(before, byte) for byte in range(256)) == pytest.approx(1)


def test_n_grams_are_those_computed_by_hand():
    # "aab": after nothing a a b, T = 2; after "a" a b, T = 2; after "aa" b, T = 1
    a, b = ord("a"), ord("b")
    model = NGrams([b"aab"])
    p_a, p_b = (2 + 2 / 256) / 5, (1 + 2 / 256) / 5
    after_a = (1 + 2 * p_b) / 4
    assert model.chance(b"", a) == pytest.approx(p_a)
    assert model.chance(b"a", b) == pytest.approx(after_a)
    assert model.chance(b"aa", b) == pytest.approx((1 + after_a) / 2)
    assert model.chance(b"ab", a) == pytest.approx(p_a)  # nothing came after "b" or "ab"
    bits = -math.log2(p_a) - math.log2(after_a)
    assert ngram_bits([b"aab"], [b"ab"]) == pytest.approx(bits)


@given(query=passages)
def test_after_no_support_a_byte_takes_8_bits(query):
    assert ngram_bits([], query) == pytest.approx(8 * sum(map(len, query)))


@given(support=passages, query=passages, more=passages)
def test_queries_do_not_know_each_other(support, query, more):
    for bits in (gzip_bits, ngram_bits):
        both = bits(support, [*query, *more])
        assert both == pytest.approx(bits(support, query) + bits(support, more))


def test_gzip_is_what_a_process_of_its_own_writes():
    program = "import sys, zlib; print(len(zlib.compress(sys.stdin.buffer.read(), 9)))"

    def size(text):
        return int(subprocess.check_output([sys.executable, "-c", program], input=text))

    support, query = [b"the cat sat on the mat", b"a dog barked"], b"the dog sat on the cat"
    known = b"\n".join(support)
    expected = 8 * (size(known + b"\n" + query) - size(known))
    assert gzip_bits(support, [query]) == expected
    assert expected < gzip_bits([], [query])
