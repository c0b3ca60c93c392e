"""The base of every record: a frozen dataclass that costs a start nothing."""

from dataclasses import Field, dataclass, field, fields
from threading import RLock
from typing import Any, ClassVar, TypeVar, cast, dataclass_transform

T = TypeVar("T", bound="type[Record]")

_completing = RLock()


class _Fields:
    """The fields of a record's class, where the functions of `dataclasses` look for them: it is completed first."""

    def __get__(self, _: object, owner: "type[Record]") -> dict[str, "Field[Any]"]:
        if owner is Record:
            raise AttributeError(owner)
        return _complete(owner).__dict__["__dataclass_fields__"]


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Record:
    """
    A frozen dataclass whose methods are written when its first instance is made, or its fields are asked for.

    For all classes together that takes a tenth of a start, and most of them have no instance there. What is true of a
    dataclass is true of a record: `field`, `fields` and `replace` are those of the standard library. One that extends
    another is complete from the beginning.
    """

    is_keyword_only: ClassVar = False
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]] = cast("Any", _Fields())

    def __init_subclass__(cls, *, kw_only: bool = False) -> None:
        """Note how the arguments of the record are passed."""
        cls.is_keyword_only = kw_only
        if cls.__base__ is not Record:
            _complete(cls)

    def __init__(self, *args: object, **kwargs: object) -> None:
        # A complete class has its own.
        _complete(type(self)).__init__(self, *args, **kwargs)

    # The standard library would write these three for each class, which takes as long as all the rest.

    def __repr__(self) -> str:
        """Name the class, and the fields that may be shown."""
        shown = (f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        """Compare the fields that count."""
        if type(other) is not type(self):
            return NotImplemented
        names = [each.name for each in fields(self) if each.compare]
        return [getattr(self, name) for name in names] == [getattr(other, name) for name in names]

    def __hash__(self) -> int:
        """Give equal records an equal hash."""
        counted = (each for each in fields(self) if (each.compare if each.hash is None else each.hash))
        return hash(tuple(getattr(self, each.name) for each in counted))


def _complete(cls: T) -> T:
    """Let the standard library write the methods of a record, once."""
    with _completing:
        if "__dataclass_fields__" not in cls.__dict__:
            dataclass(frozen=True, eq=False, repr=False, kw_only=cls.is_keyword_only)(cls)
    return cls
