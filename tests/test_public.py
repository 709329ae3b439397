import inspect
import subprocess
import sys

import jaxcast


def public_names():
    namespaces = [
        jaxcast,
        *(part for part in vars(jaxcast).values() if inspect.ismodule(part) and "__path__" in vars(part)),
    ]
    for name, thing in dict(item for part in namespaces for item in vars(part).items()).items():
        if name.startswith("_"):
            continue
        if inspect.isfunction(thing) or (inspect.isclass(thing) and thing.__module__.startswith("jaxcast")):
            yield name, thing


def test_every_public_name_is_explained_with_an_example():
    records = {name for name, thing in public_names() if inspect.isclass(thing) and issubclass(thing, tuple)}
    made_elsewhere = {"InputError", "FlowMap"}
    for name, thing in public_names():
        assert inspect.getdoc(thing), name
        if name not in records | made_elsewhere and not getattr(thing, "_is_protocol", False):
            assert ">>>" in inspect.getdoc(thing), name
    assert len(list(public_names())) > 40


def test_importing_changes_no_global_setting():
    script = "import jax; before = dict(jax.config.values); import jaxcast; assert before == dict(jax.config.values)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_error_is_announced():
    for name, thing in public_names():
        source = inspect.getsource(thing)
        if "raise InputError" in source or "self.check_dim" in source:
            assert "Raises:" in inspect.getdoc(thing), name
