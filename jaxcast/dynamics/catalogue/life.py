"""Chemical reactions, cells, neurons and populations."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxcast.dynamics.catalogue.fields import field


@field("GlycolyticOscillation", components="a b c")
def glycolytic_oscillation(p: Any, u: Any) -> Any:
    a, b, c = u
    first = (1 + b) ** 2
    phi = a * (1 + a) * first / (p.l1 + (1 + a) ** 2 * first)
    second, excess = (1 + c) ** 2, 1 + p.d * b
    eta = b * excess * second / (p.l2 + excess**2 * second)
    return p.nu - p.s1 * phi, p.q1 * p.s1 * phi - p.s2 * eta, p.q2 * p.s2 * eta - p.k * c


@field("ForcedBrusselator", components="x y phase")
def forced_brusselator(p: Any, u: Any) -> Any:
    x, y, phase = u
    return p.a + x**2 * y - (p.b + 1) * x + p.f * jnp.cos(phase), p.b * x - x**2 * y, p.w


@field("BelousovZhabotinsky", components="x z v")
def belousov_zhabotinsky(p: Any, u: Any) -> Any:
    x, z, v = u
    y = p.yb1 * z * v / (p.y0 * (p.yb2 * x + p.yb3 + p.kf))
    x = jnp.maximum(x, 0)
    rate = (p.ci - p.z0 * z) * jnp.sqrt(x)
    dx = p.c1 * x * y + p.c2 * y + p.c3 * x**2 + p.c4 * rate + p.c5 * x * z - p.kf * x
    dz = p.c6 / p.z0 * rate + p.c7 * x * z + p.c8 * z * v + p.c9 * z - p.kf * z
    dv = p.c10 * x * y + p.c11 * y + p.c12 * x**2 + p.c13 * z * v - p.kf * v
    return p.t0 * dx, p.t0 * dz, p.t0 * dv


@field("IsothermalChemical", components="a b c")
def isothermal_chemical(p: Any, u: Any) -> Any:
    a, b, c = u
    reacting = a * b**2 + a
    return p.mu * (p.kappa + c) - reacting, (reacting - b) / p.sigma, (b - c) / p.delta


@field("KawczynskiStrizhak")
def kawczynski_strizhak(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.gamma * (y - x**3 + 3 * p.mu * x), -2 * p.mu * x - y - z + p.beta, p.kappa * (x - z)


@field("CaTwoPlus", "CaTwoPlusQuasiperiodic", components="z y a")
def calcium(p: Any, u: Any) -> Any:
    z, y, a = u
    inflow = p.V0 + p.V1 * p.beta
    pumped = p.Vm2 * z**2 / (p.K2**2 + z**2)
    released = p.Vm3 * _hill(z, p.Kz, p.m) * _hill(y, p.Ky, 2) * _hill(a, p.Ka, 4)
    used = p.Vm5 * _hill(a, p.K5, p.p) * _hill(z, p.Kd, p.n)
    return (
        inflow - pumped + released + p.kf * y - p.k * z,
        pumped - released - p.kf * y,
        p.beta * p.V4 - used - p.eps * a,
    )


def _hill(x: Any, half: Any, power: Any) -> Any:
    return x**power / (half**power + x**power)


@field("CellCycle", components="c1 m1 x1 c2 m2 x2")
def cell_cycle(p: Any, u: Any) -> Any:
    c1, m1, x1, c2, m2, x2 = u

    def half(c: Any, m: Any, x: Any, other: Any) -> Any:
        dc = p.vi * p.Kim / (p.Kim + other) - p.vd * x * c / (p.Kd1 + c) - p.kd1 * c
        dm = p.Vm1 * c / (p.Kc + c) * (1 - m) / (p.K + 1 - m) - p.V2 * m / (p.K + m)
        dx = m * p.Vm3 * (1 - x) / (p.K + 1 - x) - p.V4 * x / (p.K + x)
        return dc, dm, dx

    return *half(c1, m1, x1, m2), *half(c2, m2, x2, m1)


@field("CircadianRhythm", components="m fc fs fn phase")
def circadian_rhythm(p: Any, u: Any) -> Any:
    m, fc, fs, fn, phase = u
    made = 2.5 * (0.5 + 0.5 * jnp.cos(phase) + p.vmin) * (p.vmax - p.vmin)
    return (
        made * p.Ki**p.n / (p.Ki**p.n + fn**p.n) - p.vm * m / (p.km + m),
        p.ks * m - p.k1 * fc + p.k2 * fn - p.k * fc,
        p.k * fc - p.vd * fs / (p.kd + fs),
        p.k1 * fc - p.k2 * fn - p.vdn * fn / (p.kdn + fn),
        jnp.full_like(phase, 2 * math.pi / 24),
    )


@field("ExcitableCell", components="v n c")
def excitable_cell(p: Any, u: Any) -> Any:
    v, n, c = u
    m_opens, m_closes = 0.1 * (25 + v) / (1 - jnp.exp(-0.1 * v - 2.5)), 4 * jnp.exp(-(v + 50) / 18)
    h_opens, h_closes = 0.07 * jnp.exp(-0.05 * v - 2.5), 1 / (1 + jnp.exp(-0.1 * v - 2))
    n_opens, n_closes = 0.01 * (20 + v) / (1 - jnp.exp(-0.1 * v - 2)), 0.125 * jnp.exp(-(v + 30) / 80)
    open_share = (m_opens / (m_opens + m_closes)) ** 3 * h_opens / (h_opens + h_closes)
    dv = (
        p.gi * open_share * (p.vi - v)
        + p.gkv * n**4 * (p.vk - v)
        + p.gkc * c / (1 + c) * (p.vk - v)
        + p.gl * (p.vl - v)
    )
    return dv, 230 * (n_opens - n * (n_opens + n_closes)), p.rho * (open_share * (p.vc - v) - p.kc * c)


@field("HindmarshRose")
def hindmarsh_rose(p: Any, u: Any) -> Any:
    x, y, z = u
    return (
        -x + (y - p.a * x**3 + p.b * x**2 + z) / p.tx,
        -p.a * x**3 - (p.d - p.b) * x**2 + z,
        (p.c - p.s * x - z) / p.tz,
    )


@field("ForcedFitzHughNagumo", components="v w phase")
def forced_fitzhugh_nagumo(p: Any, u: Any) -> Any:
    v, w, phase = u
    return v - v**3 / 3 - w + p.curr + p.f * jnp.sin(phase), p.gamma * (v + p.a - p.b * w), p.omega


@field("BeerRNN")
def beer_network(p: Any, u: Any) -> Any:
    active = [jax.nn.sigmoid(x + theta) for x, theta in zip(u, p.theta, strict=True)]
    return tuple((-x + _dot(row, active)) / tau for x, row, tau in zip(u, p.w, p.tau, strict=True))


@field("Hopfield", components="x1 x2 x3 x4 x5 x6")
def hopfield(p: Any, u: Any) -> Any:
    return tuple(-x / p.tau + (1 + jnp.tanh(p.eps * _dot(row, u))) / 2 - p.beta for x, row in zip(u, p.k, strict=True))


def _dot(row: Any, values: Any) -> Any:
    return sum(weight * value for weight, value in zip(row, values, strict=True))


@field("MacArthur", components="n1 n2 n3 n4 n5 r1 r2 r3 r4 r5")
def macarthur(p: Any, u: Any) -> Any:
    species, resources = u[:5], u[5:]
    # A species grows as its scarcest resource allows.
    limits = [[resource / (row[i] + resource) for resource, row in zip(resources, p.k, strict=True)] for i in range(5)]
    growth = [p.r * functools.reduce(jnp.minimum, limit) for limit in limits]
    eaten = [mu * n for mu, n in zip(growth, species, strict=True)]
    supply = zip(resources, p.s, p.c, strict=True)
    return (
        *(n * (mu - p.m) for mu, n in zip(growth, species, strict=True)),
        *(p.d * (most - resource) - _dot(row, eaten) for resource, most, row in supply),
    )


@field("CoevolvingPredatorPrey", components="x y alpha")
def coevolving_predator_prey(p: Any, u: Any) -> Any:
    x, y, alpha = u
    moved = alpha * p.delta
    birth = p.a1 * alpha * (1 - p.k1 * x * (moved - alpha)) / (1 + p.b1 * alpha)
    death = p.d1 * (1 - p.k2 * (moved**2 - alpha**2) + p.k4 * (moved**4 - alpha**4))
    eaten = y / (1 + p.b2 * x)
    drift = -p.a1 * p.k1 * x * moved / (1 + p.b1 * alpha)
    drift = drift - p.d1 * (4 * p.k4 * moved**3 - 2 * p.k2 * moved) * p.delta
    return x * (birth - p.a3 * eaten - death), p.a2 * x * eaten - p.d2 * y, p.vv * drift


@field("SaltonSea")
def salton_sea(p: Any, u: Any) -> Any:
    x, y, z = u
    infected, eaten = p.lam * x * y, y * z / (y + p.a)
    return (
        p.r * x * (1 - (x + y) / p.k) - infected,
        infected - p.m * eaten - p.mu * y,
        p.th * eaten - p.d * z,
    )


@field("Blasius")
def blasius(p: Any, u: Any) -> Any:
    x, y, z = u
    grazed, eaten = p.alpha1 * x * y / (1 + p.k1 * x), p.alpha2 * y * z / (1 + p.k2 * y)
    return p.a * x - grazed, -p.b * y + grazed - eaten, -p.c * (z - p.zs) + eaten


@field("TurchinHanski", components="n p phase")
def turchin_hanski(p: Any, u: Any) -> Any:
    prey, predators, phase = u
    season = 1 - p.e * jnp.sin(phase)
    eaten = p.g * prey**2 / (prey**2 + p.h**2) + p.a * prey * predators / (prey + p.d)
    return (
        p.r * prey * (season - prey) - eaten,
        p.s * predators * (season - predators / prey),
        jnp.full_like(phase, 2 * math.pi),
    )


@field("HastingsPowell")
def hastings_powell(p: Any, u: Any) -> Any:
    x, y, z = u
    grazed, eaten = p.a1 * x * y / (1 + p.b1 * x), p.a2 * y * z / (1 + p.b2 * y)
    return x * (1 - x) - grazed, grazed - eaten - p.d1 * y, eaten - p.d2 * z


@field("ItikBanksTumor")
def itik_banks_tumor(p: Any, u: Any) -> Any:
    x, y, z = u
    return (
        x * (1 - x) - p.a12 * x * y - p.a13 * x * z,
        p.r2 * y * (1 - y) - p.a21 * x * y,
        p.r3 * x * z / (x + p.k3) - p.a31 * x * z - p.d3 * z,
    )
