"""What is allocated after a fork lies on pages of its own."""

import gc
import json
import mmap
import os
from collections.abc import Callable

import pytest

from mlflow.server.jobs.local import holes

SIZES = range(16, 513, 16)
# Of each size, about as many as the first steps of a job make.
NEW_OBJECTS = 50


@pytest.mark.parametrize("size", SIZES)
def test_an_object_is_of_the_size_that_is_asked_for(size):
    made = holes.maker(size)()
    assert size - 16 < made.__sizeof__() <= size
    assert not gc.is_tracked(made)


def test_new_objects_of_a_child_are_not_where_old_ones_are():
    all_of_them = len(SIZES) * NEW_OBJECTS
    assert in_child(lambda: on_old_pages(lambda: None)) > all_of_them / 2
    # A page on which the last old ones are may go on with new ones, one page for each size.
    assert in_child(lambda: on_old_pages(holes.fill)) < all_of_them / 10


def on_old_pages(prepare: Callable[[], None]) -> int:
    """How many new objects lie on a page on which an old one does."""
    old = [[holes.maker(size)() for _ in range(4000)] for size in SIZES]
    for objects in old:
        # One in four is gone, here and there.
        del objects[::4]
    pages = {id(each) // mmap.PAGESIZE for objects in old for each in objects}
    prepare()
    new = [[holes.maker(size)() for _ in range(NEW_OBJECTS)] for size in SIZES]
    return sum(id(each) // mmap.PAGESIZE in pages for objects in new for each in objects)


def in_child(count: Callable[[], int]) -> int:
    """The answer of a process that is thrown away, with all that it holds."""
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.write(writer, json.dumps(count()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        counted = json.load(answer)
    os.waitpid(pid, 0)
    return counted
