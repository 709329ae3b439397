"""Oscillators, jerk equations, circuits and mechanics.

A driven system carries the phase of its drive as a component, and is thereby autonomous.
"""

from typing import Any

import jax.numpy as jnp

from jaxcast.dynamics.catalogue.fields import field

GRAVITY = 9.82


@field("Thomas", "ThomasLabyrinth")
def thomas(p: Any, u: Any) -> Any:
    x, y, z = u
    return -p.a * x + p.b * jnp.sin(y), -p.a * y + p.b * jnp.sin(z), -p.a * z + p.b * jnp.sin(x)


@field("Halvorsen")
def halvorsen(p: Any, u: Any) -> Any:
    x, y, z = u
    return (
        -p.a * x - p.b * (y + z) - y**2,
        -p.a * y - p.b * (z + x) - z**2,
        -p.a * z - p.b * (x + y) - x**2,
    )


@field("Aizawa")
def aizawa(p: Any, u: Any) -> Any:
    x, y, z = u
    dz = p.c + p.a * z - z**3 / 3 - (x**2 + y**2) * (1 + p.e * z) + p.f * z * x**3
    return (z - p.b) * x - p.d * y, p.d * x + (z - p.b) * y, dz


@field("GuckenheimerHolmes")
def guckenheimer_holmes(p: Any, u: Any) -> Any:
    x, y, z = u
    square = x**2 + y**2
    return (
        p.a * x - p.b * y + p.c * z * x + p.d * z * square,
        p.a * y + p.b * x + p.c * z * y,
        p.e - z**2 - p.f * square - p.a * z**3,
    )


@field("RabinovichFabrikant")
def rabinovich_fabrikant(p: Any, u: Any) -> Any:
    x, y, z = u
    return y * (z - 1 + x**2) + p.g * x, x * (3 * z + 1 - x**2) + p.g * y, -2 * z * (p.a + x * y)


@field("Finance")
def finance(p: Any, u: Any) -> Any:
    x, y, z = u
    return (1 / p.b - p.a) * x + z + x * y, -p.b * y - x**2, -x - p.c * z


