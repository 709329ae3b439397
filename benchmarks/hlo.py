"""Counts what a compiled program does, from the text of its optimised HLO: kernels, bytes, operations.

Loops are multiplied out by their trip counts, which the compiler writes down, or by the constant that their counter is
compared with.
"""

import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

TRANSCENDENTAL = 10
"""Operations of a transcendental function: range reduction and a polynomial."""

_FUNCTIONS = (
    "atan2 cbrt cosine erf exponential exponential-minus-one log log-plus-one logistic power rsqrt sine sqrt tan tanh "
    "divide remainder"
)
_SIMPLE = (
    "abs add and ceil clamp compare floor maximum minimum multiply negate not or popcnt round-nearest-afz "
    "round-nearest-even select shift-left shift-right-arithmetic shift-right-logical sign subtract xor"
)
_OPERATIONS = dict.fromkeys(_SIMPLE.split(), 1) | dict.fromkeys(_FUNCTIONS.split(), TRANSCENDENTAL)
# What costs nothing by itself, at the top of a program.
_FREE = frozenset(
    [
        "add-dependency",
        "after-all",
        "async-done",
        "async-update",
        "bitcast",
        "constant",
        "copy-done",
        "domain",
        "get-dimension-size",
        "get-tuple-element",
        "iota",
        "opt-barrier",
        "parameter",
        "partition-id",
        "replica-id",
        "tuple",
        "all-reduce-done",
        "all-gather-done",
        "collective-permute-done",
        "recv",
        "recv-done",
        "send",
        "send-done",
    ]
)
_SLICES = ("dynamic-slice", "slice", "gather")
_COLLECTIVE = re.compile(r"(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|collective-broadcast)")
_SIZES = {"pred": 1, "s4": 0.5, "u4": 0.5, "bf16": 2, "c64": 8, "c128": 16, "token": 0, "opaque": 0}
_ARRAY = re.compile(r"\b(\w+)\[([\d,]*)\](?:\{([^}]*)\})?")


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a program, or a part of it, does."""

    kernels: float = 0.0
    """Kernels started; on a TPU operations of the program that work on memory."""
    bytes: float = 0.0
    """Bytes read from and written to the device's memory; on a TPU without those of its vector memory."""
    operations: float = 0.0
    """Arithmetic on single numbers; a multiply-add is one, a transcendental function TRANSCENDENTAL."""
    product_flops: float = 0.0
    """Multiplications and additions in products of matrices and convolutions."""
    collectives: float = 0.0
    cycles: float = 0.0
    """What the compiler for TPU estimates that the kernels take."""
    unknown: float = 0.0
    """Kernels whose operations the text does not tell, such as those of Pallas; their bytes are counted."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))

    def times(self, number: float) -> "Cost":
        """Returns the cost of that many."""
        return Cost(*(number * a for a in dataclasses.astuple(self)))


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel of a program."""

    name: str
    opcode: str
    launches: float
    """How often it is started in a run; a loop of unknown length counts as one pass."""
    cost: Cost
    """Of one launch."""
    text: str = dataclasses.field(repr=False)
    """Its line of HLO, after the opcode."""


@dataclasses.dataclass(frozen=True)
class Instruction:
    """A line of HLO."""

    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    text: str
    """Everything after the opcode."""
    is_root: bool

    def called(self, attribute: str) -> str:
        """Returns the name of a computation that is an attribute, or ""."""
        found = re.search(rf"\b{attribute}=%?([\w.\-]+)", self.text)
        return found[1] if found else ""

    def numbers(self, attribute: str) -> list[int]:
        """Returns a list of whole numbers, `attribute={1,2}`, or of none."""
        found = re.search(rf"\b{attribute}=\{{([\d,]*)\}}", self.text)
        return [int(n) for n in found[1].split(",") if n] if found else []


