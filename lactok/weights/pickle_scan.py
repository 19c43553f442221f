"""Looks through a pickle's instructions before anything is built from them.

A pickle is a small program. Its instructions can be read without running them (`pickletools`), which is enough to see
what it would call, and to refuse one that is made to hang its reader or to fill the memory.
"""

from __future__ import annotations

import pickletools
from dataclasses import dataclass, field
from typing import IO, Any

from lactok.errors import UserError

INSTRUCTIONS = 5_000_000  # in a pickle; those of large checkpoints have some hundred thousand
WORK = 50_000_000  # objects handled by all instructions together, where a shared tuple counts at each of its places
ODD = 10_000  # keys that are tuples, and numbers of more than 64 bits: their hashes can be made equal, which is slow
UNKNOWN = "?"  # called, but not named as a plain global

_REFERENCE = 5  # parts of a reference to a storage
_CALLS = ("REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ")
_TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "FROZENSET")
# which of an instruction's items are keys of a dictionary or members of a set
_KEYED = {
    "SETITEM": slice(1, None, 2),
    "SETITEMS": slice(1, None, 2),
    "DICT": slice(0, None, 2),
    "ADDITEMS": slice(1, None),
    "FROZENSET": slice(None),
}
_HASHING = tuple(f"collections.{name}" for name in ("OrderedDict", "Counter", "defaultdict"))
_HASHING += ("builtins.set", "builtins.frozenset", "builtins.dict")
_CHANGES = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")  # leave their object where it is


@dataclass(frozen=True, slots=True)
class _Item:
    """What stands for an object on the reader's stack.

    Attributes:
        weight: how many objects are visited to hash or print it: 1, but for tuples the sum over what they hold.
        name: "module.name" of a global, "" of any other object.
        value: of a text or a whole number.
        parts: of a short tuple.
    """

    weight: int = 1
    name: str = ""
    value: str | int | None = None
    parts: tuple[_Item, ...] = ()


_PLAIN, _MARK = _Item(), _Item(0)


@dataclass(frozen=True)
class Program:
    """What a pickle would do.

    Attributes:
        called: functions and classes, as "module.name"; "?" for what no plain global names.
        storages: what it says of the storages that its tensors lie on: the type ("torch.FloatStorage"), the key and
            the number of elements, or None for a reference of another form.
    """

    called: frozenset[str]
    storages: tuple[tuple[str, str, int] | None, ...]


