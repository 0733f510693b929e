"""The counts that make a conversation outlive its streams, without any stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamflow_fluxop.agent.wire.backlog import Backlog


class Side:
    def __init__(self) -> None:
        self.backlog = Backlog(keep=True)
        self.got: list[bytes] = []

    def take(self, data: bytes, other: Side, *, tell: bool) -> None:
        self.got.append(data)
        self.backlog.arrived(len(data))
        if tell:
            other.backlog.seen(self.backlog.told())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.booleans(), st.booleans()),  # from which side; does the other say `seen` at once
        st.tuples(st.just("carry"), st.integers(0, 5), st.integers(0, 5)),  # messages that arrive, each way
        st.tuples(st.just("cut"), st.booleans(), st.booleans()),
    ),
    max_size=60,
)


@given(STEPS)
def test_every_message_arrives_once_and_in_order_wherever_streams_are_cut(steps: list[tuple[str, int, int]]) -> None:
    sides = (Side(), Side())
    sent: tuple[list[bytes], list[bytes]] = ([], [])
    under_way: list[list[tuple[bytes, bool]]] = [[], []]

    def carry(source: int, count: int) -> None:
        for data, tell in under_way[source][:count]:
            sides[1 - source].take(data, sides[source], tell=tell)
        del under_way[source][:count]

    def reconnect() -> None:
        for source in (0, 1):
            missing = sides[source].backlog.after(sides[1 - source].backlog.received)
            under_way[source] = [(data, False) for data in missing]

    for what, first, second in steps:
        if what == "send":
            data = b"%d" % len(sent[first])
            sent[first].append(data)
            sides[first].backlog.add(data)
            under_way[first].append((data, bool(second)))
        elif what == "carry":
            carry(0, first)
            carry(1, second)
        else:
            reconnect()
    reconnect()
    for source in (0, 1):
        carry(source, len(under_way[source]))
        assert sides[1 - source].got == sent[source]
        assert sides[source].backlog.after(sides[1 - source].backlog.received) == []


def test_nothing_is_kept_where_no_other_stream_can_follow() -> None:
    backlog = Backlog(keep=False)
    assert [backlog.add(b"x") for _ in range(3)] == [1, 2, 3]
    assert backlog.after(0) == []
    assert not any(backlog.arrived(1 << 20) for _ in range(1000))


def test_it_is_time_to_say_how_much_has_come_after_many_messages_or_bytes() -> None:
    backlog = Backlog(keep=True)
    assert [backlog.arrived(1) for _ in range(200)].index(True) == 127
    assert backlog.told() == 200
    assert not backlog.arrived(1)
    assert backlog.arrived(1 << 18)
