"""What public names are said to compile to, without the compilers of accelerators."""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.entry_points import Options, Watch, methods_of, namespaces, public_names, run, run_example, verdict
from jaxcast.errors import InputError
from jaxcast.nn import GRU


class Here:
    """Stands for a device that takes everything but sorts."""

    def compile(self, function, *args):
        if " sort(" in jax.jit(function).lower(*args).as_text(dialect="hlo"):
            raise NotImplementedError("no sort")


HERE = Here()


def doubled(x):
    return 2 * jnp.asarray(x)


def by_value(x):
    return doubled(x) if float(x.sum()) > 0 else x


def named(x):
    return str(np.shape(x))


def call_of(function):
    return function, (jnp.ones(3),), {}


@pytest.mark.parametrize(
    ("whole", "programs", "said"),
    [
        ([doubled], [], "whole"),
        ([doubled, named], [], "whole"),  # of a class whose other method makes a text
        ([by_value], [doubled], "programs"),
        ([by_value], [], "host: it looks at values, works in NumPy or with files"),
        ([named], [], "host: it makes no arrays of jax"),
        ([], [], "not tried: the example does not call it"),
        ([jnp.sort], [], "NotImplementedError: no sort"),
        ([by_value], [doubled, jnp.sort], "NotImplementedError: no sort"),
        ([jnp.sort], [doubled], "NotImplementedError: no sort"),
        ([doubled, jnp.sort], [], "NotImplementedError: no sort"),
    ],
)
def test_verdicts(whole, programs, said):
    assert verdict([call_of(one) for one in whole], [call_of(one) for one in programs], HERE) == said


def test_what_an_example_calls_is_recorded_once_from_outside():
    space = types.SimpleNamespace(doubled=doubled)
    watch = Watch()
    elsewhere = types.SimpleNamespace(doubled=named)
    with watch.watching([elsewhere, space], "doubled", doubled):
        elsewhere.doubled(3.0)
        jax.vmap(space.doubled)(jnp.ones((2, 3)))
        space.doubled(jnp.ones(5))
    (call,) = watch.calls.values()
    assert call == (doubled, (jax.ShapeDtypeStruct((3,), jnp.ones(3).dtype),), {})
    assert verdict([call], [], HERE) == "whole"


def test_methods_of_a_class_are_its_entry_points():
    watch, layer = Watch(), GRU(input_size=2, hidden_size=3, key=jax.random.key(0))
    before = dict(methods_of(GRU))
    with watch.watching([], "GRU", GRU):
        layer(jnp.ones((1, 4, 2), jnp.float32))
    assert list(watch.calls) == ["__call__"]
    assert dict(methods_of(GRU)) == before
    assert verdict(list(watch.calls.values()), [], HERE) == "whole"


def test_all_namespaces_are_tried_by_default():
    assert {"jaxcast", "dynamics", "pooling", "training", "hub", "regime", "series", "scores"} <= set(namespaces())
    found = list(public_names(tuple(namespaces())))
    assert len(found) == len({thing for _, _, thing in found}) > 500


def test_an_example_that_fails_is_no_row():
    with pytest.raises(InputError, match="the example of three fails"):
        run_example("three", ">>> 1 + 1\n3\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"wings": ("nowhere",)}, "nowhere"),
        ({"out": "other.json"}, "expected rows of benchmarks.entry_points, got .*other.json"),
    ],
)
def test_unknown_namespaces_and_other_reports_are_refused_in_one_line(tmp_path, options, said):
    (tmp_path / "other.json").write_text(json.dumps({"machine": {}, "rows": [{"case": "one"}]}))
    if "out" in options:
        options = {"out": tmp_path / options["out"]}
    with pytest.raises(InputError, match=said):
        run(Options(**options))
