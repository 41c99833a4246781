"""A stand-in for CuPy that keeps its arrays in NumPy and refuses what CuPy refuses.

It proves, without a GPU, that code runs on CuPy's arrays, and counts what would stop a GPU: copies to
and from it, and answers that the host waits for. It is stricter than CuPy in places where CuPy would
convert, wait or race in silence. What it can't tell: whether CuPy's kernels compute the right thing.

Names and parameters are those of CuPy itself, from `cupy_names.txt`. Where CuPy is installed, this
command writes that list anew; it needs no GPU:

    python test/cupy_listing.py > test/cupy_names.txt
"""

import operator
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np

NAMES = Path(__file__).with_name("cupy_names.txt")
WAITING = {"nonzero", "flatnonzero", "argwhere", "unique", "array_equal", "allclose"}  # sizes, verdicts
JOINING = {"stack", "concatenate", "vstack", "hstack", "dstack", "column_stack"}
PLAIN = ("shape", "dtype", "ndim", "size", "nbytes", "itemsize", "strides")


@dataclass
class Counts:
    """What went to and from the device, since the last `clear`."""

    uploads: int = 0
    uploaded: int = 0  # bytes
    downloads: int = 0
    downloaded: int = 0  # bytes
    waits: int = 0  # besides downloads: a number or a size that the host asked for
    operations: int = 0  # calls that launch one kernel or more

    def clear(self):
        self.__init__()


def parameters(text):
    """Return (most positional arguments, names) of "a, b, *, c"; None for any number, any name."""
    names = [p.strip() for p in text.split(",") if p.strip()]
    most = next((i for i, p in enumerate(names) if p.startswith("*")), len(names))
    if any(re.match(r"\*\w", p) for p in names):
        most = None
    anything = any(p.startswith("**") for p in names)
    return most, None if anything else {p for p in names if not p.startswith("*")}


def known_names():
    """Return {name: parameters, or None where it is no function}; methods as "ndarray.name"."""
    lines = (line for line in NAMES.read_text().splitlines() if line and not line.startswith("#"))
    found = {}
    for line in lines:
        name, bracket, rest = line.partition("(")
        found[name] = parameters(rest.rstrip(")")) if bracket else None
    return found


CUPY = known_names()


def check_call(name, args, kwargs):
    """Raise TypeError where CuPy's function of that name does not take these arguments."""
    most, names = CUPY[name]
    if most is not None and len(args) > most:
        raise TypeError(f"cupy.{name} takes at most {most} positional arguments, not {len(args)}")
    if names is not None and set(kwargs) - names:
        raise TypeError(f"cupy.{name} knows no argument {sorted(set(kwargs) - names)}")


class StrictArray:
    """An array of the stand-in; behaves as cupy.ndarray, or raises TypeError."""

    __array_ufunc__ = None  # NumPy's functions and operators refuse it, scalars leave it to us
    __hash__ = None

    def __init__(self, values, module):
        self._values, self._module = values, module

    def __array__(self, *_args, **_kwargs):
        raise TypeError("implicit conversion to a NumPy array; use .get()")

    def __array_function__(self, function, *_):
        raise TypeError(f"numpy.{function.__name__} was given a device array")

    def __getattr__(self, name):
        if name.startswith("_") or f"ndarray.{name}" not in CUPY:
            raise AttributeError(f"cupy.ndarray has no attribute {name!r}")
        if name in PLAIN:
            return getattr(self._values, name)
        if CUPY[f"ndarray.{name}"] is None:
            return self._module.wrap(getattr(self._values, name))

        def method(*args, **kwargs):
            check_call(f"ndarray.{name}", args, kwargs)
            if name in WAITING:
                self._module.counts.waits += 1
            return self._module.run(getattr(self._values, name), args, kwargs)

        return method

    def get(self, **kwargs):
        check_call("ndarray.get", (), kwargs)
        self._module.counts.downloads += 1
        self._module.counts.downloaded += self._values.nbytes
        return self._values.copy()

    def tolist(self):
        return self.get().tolist()

    def _answer(self, kind):
        self._module.counts.waits += 1
        return kind(self._values)

    def item(self):
        return self._answer(lambda values: values.item())

    def __float__(self):
        return self._answer(float)

    def __int__(self):
        return self._answer(int)

    def __index__(self):
        return self._answer(operator.index)

    def __bool__(self):
        return self._answer(bool)

    def __len__(self):
        return len(self._values)

    def __iter__(self):
        self._module.counts.waits += 1
        return iter([self._module.wrap(v) for v in self._values])

    def _index(self, key):
        parts = key if isinstance(key, tuple) else (key,)
        for part in parts:
            if isinstance(part, StrictArray):
                if part.dtype == bool:
                    self._module.counts.waits += 1  # how many are true
            elif not (
                part is None
                or part is Ellipsis
                or isinstance(part, slice)
                or (isinstance(part, int | np.integer) and not isinstance(part, bool))
            ):
                raise TypeError(f"a device array is indexed with {type(part)} from the host")
        plain = not any(isinstance(p, StrictArray) for p in parts)
        index = tuple(p._values if isinstance(p, StrictArray) else p for p in parts)
        return index, plain

    def __getitem__(self, key):
        index, plain = self._index(key)
        if not plain:
            self._module.counts.operations += 1
        return self._module.wrap(self._values[index])

    def __setitem__(self, key, value):
        index, plain = self._index(key)
        counts = self._module.counts
        counts.operations += 1
        if isinstance(value, StrictArray):
            target, value = self._values[index], value._values
            same = (
                plain
                and target.shape == value.shape
                and target.strides == value.strides
                and target.__array_interface__["data"] == value.__array_interface__["data"]
            )
            if plain and not same and np.may_share_memory(target, value):
                raise TypeError("an assignment that reads what it writes; a GPU does both at once")
            if value.ndim > target.ndim and set(value.shape[: value.ndim - target.ndim]) != {1}:
                raise ValueError(f"cannot broadcast {value.shape} to {target.shape}")
        elif not _is_scalar(value):
            raise TypeError(f"{type(value)} from the host is assigned to a device array")
        elif not plain:  # CuPy makes an array of the number, on the host
            counts.uploads += 1
            counts.uploaded += self._values.itemsize
        self._values[index] = value


