import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

import jaxcast
from jaxcast import neuro

AFFINE = np.asarray([[3.0, 0, 0, -10], [0, 2.0, 0.5, 4], [0, -0.5, 2.0, 7], [0, 0, 0, 1]])


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(size=(3, 4, 2, 6))


@pytest.mark.parametrize("name", ["bold.nii", "bold.nii.gz"])
def test_an_image_comes_back_as_it_was(tmp_path, values, name):
    neuro.write_image(tmp_path / name, values, affine=AFFINE, repetition_time=1.5)
    found = neuro.read_image(tmp_path / name)
    np.testing.assert_array_equal(found.values, values)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-6)
    assert found.repetition_time == 1.5
    theirs = nibabel.load(tmp_path / name)
    np.testing.assert_array_equal(theirs.get_fdata(), values)
    assert theirs.header.get_xyzt_units() == ("mm", "sec")
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == [name]
    with pytest.raises(jaxcast.InputError, match="exists"):
        neuro.write_image(tmp_path / name, values, affine=AFFINE)
    neuro.write_image(tmp_path / name, 2 * values[..., 0], affine=AFFINE, overwrite=True)
    assert neuro.read_image(tmp_path / name).repetition_time is None


def test_whole_numbers_with_a_scale_and_milliseconds_are_understood(tmp_path):
    image = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 2, 2), AFFINE)
    image.header.set_slope_inter(0.5, 1.0)
    image.header.set_xyzt_units("mm", "msec")
    image.header.set_zooms((1, 1, 1, 2000))
    nibabel.save(image, tmp_path / "scaled.nii")
    found = neuro.read_image(tmp_path / "scaled.nii")
    np.testing.assert_allclose(found.values, nibabel.load(tmp_path / "scaled.nii").get_fdata())
    assert found.repetition_time == 2.0


@pytest.mark.parametrize("unit", ["unknown", "hz", "ppm", "rads"])
def test_a_repetition_time_without_a_unit_of_time_is_none(tmp_path, values, unit):
    image = nibabel.Nifti1Image(values, AFFINE)
    image.header.set_xyzt_units("mm", unit)
    image.header.set_zooms((1, 1, 1, 2.0))
    nibabel.save(image, tmp_path / "bold.nii")
    assert neuro.read_image(tmp_path / "bold.nii").repetition_time is None


def test_a_repetition_time_that_is_not_given_is_not_made_up(tmp_path, values):
    neuro.write_image(tmp_path / "bold.nii", values, affine=AFFINE)
    assert neuro.read_image(tmp_path / "bold.nii").repetition_time is None


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64, np.int16, bool])
def test_all_real_numbers_are_written(tmp_path, values, dtype):
    array = (10 * values).astype(dtype)
    neuro.write_image(tmp_path / "bold.nii", array, affine=AFFINE)
    np.testing.assert_array_equal(neuro.read_image(tmp_path / "bold.nii").values, array.astype(float))


def test_an_image_without_an_affine_is_refused(tmp_path, values, refused_in_one_line):
    nibabel.save(nibabel.Nifti1Image(values, None), tmp_path / "bare.nii")
    singular = nibabel.Nifti1Image(values, AFFINE)
    singular.header["srow_x"] = 0
    nibabel.save(singular, tmp_path / "flat.nii")
    with (tmp_path / "flat.nii").open("r+b") as file:  # nibabel writes the affine over the header's own
        file.seek(280)
        file.write(np.zeros(4, "<f4").tobytes())
    with refused_in_one_line(tmp_path, "no affine"):
        neuro.read_image(Path("bare.nii"))
    with refused_in_one_line(tmp_path, "cannot be inverted"):
        neuro.read_image(Path("flat.nii"))
    with refused_in_one_line(tmp_path, "affine must be finite"):
        neuro.read_image(Path("bare.nii"), affine=np.full((4, 4), np.nan))
    assert neuro.read_image(tmp_path / "bare.nii", affine=AFFINE).affine[0, 3] == -10


def test_files_that_are_no_image_are_refused(tmp_path, values, refused_in_one_line):
    (tmp_path / "text.nii").write_text("no image")
    neuro.write_image(tmp_path / "cut.nii", values, affine=AFFINE)
    (tmp_path / "cut.nii").write_bytes((tmp_path / "cut.nii").read_bytes()[:500])
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 2)), AFFINE), tmp_path / "plane.nii")
    for name, message in [
        ("none.nii", "there is no image"),
        ("text.nii", "cannot be read"),
        ("cut.nii", "cannot be read"),
        ("plane.nii", "expected axes"),
    ]:
        with refused_in_one_line(tmp_path, message):
            neuro.read_image(Path(name))


