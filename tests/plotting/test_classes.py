"""Pictures of classes: what stands in them, also for many classes and long texts."""

import numpy as np
from matplotlib.figure import Figure

from jaxcast.plotting import plot_confusion, plot_word_saliency
from jaxcast.plotting.classes import MOST_LINES, confusion_size, saliency_height


def texts_of(ax):
    return [text.get_text() for text in ax.texts]


def test_cells_hold_counts_and_shares_of_the_true_class():
    ax = plot_confusion(Figure().subplots(), [[3, 1], [0, 0]], ["a", "b"])
    assert texts_of(ax) == ["3\n75 %", "1\n25 %", "0\n0 %", "0\n0 %"]
    assert [label.get_rotation() for label in ax.get_xticklabels()] == [0.0, 0.0]


def test_many_and_long_classes_have_room():
    names = [f"class number {k}, of a long name" for k in range(12)]
    ax = plot_confusion(Figure().subplots(), np.eye(12, dtype=int), names)
    assert texts_of(ax).count("1") == 12
    assert set(texts_of(ax)) == {"1", ""}
    labels = ax.get_xticklabels()
    assert {label.get_rotation() for label in labels} == {45.0}
    assert max(len(label.get_text()) for label in labels) == 23
    assert 3.6 <= confusion_size(["a", "b"]) < confusion_size(names) <= 24


def test_of_a_long_text_the_first_lines_are_drawn():
    words = [f"word{k:03d}" for k in range(300)]  # 13 of them and their spaces fill a line of 105
    ax = plot_word_saliency(Figure().subplots(), words, np.ones(300))
    assert texts_of(ax) == [*words[: 13 * MOST_LINES], "..."]
    heights = [text.get_position()[1] for text in ax.texts]
    assert len(set(heights)) == MOST_LINES + 1
    assert min(heights) > 0
    assert saliency_height(["a"]) < saliency_height(words) == saliency_height(words * 9)


def test_words_longer_than_a_line_are_cut_and_dollars_are_no_mathematics():
    ax = plot_word_saliency(Figure().subplots(), ["$5", "x" * 500, "good"], [0.0, 1.0, -1.0])
    assert [text.get_position()[0] for text in ax.texts] == [0.0, 4 / 105, 68 / 105]
    assert texts_of(ax)[1] == "x" * 60 + "..."
    ax.figure.draw_without_rendering()
