# %% [markdown]
# # Your own system
#
# A system is a class with fields for its parameters and a vector field for *one* state.
# Trajectories, ensembles, schedules for every parameter, flow maps and gradients follow from it.

# %%
import jax
import jax.numpy as jnp
import jaxcast
import matplotlib.pyplot as plt

jax.config.update("jax_enable_x64", True)


class Lorenz84(jaxcast.System):
    components = ("x", "y", "z")
    a: jaxcast.dynamics.Parameter = 0.25
    b: jaxcast.dynamics.Parameter = 4.0
    f: jaxcast.dynamics.Parameter = 8.0
    g: jaxcast.dynamics.Parameter = 1.0

    def vector_field(self, t, u):
        x, y, z = u
        dx = -y * y - z * z - self.a * (x - self.f)
        dy = x * y - self.b * x * z - y + self.g
        return dx, dy, self.b * x * y + x * z - z


# %% [markdown]
# ## Trajectories
#
# Any parameter takes a number, a schedule or a function of time. Here the forcing `f` has seasons.

# %% A trajectory of the new system
seasons = Lorenz84(f=jaxcast.Cosine(mean=7.0, amplitude=2.0, period=73.0))
trajectory = jaxcast.simulate(
    seasons, [1.0, 1.0, 0.0], num_samples=1500, dt=0.1, h=0.01
)

figure, axes = plt.subplots(figsize=(8, 2.8))
jaxcast.plotting.plot_series(
    axes,
    trajectory.times,
    trajectory.states[:, 0],
    schedule=jax.vmap(seasons.f)(trajectory.times),
    label="x",
    schedule_label="f",
)
_ = axes.set_xlabel("time")

# %% [markdown]
# ## How chaotic is it?

# %%
exponent = jaxcast.dynamics.lyapunov_exponent(
    Lorenz84(), [1.0, 1.0, 0.0], duration=500.0, key=jax.random.key(1)
)
error = jaxcast.saturation_error(trajectory.states)
print(
    f"largest Lyapunov exponent {float(exponent):.2f}, one Lyapunov time {1 / float(exponent):.1f}"
)
print(f"mean squared distance of two unrelated states {float(error):.2f}")

# %% [markdown]
# The threshold of valid time belongs to a system. `0.175 * saturation_error(states)` is the
# counterpart of the 40 that is used for Lorenz '63.
#
# ## Many trajectories
#
# Parameters may differ from trajectory to trajectory: give arrays. A vector field is written for
# one state, and jaxcast runs it on tiles of thousands.

# %% End states of 2000 trajectories, coloured by their forcing
many = Lorenz84(f=jnp.linspace(6.0, 9.0, 2000))
starts = jaxcast.dynamics.random_starts(Lorenz84(), 2000, key=jax.random.key(0))
ends = jaxcast.final_states(many, starts, duration=30.0)

figure, axes = plt.subplots(figsize=(5, 3.5))
points = axes.scatter(ends[:, 0], ends[:, 1], c=many.f, s=3)
figure.colorbar(points, label="f")
_ = axes.set(xlabel="x", ylabel="y")

# %% [markdown]
# ## Gradients
#
# A simulation is a function of its parameters, and JAX differentiates it.


# %%
def last_x(f):
    return jaxcast.simulate(
        Lorenz84(f=f), [1.0, 1.0, 0.0], num_samples=20, dt=0.1, h=0.01
    ).states[-1, 0]


print(f"dx/df = {float(jax.grad(last_x)(8.0)):.4f}")
step = 1e-5
print(
    f"by differences: {float((last_x(8.0 + step) - last_x(8.0 - step)) / (2 * step)):.4f}"
)

# %% [markdown]
# A class of yours can be saved and named on the command line, too:
# [Write a system](../how_to/write_a_system.md).
