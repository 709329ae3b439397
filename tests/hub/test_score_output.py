"""What `jaxcast hub` prints and draws of scores says what they are of."""

import numpy as np
from rich.console import Console

import jaxcast
from jaxcast.cli.hub import score_tables


def test_tables_of_scores_keep_names_whole_and_have_a_common_factor(capsys, monkeypatch):
    names = ("CFA_Pyrenew-Pyrenew_HE_COVID", "CovidHub-ensemble")
    dates = np.datetime64("2024-01-06") + 7 * np.arange(4)
    quantiles = np.tile(np.asarray([1e-4, 2e-4, 4e-4]), (1, 4, 2, 1))
    quantiles[:, 0] = np.nan  # nobody forecast the first date, and the last has no truth yet
    truth = np.asarray([[2e-4, 3e-4, 1e-4, np.nan]])
    hub = jaxcast.hub.Hub(quantiles, truth, truth[..., None], ("US",), dates, names, np.asarray([0.25, 0.5, 0.75]), 1)
    rows = jaxcast.hub.score_hubs([hub])
    assert [row["num_missing"] for row in rows] == [0, 0]
    for width in (110, 80):
        monkeypatch.setattr(score_tables, "make_console", lambda width=width: Console(width=width))
        score_tables.show_scores(rows, [hub], score_tables.scored_dates([hub]))
        printed = capsys.readouterr().out
        assert all(name in printed for name in names)
        text = " ".join(printed.split())
        assert "Mean WIS (x 1e-5) at horizon 1, target dates 2024-01-13 to 2024-01-20, 1 location, 3 levels" in text
        assert f"{rows[0]['wis'] / 1e-5:.2f}" in text
        assert "relative over each pair's common tasks; 2 tasks are common to all" in text
        assert ("is too narrow" in text) == (width < 110)