def _is_scalar(value):
    return isinstance(value, bool | int | float | np.generic)


def _operator(name, swapped=False):
    function = getattr(operator, name)

    def method(self, other):
        if not (isinstance(other, StrictArray) or _is_scalar(other)):
            raise TypeError(f"operator {name} of a device array and {type(other)}")
        pair = (other, self) if swapped else (self, other)
        result = self._module.run(function, pair, {})
        return self if function.__name__[0] == "i" else result

    return method


def _unary(name):
    return lambda self: self._module.run(getattr(operator, name), (self,), {})


for _name in ("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor"):
    _bare = _name.rstrip("_")
    setattr(StrictArray, f"__{_bare}__", _operator(_name))
    setattr(StrictArray, f"__r{_bare}__", _operator(_name, swapped=True))
    if _name != "matmul":
        setattr(StrictArray, f"__i{_bare}__", _operator(f"i{_bare}"))
for _name in ("lt", "le", "eq", "ne", "gt", "ge"):
    setattr(StrictArray, f"__{_name}__", _operator(_name))
for _name in ("neg", "pos", "abs", "invert"):
    setattr(StrictArray, f"__{_name}__", _unary(_name))


class StrictCupy:
    """The module; each has counts of its own. Use it where cupy is expected."""

    def __init__(self):
        self.counts = Counts()
        self.ndarray = StrictArray
        self.cuda = SimpleNamespace(
            get_current_stream=lambda: SimpleNamespace(synchronize=self._synchronize),
            runtime=SimpleNamespace(
                getDeviceCount=lambda: 1,
                getDevice=lambda: 0,
                getDeviceProperties=lambda _: {"name": b"stand-in"},
            ),
        )

    def _synchronize(self):
        self.counts.waits += 1

    def __deepcopy__(self, _memo):
        return self

    def wrap(self, value):
        if isinstance(value, np.ndarray | np.generic):
            return StrictArray(np.asarray(value), self)
        if isinstance(value, tuple | list):
            return type(value)(map(self.wrap, value))
        return value

    def run(self, function, args, kwargs):
        """Call NumPy's function on the values of device arrays and scalars."""
        self.counts.operations += 1
        given = [_unwrap(a) for a in args]
        return self.wrap(function(*given, **{k: _unwrap(v) for k, v in kwargs.items()}))

    def __getattr__(self, name):
        if name not in CUPY:
            raise AttributeError(f"module 'cupy' has no attribute {name!r}")
        if CUPY[name] is None:
            return getattr(np, name)

        def function(*args, **kwargs):
            check_call(name, args, kwargs)
            if name in WAITING or (name == "where" and len(args) == 1):
                self.counts.waits += 1
            if name in JOINING and not all(isinstance(x, StrictArray) for x in args[0]):
                raise TypeError(f"cupy.{name} joins device arrays only")
            return self.run(getattr(np, name), args, kwargs)

        return function

    def _made(self, name, args, kwargs):
        check_call(name, args, kwargs)
        values, *rest = args
        if isinstance(values, StrictArray):
            return self.run(getattr(np, name), args, kwargs)
        if isinstance(values, list | tuple):
            _unwrap(values)  # refuses arrays in it
        made = np.array(values, *rest, **kwargs)
        self.counts.uploads += 1
        self.counts.uploaded += made.nbytes
        return self.wrap(made)

    def asarray(self, *args, **kwargs):
        return self._made("asarray", args, kwargs)

    def array(self, *args, **kwargs):
        return self._made("array", args, kwargs)

    def empty(self, *args, **kwargs):
        check_call("empty", args, kwargs)
        return self._unwritten(np.empty(*args, **kwargs))

    def empty_like(self, *args, **kwargs):
        check_call("empty_like", args, kwargs)
        return self._unwritten(np.empty_like(*map(_unwrap, args), **kwargs))

    def _unwritten(self, values):
        """Make sure that nobody can use what nobody wrote."""
        values.fill(np.nan if values.dtype.kind == "f" else 0)
        return self.wrap(values)


def _unwrap(value):
    if isinstance(value, StrictArray):
        return value._values
    if isinstance(value, np.ndarray):
        raise TypeError(f"a NumPy array {value.shape} was given to a function of cupy; use asarray")
    if isinstance(value, tuple | list):
        return type(value)(map(_unwrap, value))
    return value