def test_what_cannot_be_written_is_refused(tmp_path, values, refused_in_one_line):
    with refused_in_one_line(tmp_path, r"ending in \.nii or"):
        neuro.write_image(Path("bold.npy"), values, affine=AFFINE)
    with refused_in_one_line(tmp_path, "NaN or infinity in 1 value"):
        values[0, 0, 0, 0] = np.nan
        neuro.write_image(Path("bold.nii"), values, affine=AFFINE)
    with refused_in_one_line(tmp_path, "repetition_time"):
        neuro.write_image(Path("bold.nii"), np.ones((2, 2, 2)), affine=AFFINE, repetition_time=-1.0)


def test_without_nibabel_the_extra_is_named(tmp_path, values, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(jaxcast.InputError, match=r"pip install 'jaxcast\[neuro\]'"):
        neuro.read_image(tmp_path / "bold.nii")
    with pytest.raises(jaxcast.InputError, match=r"pip install 'jaxcast\[neuro\]'"):
        neuro.write_image(tmp_path / "bold.nii", values, affine=AFFINE)


def test_series_of_a_mask_go_back_to_their_places(values):
    mask = np.random.default_rng(1).random((3, 4, 2)) < 0.5
    series = neuro.masked_series(values, mask, standardise=False)
    places = np.argwhere(mask)
    np.testing.assert_array_equal(series[:, 3], values[tuple(places[3])])
    np.testing.assert_array_equal(neuro.masked_volume(series, mask), values * mask[..., None])
    scaled = neuro.masked_series(neuro.BrainImage(values, AFFINE), mask)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(0), 1)
    np.testing.assert_array_equal(neuro.masked_volume(np.ones(mask.sum()), mask), mask)


def test_averages_are_those_of_each_label(values):
    atlas = np.random.default_rng(1).choice([0, 2, 5], size=(3, 4, 2))
    found = neuro.atlas_averages(values, atlas)
    expected = np.stack([values[atlas == label].mean(0) for label in (2, 5)], -1)
    np.testing.assert_allclose(found, expected)
    named = neuro.atlas_averages(values, atlas, labels=[5, 9, 2])
    np.testing.assert_allclose(named, np.stack([expected[:, 1], np.zeros(6), expected[:, 0]], -1))
    np.testing.assert_allclose(neuro.atlas_averages(values, atlas[..., None]), expected)
    for labels, message in [([2, 2], "different"), ([0, 2], "none 0"), ([0.5], "whole numbers"), ([], "whole")]:
        with pytest.raises(jaxcast.InputError, match=message):
            neuro.atlas_averages(values, atlas, labels=labels)


def test_images_in_different_spaces_are_refused(values):
    image, atlas = neuro.BrainImage(values, AFFINE), np.ones((3, 4, 2))
    flipped = AFFINE @ np.diag([-1.0, 1, 1, 1])
    for call in (neuro.atlas_averages, neuro.masked_series):
        with pytest.raises(jaxcast.InputError, match="different spaces"):
            call(image, neuro.BrainImage(atlas, flipped))
        call(image, neuro.BrainImage(atlas, AFFINE + 1e-4))
        call(image, atlas)


def test_masks_and_atlases_that_do_not_fit_are_refused(values):
    mask = np.ones((3, 4, 2))
    with pytest.raises(jaxcast.InputError, match=r"shape \(3, 4, 2\) as the image has, got \(4, 3, 2\)"):
        neuro.atlas_averages(values, np.ones((4, 3, 2)))
    with pytest.raises(jaxcast.InputError, match="whole numbers"):
        neuro.atlas_averages(values, mask / 2)
    with pytest.raises(jaxcast.InputError, match=r"image \(x, y, z, time\)"):
        neuro.masked_series(values[..., 0], mask)
    with pytest.raises(jaxcast.InputError, match="series"):
        neuro.masked_volume(np.ones((6, 5)), mask)
    constant = values.copy()
    constant[1, 2, 0] = 4.0
    with pytest.raises(jaxcast.InputError, match=r"1 constant voxel of 24, the first at \(1, 2, 0\)"):
        neuro.masked_series(constant, mask)
    constant[1, 2, 0, 3] = np.nan
    with pytest.raises(jaxcast.InputError, match="NaN or infinity in 1 voxel of 24"):
        neuro.atlas_averages(constant, mask)
