"""Signals: held back where a lab is built, delivered afterwards, never lost."""

import signal
import threading

import pytest

from preflight.lab.signals import give_way, interruptible, uninterrupted


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interruptible(sign: signal.Signals) -> None:
    """Protects clean-up from signals that would end the process at once."""
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(sign)


def test_held_back_and_delivered() -> None:
    """Protects a tear-down in progress: it is finished first, and the signal is not forgotten."""
    steps = []

    def work() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            with uninterrupted():
                steps.append("inner")
            steps.append("outer")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert steps == ["inner", "outer"]


def test_give_way() -> None:
    """Protects the user who waits: what was held back interrupts at the next step, and only once."""
    steps = []

    def work() -> None:
        with uninterrupted():
            give_way()
            signal.raise_signal(signal.SIGINT)
            steps.append("held")
            give_way()
            steps.append("never")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert steps == ["held"]
    with uninterrupted():
        give_way()


def test_an_error_does_not_swallow_the_signal() -> None:
    """Protects the next command in this process from a signal that was meant for this one."""

    def work() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            raise ZeroDivisionError

    with pytest.raises(KeyboardInterrupt):
        work()
    give_way()


def test_other_threads_are_left_alone() -> None:
    """Protects labs that are built in threads: signals are the main thread's business."""
    seen: list[str] = []

    def work() -> None:
        with uninterrupted(), interruptible():
            give_way()
            seen.append("through")

    def interrupted_while_it_works() -> None:
        with uninterrupted():
            signal.raise_signal(signal.SIGINT)
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

    with pytest.raises(KeyboardInterrupt):
        interrupted_while_it_works()
    assert seen == ["through"]