class Module:
    """The text of a compiled program, taken apart."""

    def __init__(self, text: str):
        self.computations: dict[str, dict[str, Instruction]] = {}
        current: dict[str, Instruction] = {}
        for line in text.splitlines():
            header = re.match(r"(ENTRY )?%?([\w.\-]+) (\(.*)?\{$", line)
            if header:
                current = self.computations.setdefault(header[2], {})
                if header[1]:
                    self.entry = header[2]
            elif instruction := _instruction(line):
                current[instruction.name] = instruction

    def kernels(self) -> list[Kernel]:
        """Returns all kernels, in the program's order."""
        return list(self._kernels(self.entry, 1.0))

    @cached_property
    def cost(self) -> Cost:
        """The cost of a run of the whole program."""
        return sum((kernel.cost.times(kernel.launches) for kernel in self.kernels()), Cost())

    def _kernels(self, computation: str, times: float) -> Iterator[Kernel]:
        body = self.computations[computation]
        for one in body.values():
            if one.opcode == "while":
                trips = self.trip_count(one) or 1
                yield from self._kernels(one.called("body"), times * trips)
                # The host counts up to a number that it knows; otherwise the device compares.
                if "known_trip_count" not in one.text:
                    yield from self._kernels(one.called("condition"), times * trips)
            elif one.opcode == "call":
                yield from self._kernels(one.called("to_apply"), times)
            elif one.opcode == "conditional":
                branches = [list(self._kernels(name, times)) for name in _branches(one)]
                yield from max(branches, key=lambda kernels: sum(kernel.launches for kernel in kernels))
            elif one.opcode == "async-start" and one.called("calls"):
                yield from self._kernels(one.called("calls"), times)
            elif one.opcode not in _FREE and 'custom_call_target="AllocateBuffer"' not in one.text:
                yield Kernel(one.name, one.opcode, times, self._cost(one, body), one.text)

    @cached_property
    def unknown_loops(self) -> int:
        """How many loops count as one pass, as the text does not tell how often they run."""
        every = (one for body in self.computations.values() for one in body.values())
        return sum(one.opcode == "while" and self.trip_count(one) is None for one in every)

    def trip_count(self, loop: Instruction) -> int | None:
        """Returns how often a `while` runs its body; None if the text does not tell."""
        known = re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop.text)
        if known:
            return int(known[1])
        for test in self._all_instructions(loop.called("condition")):
            if test.opcode == "compare" and "direction=LT" in test.text:
                limits = [self._constant(loop.called("condition"), name) for name in test.operands]
                found = [limit for limit in limits if limit is not None]
                if found:
                    return max(1, found[0])
        return None

    def _all_instructions(self, computation: str) -> Iterator[Instruction]:
        for one in self.computations[computation].values():
            yield one
            if one.opcode in ("fusion", "call"):
                yield from self._all_instructions(one.called("calls") or one.called("to_apply"))

    def _constant(self, computation: str, name: str) -> int | None:
        for one in self._all_instructions(computation):
            if one.name == name and one.opcode == "constant":
                found = re.match(r"\((-?\d+)\)", one.text)
                return int(found[1]) if found else None
        return None

    def _cost(self, one: Instruction, body: dict[str, Instruction]) -> Cost:
        inner = self._operations([one], body)
        cycles = re.search(r'"estimated_cycles":"(\d+)"', one.text)
        return dataclasses.replace(
            inner,
            kernels=0.0 if _is_of_scalar_core(one) else 1.0,
            bytes=self._bytes(one, body),
            collectives=float(bool(_COLLECTIVE.match(one.opcode))),
            cycles=float(cycles[1]) if cycles else 0.0,
            unknown=inner.unknown + (one.opcode == "custom-call" and not inner.product_flops + inner.operations),
        )

    def _operations(self, instructions: Iterable[Instruction], body: dict[str, Instruction]) -> Cost:
        """Returns the operations of some instructions of a computation, with those that they call."""
        total = Cost()
        uses = Counter(name for one in body.values() for name in one.operands)
        for one in instructions:
            if one.opcode in _OPERATIONS:
                # It takes a product that nothing else needs with it, as a multiply-add.
                factors = [name for name in one.operands if body[name].opcode == "multiply" and uses[name] == 1]
                is_free = bool(factors) and one.opcode in ("add", "subtract")
                total += Cost(operations=0 if is_free else _OPERATIONS[one.opcode] * numel(one.type))
            elif one.opcode in ("fusion", "call", "async-start"):
                inner = self.computations[one.called("calls") or one.called("to_apply")]
                total += self._operations(inner.values(), inner)
            elif one.opcode in ("reduce", "reduce-window", "scatter", "sort", "map"):
                inner = self.computations[one.called("to_apply")]
                each = self._operations(inner.values(), inner).operations
                total += Cost(operations=each * max(numel(body[name].type) for name in one.operands))
            elif one.opcode in ("dot", "convolution", "custom-call"):
                total += Cost(product_flops=_product_flops(one, body), operations=_estimated(one))
        return total

    def _bytes(self, one: Instruction, body: dict[str, Instruction]) -> float:
        if one.opcode in _SLICES:
            return 2 * num_bytes(one.type)
        if one.opcode == "dynamic-update-slice":
            return 2 * num_bytes(body[one.operands[1]].type)
        if one.opcode != "fusion":
            written = _first_array(one.type) if one.opcode in ("custom-call", "copy-start") else one.type
            return num_bytes(written) + sum(num_bytes(body[name].type) for name in one.operands)
        inner = self.computations[one.called("calls")]
        (root,) = (i for i in inner.values() if i.is_root)
        read = sum(self._bytes_read(p, inner) for p in inner.values() if p.opcode == "parameter")
        return read + _bytes_written(root, inner)

    def _bytes_read(self, parameter: Instruction, inner: dict[str, Instruction]) -> float:
        """Returns what is read of an argument; of one that is only sliced, the slices."""
        whole, total = num_bytes(parameter.type), 0.0
        for user in inner.values():
            if parameter.name not in user.operands:
                continue
            is_first = user.operands.index(parameter.name) == 0 and user.operands.count(parameter.name) == 1
            if user.opcode in _SLICES and is_first:
                total += num_bytes(user.type) if whole else 0.0
            elif user.opcode == "bitcast":
                total += self._bytes_read(dataclasses.replace(user, type=parameter.type), inner)
            elif user.opcode == "fusion":
                nested = self.computations[user.called("calls")]
                number = user.operands.index(parameter.name)
                total += self._bytes_read(_parameter(nested, number), nested)
            elif not (user.opcode == "dynamic-update-slice" and is_first):
                return whole
        return min(total, whole)