@dataclass(slots=True)
class _Machine:
    """A reader's stack and memo, holding `_Item`s in place of objects."""

    where: str
    stack: list[_Item] = field(default_factory=list)
    memo: dict[int, _Item] = field(default_factory=dict)
    called: set[str] = field(default_factory=set)
    storages: list[tuple[str, str, int] | None] = field(default_factory=list)
    work: int = 0
    odd: int = 0
    listed: int = 0  # tuples in lists, which become keys where a list is given to one of `_HASHING`

    def take(self, count: int) -> list[_Item]:
        """The last `count` items, taken off the stack."""
        if count > len(self.stack):
            raise UserError(f"{self.where} cannot be read as a checkpoint (a damaged pickle); fetch it again")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def take_to_mark(self) -> list[_Item]:
        """The items above the last mark, taken off the stack with the mark."""
        for count, item in enumerate(reversed(self.stack)):
            if item is _MARK:
                return self.take(count + 1)[1:]
        return self.take(len(self.stack) + 1)

    def remember(self, index: int, instructions: int) -> None:
        """Note the last item under `index`. A reader makes its table as long as the highest index."""
        if index > 2 * instructions + 1000:
            raise UserError(
                f"{self.where} is refused: its pickle numbers an object {index}, which would take "
                f"{16 * index / 1e9:.1f} GB; get the file from its official source"
            )
        self.memo[index] = self.take(1)[0]
        self.stack.append(self.memo[index])

    def step(self, opcode: Any, argument: Any, instructions: int) -> None:
        """Do what one instruction does to the stack and the memo."""
        name = opcode.name
        if name == "MARK":
            self.stack.append(_MARK)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.remember(len(self.memo) if argument is None else argument, instructions)
        elif name == "PERSID":
            self.storages.append(None)
            self.stack.append(_PLAIN)
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo.get(argument, _PLAIN))
        elif name == "DUP":
            self.stack += self.take(1) * 2
        elif name == "POP":
            self.take(1)
        elif name == "GLOBAL":
            self.stack.append(_Item(name=argument.replace(" ", ".", 1)))
        elif name == "INST":
            self.called.add(argument.replace(" ", ".", 1))
            self.take_to_mark()
            self.stack.append(_PLAIN)
        elif type(argument) is int and argument.bit_length() > 64:
            self.odd += 1
            self.stack.append(_PLAIN)
        elif type(argument) in (str, int) and not opcode.stack_before and opcode.stack_after:
            self.stack.append(_Item(value=argument))
        else:
            self._general(opcode)

    def _general(self, opcode: Any) -> None:
        """An instruction that replaces some items by others, as pickletools describes it."""
        before = opcode.stack_before
        if pickletools.markobject in before:
            items = self.take_to_mark()
            items = self.take(before.index(pickletools.markobject)) + items
        else:
            items = self.take(len(before))
        weight = sum(item.weight for item in items)
        self.work += weight
        if opcode.name in _KEYED:
            self.odd += sum(item.weight > 1 for item in items[_KEYED[opcode.name]])
        if opcode.name in ("APPEND", "APPENDS", "LIST"):
            self.listed += sum(item.weight > 1 for item in items[1:])
        made = _PLAIN
        if opcode.name == "STACK_GLOBAL":
            module, name = items
            both = isinstance(module.value, str) and isinstance(name.value, str)
            made = _Item(name=f"{module.value}.{name.value}" if both else UNKNOWN)
        elif opcode.name in _CALLS:
            self.called.add(items[0].name if items and items[0].name else UNKNOWN)
            if items and items[0].name in _HASHING and weight > len(items):  # it is given something
                self.odd += self.listed
            made = _Item(weight + 1)
        elif opcode.name in _TUPLES:
            made = _Item(weight + 1, parts=tuple(items) if len(items) == _REFERENCE else ())
        elif opcode.name == "BINPERSID":
            self.storages.append(_storage(items[0]))
        if opcode.stack_after:
            self.stack.append(items[0] if opcode.name in _CHANGES else made)


def _storage(reference: _Item) -> tuple[str, str, int] | None:
    """Type, key and number of elements of a reference to a storage, ("storage", type, key, device, number)."""
    if len(reference.parts) != _REFERENCE:
        return None
    _, kind, key, _, number = reference.parts
    known = kind.name and isinstance(key.value, str) and isinstance(number.value, int)
    return (kind.name, key.value, number.value) if known else None  # type: ignore[return-value]


def scan(stream: IO[bytes], where: str) -> Program:
    """Look through one pickle; the stream stands behind it then.

    Args:
        where: the file's name, for messages.

    Raises:
        UserError: damaged, or more instructions or work than weights need.
    """
    machine = _Machine(where)
    for instructions, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if instructions > INSTRUCTIONS:
            raise UserError(f"{where} is refused: a pickle of more than {INSTRUCTIONS:,} instructions is not read")
        machine.step(opcode, argument, instructions)
        if machine.odd > ODD:
            raise UserError(
                f"{where} is refused: more than {ODD:,} of its keys are tuples or numbers of more than 64 bits, which "
                "no weights need; get the file from its official source"
            )
        if machine.work > WORK:
            raise UserError(
                f"{where} is refused: its tuples hold each other so often that reading them would not end; "
                "get the file from its official source"
            )
    return Program(frozenset(machine.called), tuple(machine.storages))
