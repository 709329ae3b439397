"""The part "classification": subjects classified by the series of their regions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.datasets import check_class_sizes
from experiments.neuro import classification_pictures as pictures
from experiments.neuro.classification_pictures import class_names
from experiments.neuro.classification_rows import line_of, published_rows, row_of, table
from experiments.neuro.methods import MAJORITY, METHODS
from experiments.neuro.subjects import read_abide, read_archive, simulated
from experiments.part import Part
from jaxcast import InputError
from jaxcast.errors import counted, shown
from jaxcast.neuro import (
    CrossValidation,
    SubjectSeries,
    class_balance,
    constant_regions,
    cross_validate,
    leave_one_site_out,
)
from jaxcast.pytrees import fingerprint
from jaxcast.training import stratified_folds

ABIDE = "abide_cc200"
EXPLAINED = ("regions", "edges", "communities", "importance")
Arrays = dict[str, np.ndarray]


def run(config: Any, data: Path | None, folder: Any, console: Any) -> dict[str, Any]:
    """Runs the part.

    Args:
        config: the settings.
        data: folder of ABIDE, an archive of one's own, or None for simulated subjects.
        folder: of the output.
        console: to print on.

    Returns:
        What goes into results.json.
    """
    rows: list[dict[str, Any]] = []
    facts: dict[str, dict[str, Any]] = {"class_balance": {}, "classes": {}, "repeated": {}, "left_out": {}}
    for number, task in enumerate(config.tasks if data is not None and data.is_dir() else ("label",)):
        subjects = read(config, data, task)
        name = f"{ABIDE}, {task}" if data is not None and data.is_dir() else "simulated" if data is None else data.stem
        console.print(f"{name}: {about(subjects)}", highlight=False, markup=False)
        check_class_sizes(subjects.labels, class_names(subjects), config.folds)
        facts["class_balance"][name], facts["classes"][name] = class_balance(subjects), class_names(subjects)
        facts["repeated"][name] = num_repeated(subjects)
        for protocol in protocols(subjects):
            found, left_out = all_validated(config, folder, console, subjects, name, protocol)
            of_protocol = [row_of(each, name, method, protocol) for method, each in found.items()]
            facts["left_out"] |= {f"{name}, {protocol}": left_out} if left_out else {}
            rows += of_protocol
            if task == "autism" and protocol == "folds":
                rows += published_rows(name)
            if number or not found:  # the pictures are of the first task
                continue
            if protocol == "folds":
                draw(folder, found, rows, name, subjects)
            else:
                folder.save_figure("sites.png", pictures.sites(found, subjects, facts["class_balance"][name]))
    return {"rows": rows} | facts


def all_validated(
    config: Any, folder: Any, console: Any, subjects: SubjectSeries, data: str, protocol: str
) -> tuple[dict[str, list[CrossValidation]], dict[str, str]]:
    """Cross-validates all methods that can use the subjects.

    Args:
        config: the settings.
        folder: of the output.
        console: to print on.
        subjects: the subjects.
        data: name of the data and the task.
        protocol: "folds" or "sites".

    Returns:
        The cross-validations of each method, and why the others are left out, such as a network
        whose windows are longer than the recordings.

    Raises:
        InputError: if no method can use them by folds.
    """
    found: dict[str, list[CrossValidation]] = {}
    left_out: dict[str, str] = {}
    for method in applicable(config, subjects, protocol):
        try:
            found[method] = validated(config, folder, subjects, data, method, protocol)
            line = line_of(row_of(found[method], data, method, protocol))
        except InputError as error:
            left_out[method] = str(error)
            line = f"{data}, {method}: left out: {error}"
        console.print(line, highlight=False, markup=False)
    if protocol == "folds" and not found:
        raise InputError(next(iter(left_out.values())))
    return found, left_out


def read(config: Any, data: Path | None, task: str) -> SubjectSeries:
    """Returns the subjects of a task.

    Args:
        config: the settings.
        data: as in `run`.
        task: "autism", "sex", or "label" for an archive or simulated subjects.
    """
    if data is None:
        return simulated(config.seed)
    return read_abide(data, task) if data.is_dir() else read_archive(data, config.series, config.labels)


def about(subjects: SubjectSeries) -> str:
    """Describes subjects in one line.

    Args:
        subjects: the subjects.
    """
    lengths = [len(one) for one in subjects.series]
    counts = zip(class_names(subjects), class_balance(subjects)["all"], strict=True)
    constant = constant_regions(subjects)
    text = f"{len(lengths)} subjects, {subjects.num_regions} regions, {min(lengths)} to {max(lengths)} scans, classes "
    text += ", ".join(f"{shown(name)} {count}" for name, count in counts)
    if constant.any():
        people = counted(constant.any(1).sum(), "subject")
        text += f"; {counted(constant.sum(), 'constant region')} in {people}, with correlations of 0"
    if repeated := num_repeated(subjects):
        text += (
            f"; {counted(repeated, 'subject')} with the series of another, so that folds may share them: leave them out"
        )
    return text


def num_repeated(subjects: SubjectSeries) -> int:
    """Counts the subjects whose series an earlier subject has, too.

    Args:
        subjects: the subjects.
    """
    return len(subjects.series) - len({fingerprint(one) for one in subjects.series})


def protocols(subjects: SubjectSeries) -> list[str]:
    """Returns the protocols that subjects allow: one site left out needs each class at two sites at least.

    Args:
        subjects: the subjects.
    """
    if subjects.site is None:
        return ["folds"]
    _, sites = np.unique(subjects.site, return_inverse=True)
    of_class = [len(np.unique(sites[subjects.labels == number])) for number in range(subjects.num_classes)]
    return ["folds", *(["sites"] if min(of_class) > 1 else [])]


def applicable(config: Any, subjects: SubjectSeries, protocol: str) -> list[str]:
    """Returns the methods of a protocol, in the order of the tables.

    Args:
        config: the settings.
        subjects: the subjects.
        protocol: "folds" or "sites".

    Raises:
        InputError: if none can be used.
    """
    columns = {"site": subjects.site, "age": subjects.age, "sex": subjects.sex}
    known = {name for name, column in columns.items() if column is not None}
    found = [
        name
        for name, entry in METHODS.items()
        if name in config.methods
        and (protocol == "folds" or not entry.is_network or config.network_sites)
        and (not entry.needs or known & set(entry.needs))
    ]
    if protocol == "folds" and not found:
        raise InputError(
            f"none of the methods can use these subjects, which have {', '.join(sorted(known)) or 'no confounds'}; "
            "name others by --methods"
        )
    return found


def validated(
    config: Any, folder: Any, subjects: SubjectSeries, data: str, method: str, protocol: str
) -> list[CrossValidation]:
    """Returns the cross-validations of a method, one for each seed of the folds.

    Args:
        config: the settings.
        folder: of the output; finished stages are read from it.
        subjects: the subjects.
        data: name of the data and the task.
        method: name of the method.
        protocol: "folds" or "sites".
    """
    entry = METHODS[method]
    num_seeds = config.num_network_seeds if entry.is_network else config.num_fold_seeds
    methods = entry.make(config, subjects)
    named = f"{data} {fingerprint_of(subjects)} {method} {protocol}"
    prepared: list[Any] = []  # what is computed from one subject alone, once for all stages
    found = []
    for seed in range(config.seed, config.seed + (num_seeds if protocol == "folds" else 1)):
        if protocol == "folds":
            folds = stratified_folds(subjects.labels, config.folds, seed=seed)
        else:
            folds = leave_one_site_out(subjects)
        # A network has a stage for each fold, so that a run can be stopped in between.
        parts = [[fold] for fold in folds] if entry.is_network else [folds]
        if method == MAJORITY:
            found.append(majority_of(subjects, folds))
            continue
        stages = []
        for number, part in enumerate(parts):
            key = jax.random.fold_in(jax.random.key(seed), number)

            def compute(_: Path, part: Any = part, key: Any = key) -> Arrays:
                groups = subjects.site if protocol == "sites" else None
                if not prepared:
                    prepared.extend(method.inputs(subjects) for method in methods)
                each = cross_validate(subjects, methods, folds=part, inner_groups=groups, inputs=prepared, key=key)
                return as_arrays(each, [test for _, test in part])

            stage = "".join(c if c.isalnum() else "_" for c in f"{named} {seed} {number}")
            stages.append(folder.stage(stage, compute))
        found.append(joined(stages, subjects))
    return found


def majority_of(subjects: SubjectSeries, folds: Sequence[Any]) -> CrossValidation:
    """Returns the shares of the classes among all subjects as everybody's scores.

    Those of the training subjects would be lowest for the class of which a fold tests the most: of
    equally large classes, fewer than half of the subjects would be right.

    Args:
        subjects: the subjects.
        folds: subjects to train on and to test.
    """
    shares = np.bincount(subjects.labels, minlength=subjects.num_classes) / len(subjects.labels)
    fold = np.empty(len(subjects.labels), int)
    for number, (_, test) in enumerate(folds):
        fold[test] = number
    scores = np.tile(shares, (len(fold), 1))
    return CrossValidation(scores, subjects.labels, fold, np.zeros(len(folds), int), ({},))


def fingerprint_of(subjects: SubjectSeries) -> str:
    """Returns eight digits that tell subjects from others, so that no stage of others is read.

    Args:
        subjects: the subjects.
    """
    columns = [column for column in (subjects.site, subjects.age, subjects.sex) if column is not None]
    text = "\n".join(str(one) for column in columns for one in column.tolist())
    return fingerprint((subjects.series, subjects.labels, np.frombuffer(text.encode(), np.uint8)))[:8]


def as_arrays(found: CrossValidation, tests: Sequence[np.ndarray]) -> Arrays:
    """Returns a cross-validation as arrays, explanations averaged over folds.

    "region_scores" are those of each tested subject, NaN for others.

    Args:
        found: the cross-validation.
        tests: subjects that each fold tests.
    """
    arrays: Arrays = {"scores": found.scores, "fold": found.fold, "chosen": found.chosen}
    for name in EXPLAINED:
        known = [explanation.get("weights", {}) | explanation for explanation in found.explanations]
        parts: list[Any] = [each[name] for each in known if name in each]
        if parts:
            arrays[name] = np.mean(parts, 0)
    if "region_scores" in found.explanations[0]:
        scores = np.full((len(found.labels), found.explanations[0]["region_scores"].shape[1]), np.nan, np.float32)
        for test, explanation in zip(tests, found.explanations, strict=True):
            scores[test] = explanation["region_scores"]
        arrays["region_scores"] = scores
    return arrays


def joined(stages: Sequence[Arrays], subjects: SubjectSeries) -> CrossValidation:
    """Joins the folds of a cross-validation.

    Args:
        stages: arrays of one or several folds each, as `as_arrays` returns them.
        subjects: the subjects.
    """
    scores, fold = np.full_like(stages[0]["scores"], np.nan), np.full(len(subjects.labels), -1)
    count = 0
    for stage in stages:
        tested = stage["fold"] >= 0
        scores[tested], fold[tested] = stage["scores"][tested], stage["fold"][tested] + count
        count += len(stage["chosen"])
    names = [name for name in EXPLAINED if name in stages[0]]
    explanation: Any = {name: np.mean([stage[name] for stage in stages], 0) for name in names}
    if "region_scores" in stages[0]:
        explanation["region_scores"] = np.nanmean([stage["region_scores"] for stage in stages], 0)
    chosen = np.concatenate([stage["chosen"] for stage in stages])
    return CrossValidation(scores, subjects.labels, fold, chosen, (explanation,))


def draw(
    folder: Any,
    found: dict[str, list[CrossValidation]],
    rows: list[dict[str, Any]],
    data: str,
    subjects: SubjectSeries,
) -> None:
    """Draws methods, regions, edges and confusion tables.

    Args:
        folder: of the output.
        found: cross-validations by method.
        rows: of the results so far.
        data: name of the data and the task.
        subjects: the subjects.
    """
    folder.save_figure("methods.png", pictures.methods([row for row in rows if row["data"] == data]))
    folder.save_figure("regions.png", pictures.regions(found, subjects))
    folder.save_figure("edges.png", pictures.edges(found))
    folder.save_figure("confusion.png", pictures.confusion(found, subjects))


PART = Part(run, ABIDE, ("methods.png", "regions.png", "edges.png", "confusion.png", "sites.png"), table)
