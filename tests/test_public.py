import ast
import builtins
import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys

import pytest

import jaxcast

SECTIONS = ("Args", "Returns", "Yields", "Raises", "Source", "Example")
NAMESPACES = [
    part
    for part in vars(jaxcast).values()
    if inspect.ismodule(part) and "__path__" in vars(part) and part.__name__.startswith("jaxcast.")  # not jaxtyping
]


def public_names():
    for name, thing in dict(item for part in (jaxcast, *NAMESPACES) for item in vars(part).items()).items():
        if name.startswith("_"):
            continue
        if inspect.isfunction(thing) or (inspect.isclass(thing) and thing.__module__.startswith("jaxcast")):
            yield name, thing


def is_interface(thing):
    return inspect.isabstract(thing) or getattr(thing, "_is_protocol", False)


def test_every_public_name_is_explained_with_an_example():
    records = {name for name, thing in public_names() if inspect.isclass(thing) and issubclass(thing, tuple)}
    made_elsewhere = {"InputError", "FlowMap", "RegressionPath"}
    for name, thing in public_names():
        assert inspect.getdoc(thing), name
        if name not in records | made_elsewhere and not is_interface(thing):
            assert ">>>" in inspect.getdoc(thing), name
    assert len(list(public_names())) > 40


def test_an_example_imports_all_that_it_names():
    """Else it runs here, where it sees what its module imports, and fails for whoever copies it."""
    for name, thing in public_names():
        examples = doctest.DocTestParser().get_examples(inspect.getdoc(thing))
        nodes = list(ast.walk(ast.parse("".join(example.source for example in examples))))
        named = [node for node in nodes if isinstance(node, ast.Name)]
        made = {node.id for node in named if not isinstance(node.ctx, ast.Load)}
        made |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        made |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        made |= {(node.asname or node.name).partition(".")[0] for node in nodes if isinstance(node, ast.alias)}
        assert {node.id for node in named} <= made | set(dir(builtins)), name


def test_the_flat_names_are_few():
    names = [name for name, thing in vars(jaxcast).items() if not name.startswith("_") and not inspect.ismodule(thing)]
    assert 40 < len(names) <= 52


@pytest.mark.parametrize("namespace", [jaxcast, *NAMESPACES], ids=lambda part: part.__name__)
def test_no_two_names_differ_in_case_only(namespace):
    names = [
        name for name, thing in vars(namespace).items() if not name.startswith("_") and not inspect.ismodule(thing)
    ]
    assert len({name.lower() for name in names}) == len(names)


def test_no_name_shadows_a_module():
    for found in pkgutil.walk_packages(jaxcast.__path__, "jaxcast."):
        parent, _, name = found.name.rpartition(".")
        module = importlib.import_module(found.name)
        assert getattr(sys.modules[parent], name) is module, f"import {found.name} as m gives no module"


@pytest.mark.slow
def test_importing_changes_no_global_setting():
    script = "import jax; before = dict(jax.config.values); import jaxcast; assert before == dict(jax.config.values)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_error_is_announced():
    for name, thing in public_names():
        source = inspect.getsource(thing)
        if "raise InputError" in source or "self.check_dim" in source:
            assert "Raises:" in inspect.getdoc(thing), name


def is_ours(thing):
    return (inspect.isfunction(thing) or inspect.isclass(thing)) and thing.__module__.startswith("jaxcast.")


def public_things():
    """Maps each public function and class to its name."""
    return {
        thing: name
        for part in (jaxcast, *NAMESPACES)
        for name, thing in vars(part).items()
        if not name.startswith("_") and is_ours(thing)
    }


def public_methods(cls):
    """Yields the public methods that jaxcast wrote for a class, with the names of their parameters."""
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        if not getattr(member, "__doc__", None) and any(
            getattr(getattr(base, name, None), "__doc__", None) for base in cls.__mro__[1:]
        ):
            continue  # it does what its base class says
        function = member.__func__ if isinstance(member, staticmethod | classmethod) else member
        is_public = not name.startswith("_") or name == "__call__"
        if is_public and inspect.isfunction(function) and inspect.unwrap(function).__module__.startswith("jaxcast."):
            parameters = list(inspect.signature(function).parameters)
            yield name, function, parameters if isinstance(member, staticmethod) else parameters[1:]


