"""A part of a set: filters, the first few, and shards that are disjoint and together complete."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salver.core.errors import SalverError
from salver.families.selection import Selection, Shard, fitting, read_shard, select


class Named(NamedTuple):
    name: str
    family: str
    subject: str


def named(number: int, family: str, network: str) -> Named:
    return Named(f"{network}-{number}", family, network)


WORDS = st.sampled_from(["a", "b", "[c]"])
SETS = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=30).map(
    lambda pairs: [named(number, *pair) for number, pair in enumerate(pairs)]
)


@pytest.mark.slow
@given(SETS, st.integers(1, 40), st.integers(1, 9), st.sets(WORDS, max_size=2))
def test_shards_are_disjoint_and_together_complete(
    items: list[Named], limit: int, of: int, families: set[str]
) -> None:
    whole = Selection(family=tuple(families), limit=limit)
    parts = [
        list(fitting(items, whole.model_copy(update={"shard": Shard(number=number, of=of)})))
        for number in range(1, of + 1)
    ]
    everything = list(fitting(items, whole))
    assert everything == [one for one in items if not families or one.family in families][:limit]
    assert sorted((one for part in parts for one in part), key=items.index) == everything
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(SETS)
def test_all_is_selected_where_nothing_is_asked_for(items: list[Named]) -> None:
    assert select(items, Selection()) == tuple(items)
    assert Selection().part_of(len(items), len(items)) == ""


ITEMS = [named(0, "box", "net"), named(1, "rank", "net"), named(2, "box", "other"), named(3, "box", "[c]")]


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (Selection(only=("net-*",)), ["net-0", "net-1"]),
        (Selection(only=("[c]-3",)), ["[c]-3"]),
        (Selection(only=("*-[02]",), family=("box",)), ["net-0", "other-2"]),
        (Selection(network=("net", "oth*")), ["net-0", "net-1", "other-2"]),
        (Selection(family=("box",), limit=2, shard=Shard(number=2, of=2)), ["other-2"]),
    ],
)
def test_what_is_selected(selection: Selection, found: list[str]) -> None:
    assert [one.name for one in select(ITEMS, selection)] == found


def test_a_limit_may_be_larger_than_any_list() -> None:
    items = [named(0, "a", "n")]
    assert select(items, Selection(limit=10**30)) == tuple(items)


def test_it_is_said_as_on_the_command_line() -> None:
    selection = Selection(only=("a*",), network=("x", "y"), limit=3, shard=Shard(number=2, of=4))
    assert selection.part_of(12, 91) == "12 of 91 instances: --only 'a*' --network x,y --limit 3 --shard 2/4"


@pytest.mark.parametrize(
    ("selection", "line"),
    [
        (Selection(family=("bix",)), "--family: no instance is of 'bix'; did you mean box?"),
        (Selection(family=("box", "bix")), "--family: no instance is of 'bix'; did you mean box?"),
        (Selection(network=("nett",)), "--network: no instance is about 'nett'; did you mean net?"),
        (Selection(only=("zz*",)), "--only: no instance has a name like 'zz*'; choose one of net-0, net-1,"),
        (
            Selection(family=("rank",), network=("other",)),
            "tiny: no instance is in --family rank --network other; leave one of them out",
        ),
        (
            Selection(limit=2, shard=Shard(number=3, of=3)),
            "tiny: no instance is in --limit 2 --shard 3/3; only 2 fit, so use at most 2 shards",
        ),
    ],
)
def test_an_empty_selection_is_one_line(selection: Selection, line: str) -> None:
    with pytest.raises(SalverError) as raised:
        select(ITEMS, selection, "tiny")
    assert str(raised.value).startswith(line)


@pytest.mark.parametrize("text", ["3/2", "0/2", "1/0", "-1/2", "1", "1/2/3", "a/b", "1.0/2", "٣/٤", " 1/2"])
def test_bad_shards(text: str) -> None:
    with pytest.raises(SalverError, match="is no shard; write 1/4"):
        read_shard(text)
