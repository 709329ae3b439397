"""Haemodynamic filters: what turns the activity of neurons into a BOLD signal, and back."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Complex, Float

from jaxcast.arguments import checked
from jaxcast.checks import check_choice, check_number, check_positive, check_whole
from jaxcast.errors import InputError, shown

NUM_FREQUENCIES = 1024
"""Frequencies from 0 to just below pi at which the largest gain is looked for, as the original does."""
MODELS = ("balloon", "spm")
ACTIVITIES = ("block", "spike")


class HaemodynamicModel(NamedTuple):
    """A linear differential equation of the haemodynamic response, in 1/s.

    The operator prod(D - pole) / prod(D - zero) turns a BOLD signal into the activity behind it:
    the poles of the response are the zeros of the operator.

    Args:
        poles: of the response.
        zeros: of the response.
    """

    poles: Complex[np.ndarray, " pole"]
    zeros: Complex[np.ndarray, " zero"]


class HaemodynamicFilter(NamedTuple):
    """A discrete filter from the BOLD signal to what should be sparse.

        numerator(1/z) / (denominator(1/z) backward(z))

    Args:
        numerator: coefficients of 1, 1/z, ...; an additional factor 1 - 1/z where activity comes in
            blocks.
        denominator: coefficients of the recursion forward in time, from 1 on.
        backward_denominator: coefficients of the recursion backward in time, from 1 on; only 1
            where no zero has a positive real part.
        backward_gain: factor and shift of the backward recursion: the product of -1/exp(zero TR).
        largest_squared_gain: maximum of the squared gain over 1024 frequencies below pi.
    """

    numerator: Float[np.ndarray, " term"]
    denominator: Float[np.ndarray, " forward"]
    backward_denominator: Float[np.ndarray, " backward"]
    backward_gain: float
    largest_squared_gain: float

    def matrix(self, num_scans: int) -> Float[np.ndarray, "scan scan"]:
        """Returns the filter as a matrix, for series that are zero before the first scan.

        Args:
            num_scans: number of scans.

        Returns:
            The matrix: lower triangular, unless a recursion runs backward from a zero end.
        """
        forward = _lower_toeplitz(self.response(num_scans))
        num_backward = len(self.backward_denominator) - 1
        if num_backward == 0:
            return forward
        one = np.zeros(num_scans)
        one[0] = self.backward_gain
        back = _lower_toeplitz(_recursion(one, self.backward_denominator)).T
        return np.eye(num_scans, k=num_backward) @ back @ forward

    def response(self, num_scans: int) -> Float[np.ndarray, " scan"]:
        """Returns the response of the forward part to a single 1 at the first scan.

        Args:
            num_scans: number of scans.

        Returns:
            The response.
        """
        one = np.zeros(num_scans)
        one[: len(self.numerator)] = self.numerator[:num_scans]
        return _recursion(one, self.denominator)


def _recursion(values: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Returns y_n = x_n - sum_k d_k y_(n - k)."""
    order, found = len(denominator) - 1, np.zeros(len(values) + len(denominator) - 1)
    for n, value in enumerate(values):
        found[n + order] = value - denominator[:0:-1] @ found[n : n + order]
    return found[order:]


def _lower_toeplitz(column: np.ndarray) -> np.ndarray:
    """Returns the lower triangular matrix with constant diagonals and this first column."""
    lags = np.subtract.outer(np.arange(len(column)), np.arange(len(column)))
    return np.where(lags >= 0, column[np.maximum(lags, 0)], 0.0)