def of_construction(cls):
    """Returns what a class is made from: its fields, or the parameters of `__init__`."""
    if issubclass(cls, tuple):
        return list(cls._fields)
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls) if field.init]
    is_made = cls.__init__ is not object.__init__ and not issubclass(cls, BaseException)
    if not is_made or getattr(cls, "_is_protocol", False):
        return []
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return [p.name for p in parameters if not (p.kind in kinds and p.name in ("args", "kwargs", "_"))]


def documented(wing):
    """Yields every public callable of a wing: its name, the object with its docstring, its parameters."""
    for thing, name in public_things().items():
        if thing.__module__.split(".")[1] != wing:
            continue
        if inspect.isfunction(thing):
            yield name, thing, list(inspect.signature(thing).parameters)
            continue
        yield name, thing, of_construction(thing)
        for method, function, parameters in public_methods(thing):
            yield f"{name}.{method}", function, parameters


def sections(text):
    """Splits a docstring into its sections: a list of (title, lines)."""
    found = []
    for line in text.splitlines():
        if title := re.fullmatch(r"([A-Z][a-z]+):", line):
            found.append((title[1], []))
        elif found:
            found[-1][1].append(line)
    return found


def entries(lines):
    """Returns the names that begin an entry of their own."""
    found = (re.match(r" {4}\*{0,2}(\w+): \S", line) for line in lines)
    return [match[1] for match in found if match]


def faults(name, thing, parameters):
    """Yields what is wrong with one docstring."""
    text = inspect.cleandoc(thing.__doc__ or "")
    if not text:
        yield f"{name}: no docstring"
        return
    parts = sections(text)
    titles = [title for title, _ in parts]
    if unknown := set(titles) - set(SECTIONS):
        yield f"{name}: unknown sections {sorted(unknown)}"
    elif titles != sorted(set(titles), key=SECTIONS.index):
        yield f"{name}: sections in the order {titles}"
    named = entries(dict(parts).get("Args", []))
    for parameter in parameters:
        if named.count(parameter) != 1:
            yield f"{name}: {named.count(parameter)} entries of their own for {parameter}"
    if extra := set(named) - set(parameters):
        yield f"{name}: entries for {sorted(extra)}, which it does not take"
    first = text.splitlines()[0]
    if not first.endswith(".") and not first.endswith(":"):
        yield f"{name}: the first line is no sentence: {first!r}"
    if not inspect.isclass(thing) and not re.match(r"[A-Z][a-z0-9-]*s\b", first):
        yield f"{name}: the first line does not start with a verb: {first!r}"
    prose = re.split(r"\n *Example:\n", thing.__doc__)[0].splitlines()
    if wide := [line.strip() for line in prose if len(line) > 100]:
        yield f"{name}: {len(wide)} lines of more than 100 characters, the first {wide[0][:40]!r}..."


WINGS = sorted({thing.__module__.split(".")[1] for thing in public_things()})


@pytest.mark.parametrize("wing", WINGS)
def test_every_parameter_has_an_entry_of_its_own(wing):
    found = [fault for item in documented(wing) for fault in faults(*item)]
    assert not found, "\n".join(found)


def one_fault(text, parameters):
    def function():
        pass

    function.__doc__ = text
    return list(faults("f", function, parameters))


def test_faults_are_found():
    good = "Adds a number.\n\nArgs:\n    a: one.\n\nReturns:\n    The sum.\n\nRaises:\n    InputError: never."
    assert one_fault(good, ["a"]) == []
    assert "0 entries" in one_fault(good, ["a", "b"])[0]
    assert "does not take" in one_fault(good, [])[0]
    assert "order" in one_fault("Adds.\n\nReturns:\n    x.\n\nArgs:\n    a: one.", ["a"])[0]
    assert "unknown" in one_fault("Adds.\n\nExamples:\n    x.", [])[0]
    assert "0 entries of their own for b" in one_fault("Adds.\n\nArgs:\n    a: one. b: other.", ["a", "b"])[0]
    assert "verb" in one_fault("The sum.", [])[0]
    assert "no docstring" in one_fault(None, [])[0]
