"""Tables, rows and surfaces of the experiment on causal effects."""

import gzip

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.causal import __main__ as causal
from experiments.causal import children, oracles, page
from experiments.causal.estimators import least_squares
from experiments.causal.oracle_data import Table, made_tables, read_columns, read_tables
from experiments.causal.simulations import covered
from jaxcast import InputError
from tests.real_data import real_data


def test_tables_are_those_of_their_source():
    tables = read_tables(real_data("dml_oracles"), 0)
    plain = {
        name: [float(least_squares(tables[name], 0, None, covariates=known)["effect"]) for known in (False, True)]
        for name in ("401k", "bonus")
    }
    np.testing.assert_allclose(plain["401k"], [19559, 5896], atol=0.5)
    np.testing.assert_allclose(plain["bonus"], [-0.0855, -0.0717], atol=5e-5)
    assert [table.covariates.shape for table in tables.values()] == [(9915, 9), (5099, 15), (747, 25)]
    assert tables["ihdp"].treatment.sum() == 139


def test_tables_that_are_none_are_refused(tmp_path):
    file = tmp_path / "table.csv.gz"
    with pytest.raises(InputError, match="compressed table of numbers"):
        read_columns(file)
    file.write_bytes(gzip.compress(b"a,b\n1,x\n"))
    with pytest.raises(InputError, match="compressed table of numbers"):
        read_columns(file)
    (tmp_path / "sipp1991.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    with pytest.raises(InputError, match=r"expected the columns net_tfa.* missing: net_tfa"):
        read_tables(tmp_path, 0)


@pytest.mark.slow
def test_both_surfaces_have_the_stated_effect_on_the_treated():
    x = jax.random.normal(jax.random.key(0), (4000, 5)) / 2
    treatment = jnp.arange(4000) % 2
    key = jax.random.key(1)
    for surface in children.SURFACES:
        one = children.outcomes(surface, x, treatment, key)
        noise = jax.random.normal(jax.random.split(key)[1], (4000,))
        b = jax.random.choice(
            jax.random.split(key)[0],
            jnp.asarray(children.COEFFICIENTS[surface]),
            (5,),
            p=jnp.asarray(children.SHARES[surface]),
        )
        untreated = x @ b if surface == "A" else jnp.exp((x + 0.5) @ b)
        gain = (one - noise - untreated)[treatment == 1]
        assert float(gain.mean()) == pytest.approx(4.0, abs=1e-6)
        assert (float(gain.std()) > 0.01) == (surface == "B")
        np.testing.assert_allclose((one - noise)[treatment == 0], untreated[treatment == 0], atol=1e-6)


def test_rows_say_how_far_an_estimate_is_from_the_published_range():
    table = made_tables(0)["401k"]._replace(name="401(k)")
    found = {"effect": np.asarray(10_250.0), "standard_error": np.asarray(100.0), "effects": np.ones(2), "standard_errors": np.ones(2)}  # fmt: skip
    row = oracles.estimate_row(table, "one", found)
    assert row["standard_errors_from_published"] == pytest.approx(0.5)
    assert row["high"] == pytest.approx(10_446, abs=0.1)
    (published,) = oracles.published_rows(table)
    assert "8,900 to 9,600 (1,300)" in page._estimate(published)[2]
    share = covered({"effects": np.asarray([1.0, 2.0]), "standard_errors": np.asarray([0.6, 0.4])}, 0.0)
    assert share.tolist() == [True, False]


def test_data_of_one_part_are_not_those_of_another(tmp_path, refused_in_one_line, monkeypatch):
    config = causal.Config(data=tmp_path, parts=("oracles", "oracles"))
    with refused_in_one_line(tmp_path, "part 'oracles' is named twice"):
        causal.main(config)
    with refused_in_one_line(tmp_path, "unknown part"):
        causal.main(causal.Config(parts=("orakel",)))
    monkeypatch.setattr(causal, "PARTS", {"oracles": oracles.PART, "other": oracles.PART})
    with refused_in_one_line(tmp_path, "--data is the folder of one part"):
        causal.main(causal.Config(data=tmp_path, parts=("oracles", "other")))
    table = Table("x", np.zeros(2), np.zeros(2), np.zeros((2, 1)), "USD")
    assert oracles.published_rows(table) == []
