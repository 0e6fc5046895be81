"""Events: who gets them, and where they go if nobody asked."""

import contextvars
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from cnnkit.events import Event, Note, OnEvent, Warned, emit, handled_by, ignore, takes_on_event


@takes_on_event
def verb(text: str, *, on_event: OnEvent | None = None) -> str:
    """Say something twice, the second time in a verb that was not asked to be heard."""
    emit(Note(text))
    return text if text == "inner" else verb("inner")


def test_the_handler_of_a_verb_is_that_of_all_below_it() -> None:
    events: list[Event] = []
    assert verb("outer", on_event=events.append) == "inner"
    assert events == [Note("outer"), Note("inner")]
    verb("silent")
    assert len(events) == 2


def test_the_inner_handler_goes_before_and_is_taken_back_after_an_error() -> None:
    outer: list[Event] = []
    inner: list[Event] = []

    def fail(event: Event) -> None:
        raise KeyboardInterrupt

    with handled_by(outer.append):
        verb("a", on_event=inner.append)
        with pytest.raises(KeyboardInterrupt):
            verb("b", on_event=fail)
        with handled_by(ignore):
            verb("c")
        emit(Note("d"))
    assert inner == [Note("a"), Note("inner")]
    assert outer == [Note("d")]


def test_without_a_handler_warnings_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    emit(Note("nothing"))
    emit(Warned("something"))
    assert caplog.record_tuples == [("cnnkit", logging.WARNING, "something")]


def test_a_thread_needs_the_context() -> None:
    events: list[Event] = []
    with handled_by(events.append), ThreadPoolExecutor(1) as pool:
        pool.submit(emit, Note("lost")).result()
        pool.submit(contextvars.copy_context().run, emit, Note("kept")).result()
    assert events == [Note("kept")]