@field("Bouali", "Bouali2")
def bouali(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.a * x * (p.y0 - y) - p.b * z, -p.g * y * (1 - x**2), -1.5 * p.m * x + p.m * p.bb * x * z - p.c * z


@field("YuWang")
def yu_wang(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.a * (y - x), x * (p.b - p.c * z), jnp.exp(x * y) - p.d * z


@field("YuWang2")
def yu_wang2(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.a * (y - x), x * (p.b - p.c * z), jnp.cosh(x * y) - p.d * z


@field("SanUmSrisuchinwong")
def san_um_srisuchinwong(p: Any, u: Any) -> Any:
    x, y, z = u
    return y - x, -z * jnp.tanh(x), -p.a + x * y + jnp.abs(y)


@field("Arneodo", "Coullet")
def arneodo(p: Any, u: Any) -> Any:
    x, y, z = u
    return y, z, -p.a * x - p.b * y - p.c * z + p.d * x**3


@field("GenesioTesi")
def genesio_tesi(p: Any, u: Any) -> Any:
    x, y, z = u
    return y, z, -p.c * x - p.b * y - p.a * z + x**2


@field("JerkCircuit")
def jerk_circuit(p: Any, u: Any) -> Any:
    x, y, z = u
    return y, z, -z - x - p.eps * (jnp.exp(y / p.y0) - 1)


@field("Chua")
def chua(p: Any, u: Any) -> Any:
    x, y, z = u
    current = p.m1 * x + 0.5 * (p.m0 - p.m1) * (jnp.abs(x + 1) - jnp.abs(x - 1))
    return p.alpha * (y - x - current), x - y + z, -p.beta * y


@field("MultiChua")
def multi_chua(p: Any, u: Any) -> Any:
    x, y, z = u
    # The first breakpoint c is not used: the innermost slope holds around the origin.
    pieces = zip(p.m[:-1], p.m[1:], p.c[1:], strict=True)
    bends = sum((inner - outer) * (jnp.abs(x + c) - jnp.abs(x - c)) for inner, outer, c in pieces)
    return p.a * (y - p.m[-1] * x - 0.5 * bends), x - y + z, -p.b * y


@field("AnishchenkoAstakhov")
def anishchenko_astakhov(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.mu * x + y - x * z, -x, p.eta * (jnp.where(x > 0, x**2, 0) - z)


@field("Colpitts")
def colpitts(p: Any, u: Any) -> Any:
    x, y, z = u
    current = jnp.maximum(p.e - 1 - z, 0)
    return y - p.a * current, p.c - x - p.b * y - z, y - p.d * z


@field("CellularNeuralNetwork")
def cellular_neural_network(p: Any, u: Any) -> Any:
    x, y, z = u
    f, g, h = (0.5 * (jnp.abs(v + 1) - jnp.abs(v - 1)) for v in u)
    return -x + p.d * f - p.b * (g + h), -y - p.b * f + p.c * g - p.a * h, -z - p.b * f + p.a * g + h


@field("Duffing", components="x v phase")
def duffing(p: Any, u: Any) -> Any:
    x, v, phase = u
    return v, -p.delta * v - p.beta * x - p.alpha * x**3 + p.gamma * jnp.cos(phase), p.omega


@field("ForcedVanDerPol", components="x v phase")
def forced_van_der_pol(p: Any, u: Any) -> Any:
    x, v, phase = u
    return v, p.mu * (1 - x**2) * v - x + p.a * jnp.sin(phase), p.w


@field("StickSlipOscillator", components="x v phase")
def stick_slip_oscillator(p: Any, u: Any) -> Any:
    x, v, phase = u
    slip = v - p.vs
    # The linear term holds the velocity itself, as in dysts; the others hold the slip.
    friction = p.t0 * jnp.sign(slip) - p.alpha * v + p.beta * slip**3
    return v, p.eps * (p.gamma * jnp.cos(phase) - friction) + p.a * x - p.b * x**3, p.w


@field("FluidTrampoline", components="x v phase")
def fluid_trampoline(p: Any, u: Any) -> Any:
    x, v, phase = u
    return v, -1 - jnp.where(x < 0, x + p.psi * v * jnp.abs(v), 0) + p.gamma * jnp.cos(phase), p.w


@field("WindmiReduced", components="current voltage pressure")
def windmi_reduced(p: Any, u: Any) -> Any:
    current, voltage, pressure = u
    loss = pressure**1.25 * jnp.sqrt(p.vsw) * (1 + jnp.tanh(p.d1 * (current - 1))) / 2
    # Half the pressure, as in dysts and its figures; the paper has its square root.
    return p.a1 * (p.vsw - voltage), p.b1 * current - p.b2 * pressure / 2 - p.b3 * voltage, p.vsw**2 - loss


@field("HenonHeiles", components="x y px py")
def henon_heiles(p: Any, u: Any) -> Any:
    x, y, px, py = u
    return px, py, -x - 2 * p.lam * x * y, -y - p.lam * (x**2 - y**2)


@field("NuclearQuadrupole", components="q1 q2 p1 p2")
def nuclear_quadrupole(p: Any, u: Any) -> Any:
    q1, q2, p1, p2 = u
    square, b = q1**2 + q2**2, 3 / 2**0.5 * p.b
    return (
        p.a * p1,
        p.a * p2,
        -p.a * q1 + b * (q1**2 - q2**2) - p.d * q1 * square,
        -q2 * (p.a + 2 * b * q1 + p.d * square),
    )


@field("DoublePendulum", components="angle1 angle2 momentum1 momentum2")
def double_pendulum(p: Any, u: Any) -> Any:
    angle1, angle2, p1, p2 = u
    inertia, cosine, sine = p.m * p.d**2, jnp.cos(angle1 - angle2), jnp.sin(angle1 - angle2)
    share = 6 / inertia / (16 - 9 * cosine**2)
    v1, v2 = share * (2 * p1 - 3 * cosine * p2), share * (8 * p2 - 3 * cosine * p1)
    # The same pull on both arms, as in dysts; by the mechanics of two rods the second has a third.
    pull = 3 * GRAVITY / p.d
    return (
        v1,
        v2,
        -0.5 * inertia * (v1 * v2 * sine + pull * jnp.sin(angle1)),
        -0.5 * inertia * (-v1 * v2 * sine + pull * jnp.sin(angle2)),
    )


@field("SwingingAtwood", components="r angle momentum angular_momentum")
def swinging_atwood(p: Any, u: Any) -> Any:
    r, angle, pr, pa = u
    return (
        pr / (p.m1 + p.m2),
        pa / (p.m1 * r**2),
        pa**2 / (p.m1 * r**3) - p.m2 * GRAVITY + p.m1 * GRAVITY * jnp.cos(angle),
        -p.m1 * GRAVITY * r * jnp.sin(angle),
    )


@field("ArnoldWeb", components="p1 p2 angle1 angle2 phase")
def arnold_web(p: Any, u: Any) -> Any:
    p1, p2, angle1, angle2, phase = u
    pull = p.mu / (4 + jnp.cos(phase) + jnp.cos(angle1) + jnp.cos(angle2)) ** 2
    return -pull * jnp.sin(angle1), -pull * jnp.sin(angle2), p1, p2, p.w


@field("Torus")
def torus(p: Any, u: Any) -> Any:
    # A curve on a torus that is given as a function of time.
    wide, swing = p.r + p.a * jnp.cos(p.n * p.t), p.a * p.n * jnp.sin(p.n * p.t)
    sine, cosine = jnp.sin(p.t), jnp.cos(p.t)
    return -swing * cosine - wide * sine, -swing * sine + wide * cosine, p.a * p.n * jnp.cos(p.n * p.t)
