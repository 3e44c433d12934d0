"""Reading, computing and writing of several images at a time."""

import gc
import os
import signal
import threading
import time
import weakref

import pytest

from srzoo.cli.overlap import overlap


def run(device_type, count, read, compute, write):
    """What is told of each image, in order: its result, or the error's text."""
    told = []

    def tell(key, done):
        told.append((key, str(done.exception()) if done.exception() else done.result()))

    with overlap(device_type, tell) as work:
        for i in range(count):
            work.add(i, work.start(lambda i=i: read(i), compute, write))
    return told


def fail_at(failing, function):
    def run(value):
        if value == failing:
            raise ValueError(f"no {value}")
        return function(value)

    return run


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_all_is_told_in_order(device_type):
    """Whatever fails, and however long it takes; nothing follows where there is nothing to read."""

    def write(value):
        time.sleep(0.002 * (value % 3))
        return value + 1

    read = fail_at(3, lambda i: None if i == 5 else i)
    told = run(device_type, 12, read, fail_at(4, lambda i: 10 * i), fail_at(70, write))
    expected = {i: 10 * i + 1 for i in range(12)} | {3: "no 3", 5: None, 4: "no 4", 7: "no 70"}
    assert told == list(expected.items())


def test_an_image_is_read_while_the_ones_before_are_computed_and_written():
    """Each stage waits for the one of another image."""
    is_read, is_computed = threading.Event(), threading.Event()

    def read(i):
        if i == 2:
            is_read.set()
        return i

    def compute(i):
        assert i != 1 or is_read.wait(10)
        if i == 1:
            is_computed.set()
        return i

    def write(i):
        assert i or is_computed.wait(10)
        return i

    assert run("cuda", 3, read, compute, write) == [(i, i) for i in range(3)]


def test_few_images_are_under_way():
    written, most = [], []

    def read(i):
        most.append(i - len(written))
        return i

    def write(i):
        time.sleep(0.005)
        written.append(i)

    run("cuda", 30, read, lambda i: i, write)
    assert max(most) <= 7 and len(written) == 30


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_nothing_is_begun_after_an_interrupt(device_type):
    computed = []

    def read(i):
        if i == 4:
            raise KeyboardInterrupt
        return i

    with pytest.raises(KeyboardInterrupt):
        run(device_type, 9, read, lambda i: computed.append(i) or i, lambda i: i)
    assert max(computed) <= 3


def test_what_was_under_way_when_an_error_ended_the_work_is_told_of(monkeypatch):
    """On a full disk images that other threads wrote meanwhile were not counted."""
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    told, has_begun = [], threading.Event()

    def tell(key, done):
        if done.exception():
            raise done.exception()
        told.append(key)

    def write(i):
        if i == 0:
            assert has_begun.wait(10)
            raise OSError("full")
        has_begun.set()
        time.sleep(0.05)
        return i

    with pytest.raises(OSError, match="full"), overlap("cuda", tell) as work:
        for i in range(2):
            work.add(i, work.start(lambda i=i: i, lambda i: i, write))
    assert told == [1]


@pytest.mark.skipif(os.name == "nt", reason="POSIX's signals")
def test_the_image_that_was_waited_for_when_a_signal_came_is_told_of():
    told, waits = [], threading.Event()

    def write(i):
        assert waits.wait(10)
        time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        time.sleep(0.05)
        return i

    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), overlap("cuda", lambda key, done: told.append(key)) as work:
            work.add(0, work.start(lambda: 0, lambda i: i, write))
            waits.set()
    finally:
        signal.signal(signal.SIGINT, former)
    assert told == [0]


class Image:
    """Large."""


def test_one_image_is_in_memory_on_a_cpu():
    """While it is written, only its result is; of one that failed nothing is left."""
    images, alive = [], []

    def read():
        image = Image()
        images.append(weakref.ref(image))
        return image

    def write(value):
        alive.append([each() is not None for each in images])

    gc.disable()
    try:
        with overlap("cpu", lambda key, done: None) as work:
            for compute in (lambda image: 1, lambda image: 2, lambda image: 1 / 0, lambda image: 4):
                work.add(0, work.start(read, compute, write))
    finally:
        gc.enable()
    assert alive == [[False], [False, False], [False] * 4]