def _is_of_scalar_core(one: Instruction) -> bool:
    """Tells whether a TPU computes a single number beside its vector unit."""
    return one.opcode not in ("fusion", "custom-call") and re.match(r"\w+\[\]\{:T\(", one.type) is not None


def _instruction(line: str) -> Instruction | None:
    found = re.match(r"\s+(ROOT )?%?([\w.\-]+) = (.*)$", line)
    if not found:
        return None
    type_text, rest = _split_type(re.sub(r"/\*.*?\*/", "", found[3]))
    opcode, text = rest[: rest.index("(")], rest[rest.index("(") :]
    inside = text[1 : _closing(text)]
    names = () if opcode in ("constant", "parameter") else inside.split(",")
    operands = tuple(name.strip().removeprefix("%") for name in names if name.strip())
    return Instruction(found[2], type_text, opcode, operands, text, bool(found[1]))


def _split_type(text: str) -> tuple[str, str]:
    end = _closing(text) + 1 if text.startswith("(") else text.index(" ")
    return text[:end], text[end:].lstrip()


def _closing(text: str) -> int:
    depth = 0
    for n, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if not depth:
            return n
    raise ValueError(f"a bracket stays open in {text[:80]}")


def _branches(one: Instruction) -> list[str]:
    listed = re.search(r"branch_computations=\{(.*?)\}", one.text)
    return (
        re.findall(r"%?([\w.\-]+)", listed[1])
        if listed
        else [one.called(f"{b}_computation") for b in ("true", "false")]
    )


def _parameter(computation: dict[str, Instruction], number: int) -> Instruction:
    return next(i for i in computation.values() if i.opcode == "parameter" and i.text.startswith(f"({number})"))