@checked
def balloon_model(
    *,
    tau_s: float = 1.54,
    tau_f: float = 2.46,
    tau_0: float = 0.98,
    alpha: float = 0.33,
    extraction: float = 0.34,
) -> HaemodynamicModel:
    """Linearises the balloon model of blood flow, volume and oxygenation.

        poles:  -1/tau_0,  -1/(alpha tau_0),  -(1 +- i sqrt(4 tau_s^2 / tau_f - 1)) / (2 tau_s)
        zero:   -((k1 + k2) ((1 - alpha)/(alpha tau_0) - c/alpha) - (k3 - k2)/tau_0)
                / (-(k1 + k2) c tau_0 - k3 + k2)

    with k1 = 7 E, k2 = 2, k3 = 2 E - 0.2 and c = (1 + (1 - E) ln(1 - E) / E) / tau_0.

    Args:
        tau_s: decay of the signal that dilates vessels, in seconds.
        tau_f: time of the feedback of flow on that signal, in seconds.
        tau_0: mean transit time of blood, in seconds.
        alpha: stiffness of the vessels.
        extraction: E, the share of oxygen that tissue extracts at rest.

    Returns:
        The model.

    Raises:
        InputError: for constants that are not positive, an extraction of 1 or more, or times whose
            response does not oscillate.

    Source:
        Khalidov et al., Signal Processing 91, 2810-2821 (2011); Karahanoglu et al., NeuroImage 73,
        121-134 (2013).

    Example:
        >>> import jaxcast
        >>> round(float(jaxcast.neuro.balloon_model().zeros[0].real), 4)
        -11.8981
    """
    check_positive(tau_s=tau_s, tau_f=tau_f, tau_0=tau_0, alpha=alpha)
    check_number("extraction", extraction, above=0)
    if extraction >= 1:
        raise InputError(f"extraction must be below 1, got {extraction:g}")
    if 4 * tau_s**2 <= tau_f:
        raise InputError(f"tau_f must be below 4 tau_s^2 = {4 * tau_s**2:g}, got {tau_f:g}")
    k1, k2, k3 = 7 * extraction, 2.0, 2 * extraction - 0.2
    c = (1 + (1 - extraction) * np.log(1 - extraction) / extraction) / tau_0
    zero = -((k1 + k2) * ((1 - alpha) / (alpha * tau_0) - c / alpha) - (k3 - k2) / tau_0)
    zero /= -(k1 + k2) * c * tau_0 - k3 + k2
    pair = -(1 + 1j * np.sqrt(4 * tau_s**2 / tau_f - 1)) / (2 * tau_s)
    return HaemodynamicModel(
        np.asarray([-1 / tau_0, -1 / (alpha * tau_0), pair, pair.conjugate()]), np.asarray([zero + 0j])
    )


@checked
def spm_model() -> HaemodynamicModel:
    """Returns the operator that approximates the canonical response of SPM.

    Returns:
        The model: poles -0.27 twice and -0.4347 +- 0.3497 i, zero -0.1336.

    Source:
        Karahanoglu et al., NeuroImage 73, 121-134 (2013).

    Example:
        >>> import jaxcast
        >>> jaxcast.neuro.spm_model().poles.real.tolist()
        [-0.27, -0.27, -0.4347, -0.4347]
    """
    pair = -0.4347 - 0.3497j
    return HaemodynamicModel(np.asarray([-0.27, -0.27, pair, pair.conjugate()]), np.asarray([-0.1336 + 0j]))


