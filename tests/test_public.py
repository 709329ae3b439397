import inspect
from typing import get_origin

import jaxcast


def public_names():
    for name, thing in vars(jaxcast).items():
        if not name.startswith("_") and (inspect.isfunction(thing) or inspect.isclass(thing)) and not get_origin(thing):
            yield name, thing


def test_every_public_name_is_explained_with_an_example():
    records = {name for name, thing in public_names() if inspect.isclass(thing) and issubclass(thing, tuple)}
    made_elsewhere = {"InputError", "FlowMap"}
    for name, thing in public_names():
        assert inspect.getdoc(thing), name
        if name not in records | made_elsewhere:
            assert ">>>" in inspect.getdoc(thing), name
    assert len(list(public_names())) > 40


def test_importing_changes_no_global_setting():
    import subprocess
    import sys

    script = "import jax; before = dict(jax.config.values); import jaxcast; assert before == dict(jax.config.values)"
    subprocess.run([sys.executable, "-c", script], check=True)