def _bytes_written(root: Instruction, inner: dict[str, Instruction]) -> float:
    if root.opcode == "tuple":
        return sum(_bytes_written(inner[name], inner) for name in root.operands)
    if root.opcode == "bitcast":
        return _bytes_written(dataclasses.replace(inner[root.operands[0]], type=root.type), inner)
    if root.opcode == "dynamic-update-slice":
        return num_bytes(inner[root.operands[1]].type) if num_bytes(root.type) else 0.0
    return num_bytes(root.type)


def _first_array(type_text: str) -> str:
    found = _ARRAY.search(type_text)
    return found[0] if found else ""


def _product_flops(one: Instruction, body: dict[str, Instruction]) -> float:
    size = numel(_first_array(one.type))
    if "dim_labels=" in one.text:
        return 2.0 * _convolved(one, body)
    contracted = one.numbers("lhs_contracting_dims")
    if one.opcode == "custom-call":  # a library's product
        found = re.search(r'"lhs_contracting_dimensions":\[([\d",]*)\]', one.text)
        contracted = [int(n) for n in re.findall(r"\d+", found[1])] if found else []
        if not found:
            return 0.0
    left = _shape(body[one.operands[0]].type)
    return 2.0 * size * math.prod(left[axis] for axis in contracted)


def _estimated(one: Instruction) -> float:
    """Returns the operations that the author of a kernel for TPU states."""
    found = re.search(r'"cost_estimate":\{"flops":"(\d+)","transcendentals":"(\d+)"', one.text)
    return float(found[1]) + TRANSCENDENTAL * float(found[2]) if found else 0.0


def _convolved(one: Instruction, body: dict[str, Instruction]) -> float:
    """Returns the multiply-adds of a convolution, as which a TPU computes products of matrices too."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", one.text)
    window = re.search(r"window=\{([^}]*)\}", one.text)
    assert labels is not None
    left, right, out = (_shape(t) for t in (*(body[name].type for name in one.operands[:2]), _first_array(one.type)))
    settings = dict(part.split("=") for part in window[1].split()) if window else {}
    total = out[labels[3].index("b")] * out[labels[3].index("f")] * right[labels[2].index("i")]
    for n in range(len(labels[1]) - 2):
        size, stride, dilated, inside = (
            int(settings[name].split("x")[n]) if name in settings else 1
            for name in ("size", "stride", "rhs_dilate", "lhs_dilate")
        )
        before = int(settings["pad"].split("x")[n].split("_")[0]) if "pad" in settings else 0
        length, outputs = left[labels[1].index(str(n))], out[labels[3].index(str(n))]
        starts = (o * stride - before + k * dilated for o in range(outputs) for k in range(size))
        total *= sum(start % inside == 0 and 0 <= start // inside < length for start in starts)
    return float(total)


def _shape(type_text: str) -> list[int]:
    found = _ARRAY.search(type_text)
    return _dimensions(found[2]) if found else []


def count(compiled: Any) -> Cost:
    """Returns what a compiled program does in one run.

    Args:
        compiled: from `jax.jit(f).lower(...).compile()`.
    """
    return Module(compiled.as_text()).cost


def numel(type_text: str) -> int:
    """Returns the elements of the arrays of a type."""
    return sum(math.prod(_dimensions(shape)) for _, shape, _ in _ARRAY.findall(type_text))


def num_bytes(type_text: str) -> float:
    """Returns the bytes of the arrays of a type in the device's main memory, padded as a TPU pads them."""
    total = 0.0
    for dtype, shape, layout in _ARRAY.findall(type_text):
        if "S(" in layout:
            continue
        dims = _dimensions(shape)
        order = [int(n) for n in layout.split(":")[0].split(",") if n.strip().isdigit()]
        tile = re.search(r"T\(([\d,]+)\)", layout)
        if tile and order:
            for axis, size in zip(order, reversed(_dimensions(tile[1])), strict=False):
                dims[axis] = -(-dims[axis] // size) * size
        total += math.prod(dims) * _itemsize(dtype)
    return total


def _itemsize(dtype: str) -> float:
    digits = re.search(r"\d+", dtype)
    return _SIZES[dtype] if dtype in _SIZES else int(digits[0]) / 8 if digits else 0.0


def _dimensions(shape: str) -> list[int]:
    return [int(n) for n in shape.split(",") if n]
