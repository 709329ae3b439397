"""The part "activity" of the experiment on brain signals; .ci/run runs the part itself."""

import numpy as np
import pytest

import jaxcast
from experiments.neuro import activity, page
from experiments.neuro.activity_data import LAGS, objective, read_events, response_to


def test_errors_and_correlations_are_those_of_voxels_that_were_active():
    truth = np.asarray([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 0.0]])
    found = truth + np.asarray([[0.0, 9.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    assert activity.error_of(found, truth) == pytest.approx(1 / np.sqrt(5))
    assert activity.correlation_of(found, truth) == pytest.approx(np.corrcoef(found[:, 0], truth[:, 0])[0, 1])
    assert activity.correlation_of(0 * found, truth) == 0


def test_responses_to_overlapping_events_are_told_apart():
    random = np.random.default_rng(0)
    events = random.random(400) < 0.3
    shape = np.asarray([0, 0, 1.0, 3.0, 2.0, -1.0, 0, 0, 0, 0, 0])
    values = 5 + sum(weight * np.roll(events, lag) for weight, lag in zip(shape, LAGS, strict=True))
    np.testing.assert_allclose(response_to(values, events), shape, atol=1e-9)


def test_the_objective_is_that_of_total_activation():
    matrix = np.asarray([[1.0, 0.0], [-1.0, 1.0]])
    signal, series = np.asarray([[1.0], [3.0]]), np.asarray([[2.0], [3.0]])
    np.testing.assert_allclose(objective(signal, series, np.asarray([0.5]), matrix), 0.5 + 0.5 * 3)


def test_tables_of_events_that_are_none_are_refused(tmp_path):
    (tmp_path / "events.csv").write_text("bold,events\n1.0\n2.0\n")
    with pytest.raises(jaxcast.InputError, match="expected a table bold,events"):
        read_events(tmp_path / "events.csv")
    with pytest.raises(jaxcast.InputError, match="expected a table bold,events"):
        read_events(tmp_path / "none.csv")


def test_the_page_tells_rows_of_three_kinds_apart(monkeypatch):
    recovered = {"errors": np.asarray([[0.5, 0.7]]), "correlations": np.asarray([[0.8, 0.9]])}
    rows = [activity.row_of(recovered, snr, 0) for snr in (6, 0)]
    rows.append({"method": "converged", "rms_median": 1e-5, "rms_largest": 2e-3, "share_within_1e-3": 0.5})
    rows[-1] |= {"num_differing": 3, "num_differing_with_smaller_objective": 2}
    rows.append({"method": "Wiener", "peak_s": 4.0, "share_at_event": 0.25})
    monkeypatch.setattr(page, "load", lambda part: rows)
    assert page.activity().splitlines()[0] == "| method | 0 dB | 6 dB |"
    assert "| raw series | 0.600 ± 0.141 (0.850) |" in page.activity()
    assert "| converged | 1.0e-05 | 2.0e-03 | 50.0 % | 3 | 2 |" in page.phantom()
    assert "| Wiener | 4 s | 25 % |" in page.events()
