"""A window forecaster of your own: each series returns to its mean."""

import jax.numpy as jnp

import jaxcast


class MeanReversion(jaxcast.series.TrainableForecaster, name="mean_reversion"):
    """y_(t+h) = mean + share^h (u_t - mean), with a mean and a share for each series."""

    mean: object
    share: object
    leads: tuple[int, ...] = jaxcast.static()

    @classmethod
    def fit(cls, windows, *, problem):
        """Takes the mean, and the correlation of one step, of the training histories."""
        values = windows.history
        mean = jnp.nanmean(values, (0, 1))
        now, then = values[:, 1:] - mean, values[:, :-1] - mean
        share = jnp.nanmean(now * then, (0, 1)) / jnp.nanmean(then**2, (0, 1))
        return cls(mean, jnp.clip(share, 0, 1), tuple(problem.leads))

    @property
    def signature(self):
        return jaxcast.series.WindowSignature(len(self.leads), leads=self.leads, mean=self.mean)

    def __call__(self, history, covariates=None):
        newest = history[..., -1, :]
        off = jnp.where(jnp.isfinite(newest), newest, self.mean) - self.mean
        shares = self.share ** jnp.asarray(self.leads)[:, None]
        return jaxcast.Output(self.mean + shares * off[..., None, :], {})
