"""Particles in two-dimensional flows of fluids that mix them."""

import math
from typing import Any

import jax.numpy as jnp

from jaxcast.dynamics.catalogue.fields import field

STIFFNESS = 20.0
"""How abruptly a flow that blinks changes."""


def switch(time: Any, period: Any) -> Any:
    """Returns a smooth square wave between -1 and 1."""
    return jnp.tanh(STIFFNESS * period * jnp.sin(2 * math.pi * time / period))


@field("DoubleGyre", components="x y phase")
def double_gyre(p: Any, u: Any) -> Any:
    x, y, phase = u
    a = p.eps * jnp.sin(phase)
    f, slope = a * x**2 + (1 - 2 * a) * x, 2 * a * x + 1 - 2 * a
    speed = math.pi * p.alpha
    return (
        -speed * jnp.sin(math.pi * f) * jnp.cos(math.pi * y),
        speed * jnp.cos(math.pi * f) * jnp.sin(math.pi * y) * slope,
        p.omega,
    )


@field("OscillatingFlow", components="x y phase")
def oscillating_flow(p: Any, u: Any) -> Any:
    x, y, phase = u
    f = p.k * (x + p.b * jnp.sin(phase))
    return p.u * jnp.cos(p.k * y) * jnp.sin(f), -p.u * jnp.sin(p.k * y) * jnp.cos(f), p.omega


@field("ArnoldBeltramiChildress")
def arnold_beltrami_childress(p: Any, u: Any) -> Any:
    x, y, z = u
    return (
        p.a * jnp.sin(z) + p.c * jnp.cos(y),
        p.b * jnp.sin(x) + p.a * jnp.cos(z),
        p.c * jnp.sin(y) + p.b * jnp.cos(x),
    )


@field("BickleyJet", components="y x time")
def bickley_jet(p: Any, u: Any) -> Any:
    y, x, time = u
    waves = [(eps, k, k * (x - time * speed)) for eps, k, speed in zip(p.eps, p.k, p.sigma, strict=True)]
    jet = p.u / jnp.cosh(y / p.ell) ** 2
    across = sum(eps * k * jnp.sin(wave) for eps, k, wave in waves)
    along = sum(eps * jnp.cos(wave) for eps, _, wave in waves)
    return p.ell * jet * across, jet * (-1 - 2 * along * jnp.tanh(y / p.ell)), p.omega


@field("BlinkingRotlet", "BlinkingVortex", components="r angle time")
def blinking_rotlet(p: Any, u: Any) -> Any:
    r, angle, time = u
    weight = 0.5 + 0.5 * switch(time, p.tau)
    dr1, da1 = _rotlet(r, angle, p.a, p.b, p.bc)
    dr2, da2 = _rotlet(r, angle, p.a, -p.b, p.bc)
    mixed = weight * dr1 + (1 - weight) * dr2, (weight * da1 + (1 - weight) * da2) / r
    return p.sigma * mixed[0], p.sigma * mixed[1], jnp.ones_like(time)


def _rotlet(r: Any, angle: Any, a: Any, b: Any, bc: Any) -> Any:
    """Returns the velocity that a rotlet at distance b makes in a circle of radius a."""
    near = b * jnp.cos(angle)
    ratio = b**2 / a**2
    image = a**2 + ratio * r**2 - 2 * r * near  # squared distance from the image, scaled
    direct = b**2 + r**2 - 2 * r * near
    slip = (1 - r**2 / a**2) * (a**2 - ratio * r**2)
    lever = ratio * r - near
    dr = b * jnp.sin(angle) * (-bc * slip / image**2 - 1 / image + 1 / direct)
    wall = bc * (slip * lever / image**2 + r * (a**2 + b**2 - 2 * ratio * r**2) / (a**2 * image))
    return dr, wall + lever / image - (r - near) / direct


@field("LidDrivenCavityFlow", components="x y time")
def lid_driven_cavity_flow(p: Any, u: Any) -> Any:
    x, y, time = u
    dx, dy = 0.0, 0.0
    for mode, speed in ((1, p.u1 * switch(time, p.tau)), (2, p.u2)):
        wave = mode * math.pi / p.a
        scale = 2 * speed / (2 * p.a * p.b * wave + p.a * jnp.sinh(2 * wave * p.b))
        sinh_b, cosh_b = jnp.sinh(wave * p.b), jnp.cosh(wave * p.b)
        sinh_y, cosh_y = jnp.sinh(wave * y), jnp.cosh(wave * y)
        along = cosh_b * (wave * y * cosh_y + sinh_y) - wave * p.b * sinh_b * sinh_y
        across = p.b * sinh_b * cosh_y - cosh_b * y * sinh_y
        dx = dx + scale * jnp.sin(wave * x) * p.a * along
        dy = dy + scale * jnp.cos(wave * x) * p.a * wave * across
    return dx, dy, jnp.ones_like(time)


@field("InteriorSquirmer", components="r angle time")
def interior_squirmer(p: Any, u: Any) -> Any:
    r, angle, time = u
    weight = 0.5 + 0.5 * switch(time, p.tau)
    dr, da = 0.0, 0.0
    for n, (a, g) in enumerate(zip(p.a, p.g, strict=True), 1):
        a, g = a * weight, g * (1 - weight)
        sine, cosine = jnp.sin(n * angle), jnp.cos(n * angle)
        dr = dr + (g * cosine + a * sine) * n * r ** (n - 1) * (r**2 - 1)
        da = da + (a * cosine - g * sine) * r ** (n - 1) * (2 * r + (r**2 - 1) * n / r)
    return dr, da, jnp.ones_like(time)
