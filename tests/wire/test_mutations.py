"""A sample of benchmarks/mutations.py, which reads a million messages that are almost right."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.mutations import Account, attack, seeds
from stainstream.wire import TABLE

FOUND = seeds()


@pytest.fixture(autouse=True, scope="module")
def warm() -> None:
    """What is imported and kept once is not a message's doing."""
    attack(2000, random.Random(-1), {}, FOUND)


def test_every_format_is_attacked() -> None:
    assert {row.name for row in TABLE} <= set(FOUND)


@pytest.mark.parametrize("name", FOUND)
def test_what_is_mutated_was_valid(name: str) -> None:
    """All but the bomb, or the mutations would be of nothing."""
    accounts: dict[str, Account] = {}
    read, messages = FOUND[name]
    for message in messages:
        if b'"encoding": "zstd"' not in b"".join(message):
            read(message)
    assert attack(200, random.Random(5), accounts, {name: FOUND[name]}) == []
    account = accounts[name]
    assert account.messages == 200
    assert account.balanced
    assert account.accepted + account.passed_over > 10
    assert sum(account.rejected.values()) > 50


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1 << 64))
def test_mutated_messages_are_read_or_refused(seed: int) -> None:
    accounts: dict[str, Account] = {}
    assert attack(35, random.Random(seed), accounts, FOUND) == []
    assert all(each.balanced for each in accounts.values())
