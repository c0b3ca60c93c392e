"""Records: frozen dataclasses that are complete when their first instance is made."""

import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, field, fields, is_dataclass, replace
from threading import Barrier, Thread

import pytest

from wan_mcp_tools.domain.record import Record


def make_class() -> type:
    """Make a class that nothing was done with yet."""

    class Picture(Record):
        name: str
        width: int = 4
        tags: list[str] = field(default_factory=list[str])
        note: str = field(default="", compare=False)

    return Picture


def is_complete(record: type) -> bool:
    return "__init__" in vars(record)


def test_a_record_is_made_by_place_and_by_name_and_takes_its_defaults():
    picture = make_class()("fox", width=7)
    assert (picture.name, picture.width, picture.tags, picture.note) == ("fox", 7, [], "")


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), (("fox",), {"height": 3}), (("fox", 1, [], "", 5), {})])
def test_wrong_arguments_are_refused_by_the_first_instance_and_by_every_other(args, kwargs):
    picture = make_class()
    for _ in range(2):
        with pytest.raises(TypeError, match="Picture"):
            picture(*args, **kwargs)


def test_a_record_cannot_be_changed_and_a_changed_copy_is_another():
    fox = make_class()("fox")
    with pytest.raises(FrozenInstanceError):
        fox.width = 9
    wide = replace(fox, width=9)
    assert (fox.width, wide.width, wide.name) == (4, 9, "fox")
    assert wide != fox


def test_equal_records_are_equal_and_have_equal_hashes_whatever_is_not_compared():
    class Point(Record):
        x: int
        seen: str = field(default="", compare=False)

    assert Point(1) == Point(1, "twice")
    assert len({Point(1), Point(1, "twice"), Point(2)}) == 2
    assert Point(1) != (1, "")
    assert repr(Point(1)).endswith("Point(x=1, seen='')")


def test_what_is_not_to_be_shown_is_not_shown_and_what_is_not_to_be_hashed_is_only_compared():
    class Access(Record):
        name: str
        secret: str = field(repr=False)
        tags: list[str] = field(default_factory=list[str], hash=False)

    assert repr(Access("a", "hidden")).endswith("Access(name='a', tags=[])")
    assert hash(Access("a", "b", ["c"])) == hash(Access("a", "b"))
    assert Access("a", "b", ["c"]) != Access("a", "b")


def test_a_class_is_not_complete_before_something_of_it_is_needed():
    assert not is_complete(make_class())


@pytest.mark.parametrize("use", [lambda record: record("fox"), fields, is_dataclass])
def test_an_instance_or_a_look_at_the_fields_completes_the_class(use: Callable[[type], object]):
    picture = make_class()
    assert use(picture)
    assert is_complete(picture)


def test_the_functions_of_dataclasses_know_records():
    picture = make_class()
    assert [each.name for each in fields(picture)] == ["name", "width", "tags", "note"]
    assert asdict(picture("fox")) == {"name": "fox", "width": 4, "tags": [], "note": ""}
    assert not is_dataclass(Record)


def test_a_record_whose_arguments_have_names_takes_none_by_place():
    class Named(Record, kw_only=True):
        first: int = 0
        second: str

    with pytest.raises(TypeError):
        Named(1, "2")
    assert Named(second="2").first == 0


def test_a_record_that_extends_another_has_its_fields_too_and_both_can_be_made():
    class Base(Record):
        name: str

    class Extended(Base):
        size: int = 2

    assert is_complete(Extended)
    assert (Extended("fox").name, Extended("fox").size) == ("fox", 2)
    assert Base("fox") != Extended("fox")
    assert not hasattr(Base("fox"), "size")


def test_records_are_matched_by_place_and_by_name():
    match make_class()("fox", 8):
        case Record(name="fox", width=width):
            assert width == 8
        case _:
            pytest.fail("not matched")


def test_threads_that_make_the_first_instances_at_once_find_them_equal():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            unlike = make_first_instances()
            assert len(unlike) == 1
    finally:
        sys.setswitchinterval(before)


def make_first_instances() -> set[Record]:
    """Give what four threads have made of the same values, each as soon as it could."""

    class Point(Record):
        x: int
        y: int = 0

    made, barrier = set[Record](), Barrier(4)

    def work() -> None:
        barrier.wait(10)
        made.add(Point(1))

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return made
