"""How long a client waits for a server that is away, on a clock of our own."""

from __future__ import annotations

import pytest

from filmgate import NotFound, TimedOut, Unavailable
from filmgate._transport import Patience

AWAY = Unavailable("away")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def patience(self, reconnect_for: float) -> Patience:
        return Patience(reconnect_for, clock=lambda: self.now, sleep=self.sleep)


def test_pauses_grow_to_a_ceiling_until_the_patience_is_over() -> None:
    clock = Clock()
    patience = clock.patience(300)
    with pytest.raises(Unavailable):
        while True:
            patience.pause_or_raise(AWAY)
    assert 0.05 <= clock.pauses[0] <= 0.1
    assert 5 <= clock.pauses[-1] <= 10
    assert 290 <= clock.now - 1000 <= 300


def test_a_longer_delay_that_the_server_asks_for_is_kept() -> None:
    clock = Clock()
    clock.patience(300).pause_or_raise(Unavailable("draining", retry_after=7.0))
    assert clock.pauses == [7.0]


def test_a_delay_beyond_the_patience_is_raised_at_once() -> None:
    clock = Clock()
    with pytest.raises(Unavailable):
        clock.patience(300).pause_or_raise(Unavailable("draining", retry_after=301.0))
    assert clock.pauses == []


def test_a_word_from_the_server_starts_the_count_again() -> None:
    clock = Clock()
    patience = clock.patience(10)
    for _ in range(20):
        patience.pause_or_raise(Unavailable("draining", retry_after=9.0))
        patience.reached()
    assert sum(clock.pauses) == 180


def test_the_callers_deadline_comes_first() -> None:
    clock = Clock()
    with pytest.raises(TimedOut):
        clock.patience(300).pause_or_raise(Unavailable("draining", retry_after=3.0), deadline=1002.0)
    assert clock.pauses == []


def test_any_other_answer_is_final() -> None:
    clock = Clock()
    with pytest.raises(NotFound):
        clock.patience(300).pause_or_raise(NotFound("no such generation"))
    assert clock.pauses == []