@checked
def haemodynamic_filter(
    model: HaemodynamicModel | str = "balloon",
    *,
    repetition_time: float,
    activity: Literal["block", "spike"] = "block",
) -> HaemodynamicFilter:
    """Makes the discrete filter of a haemodynamic model.

        numerator = prod_k (1 - exp(a_k TR) / z),   denominator = prod_k (1 - exp(psi_k TR) / z)

    over the poles a_k and the zeros psi_k of the response. With activity "spike" the filter returns
    the activity itself; with "block" it has one more factor 1 - 1/z and returns the jumps of an
    activity that is constant in between. A zero with a positive real part would let the recursion
    grow; it runs backward in time instead.

    Args:
        model: "balloon", "spm", or a model of your own.
        repetition_time: TR, seconds from scan to scan.
        activity: "block" or "spike".

    Returns:
        The filter.

    Raises:
        InputError: for another name, a repetition time that is not positive, or poles and zeros
            that are not conjugate pairs or that lie on the imaginary axis.

    Source:
        Karahanoglu et al., NeuroImage 73, 121-134 (2013).

    Example:
        >>> import jaxcast
        >>> found = jaxcast.neuro.haemodynamic_filter(repetition_time=1.0)
        >>> found.numerator.round(4).tolist()
        [1.0, -2.6392, 2.6785, -1.2715, 0.2407, -0.0085]
        >>> round(found.largest_squared_gain, 6)
        61.439214
    """
    model = _model_of(model)
    check_number("repetition_time", repetition_time, above=0)
    check_choice("activity", activity, ACTIVITIES)
    poles, zeros = _checked_roots("poles", model.poles), _checked_roots("zeros", model.zeros)
    if not (poles.real < 0).all():
        raise InputError(f"poles must have negative real parts, got {shown(poles.tolist())}")
    forward, backward = zeros[zeros.real < 0], zeros[zeros.real > 0]
    numerator = _polynomial(np.exp(poles * repetition_time))
    if activity == "block":
        numerator = np.convolve(numerator, [1.0, -1.0])
    denominator = _polynomial(np.exp(forward * repetition_time))
    backward_denominator = _polynomial(np.exp(-backward * repetition_time))
    gain = float(np.prod(-np.exp(-backward * repetition_time)).real)
    frequencies = np.exp(-1j * np.pi * np.arange(NUM_FREQUENCIES) / NUM_FREQUENCIES)
    above, below, backward_below = (
        np.abs(np.polyval(coefficients[::-1], frequencies)) ** 2
        for coefficients in (numerator, denominator, backward_denominator)
    )
    squared = above / (below * backward_below) * gain**2
    return HaemodynamicFilter(numerator, denominator, backward_denominator, gain, float(squared.max()))


def _model_of(model: Any) -> HaemodynamicModel:
    if isinstance(model, HaemodynamicModel):
        return model
    check_choice("model", model, MODELS)
    return balloon_model() if model == "balloon" else spm_model()


def _checked_roots(name: str, roots: Sequence[complex] | np.ndarray) -> np.ndarray:
    """Returns roots of a polynomial with real coefficients."""
    found = np.atleast_1d(np.asarray(roots, complex))
    is_real = found.ndim == 1 and np.isfinite(found).all() and (found.real != 0).all()
    if not is_real or not np.allclose(np.sort_complex(found), np.sort_complex(found.conj())):
        raise InputError(f"{name} must be finite, off the imaginary axis and in conjugate pairs, got {shown(roots)}")
    return found


def _polynomial(roots: np.ndarray) -> np.ndarray:
    """Returns the coefficients of prod(1 - root / z)."""
    return np.real(np.poly(roots)) if len(roots) else np.ones(1)


@checked
def haemodynamic_response(
    model: HaemodynamicModel | str = "balloon", *, repetition_time: float, num_scans: int
) -> Float[np.ndarray, " scan"]:
    """Returns the BOLD signal after activity of 1 during the first scan.

    It undoes the filter of `haemodynamic_filter` for spikes: the filter of the response is 1.

    Args:
        model: "balloon", "spm", or a model of your own.
        repetition_time: TR, seconds from scan to scan.
        num_scans: number of scans.

    Returns:
        The response, from the first scan on.

    Raises:
        InputError: as `haemodynamic_filter` does, or for fewer than one scan.

    Source:
        Karahanoglu et al., NeuroImage 73, 121-134 (2013).

    Example:
        >>> import jaxcast
        >>> response = jaxcast.neuro.haemodynamic_response(repetition_time=1.0, num_scans=20)
        >>> int(response.argmax()), bool(response[6] < 0)  # the peak, and the undershoot after it
        (2, True)
    """
    check_whole("num_scans", num_scans)
    spikes = haemodynamic_filter(model, repetition_time=repetition_time, activity="spike")
    zeros = _model_of(model).zeros
    one = np.zeros(num_scans)
    factors = _polynomial(np.exp(np.atleast_1d(zeros) * repetition_time))[:num_scans]
    one[: len(factors)] = factors
    return _recursion(one, spikes.numerator)
