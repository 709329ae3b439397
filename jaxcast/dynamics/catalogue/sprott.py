"""Sprott's simple flows: three components, five or six terms."""

from typing import Any

import jax.numpy as jnp

from jaxcast.dynamics.catalogue.fields import field


@field("NoseHoover")
def nose_hoover(p: Any, u: Any) -> Any:
    x, y, z = u
    return y, -x + y * z, p.a - y**2


@field("SprottA")
def sprott_a(p: Any, u: Any) -> Any:
    x, y, z = u
    return y, -x + y * z, 1 - y**2


@field("SprottB")
def sprott_b(p: Any, u: Any) -> Any:
    x, y, z = u
    return y * z, x - y, 1 - x * y


@field("SprottC")
def sprott_c(p: Any, u: Any) -> Any:
    x, y, z = u
    return y * z, x - y, 1 - x**2


@field("SprottD")
def sprott_d(p: Any, u: Any) -> Any:
    x, y, z = u
    return -y, x + z, x * z + 3 * y**2


@field("SprottE")
def sprott_e(p: Any, u: Any) -> Any:
    x, y, z = u
    return y * z, x**2 - y, 1 - 4 * x


@field("SprottF")
def sprott_f(p: Any, u: Any) -> Any:
    x, y, z = u
    return y + z, -x + p.a * y, x**2 - z


@field("SprottG")
def sprott_g(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.a * x + z, x * z - y, -x + y


@field("SprottH")
def sprott_h(p: Any, u: Any) -> Any:
    x, y, z = u
    return -y + z**2, x + p.a * y, x - z


@field("SprottI")
def sprott_i(p: Any, u: Any) -> Any:
    x, y, z = u
    return -p.a * y, x + z, x + y**2 - z


@field("SprottJ")
def sprott_j(p: Any, u: Any) -> Any:
    x, y, z = u
    return 2 * z, -2 * y + z, -x + y + y**2


@field("SprottK")
def sprott_k(p: Any, u: Any) -> Any:
    x, y, z = u
    return x * y - z, x - y, x + p.a * z


@field("SprottL")
def sprott_l(p: Any, u: Any) -> Any:
    x, y, z = u
    return y + p.b * z, p.a * x**2 - y, 1 - x


@field("SprottM")
def sprott_m(p: Any, u: Any) -> Any:
    x, y, z = u
    return -z, -(x**2) - y, p.a * (1 + x) + y


@field("SprottN")
def sprott_n(p: Any, u: Any) -> Any:
    x, y, z = u
    return -2 * y, x + z**2, 1 + y - 2 * z


@field("SprottO")
def sprott_o(p: Any, u: Any) -> Any:
    x, y, z = u
    return y, x - z, x + x * z + p.a * y


@field("SprottP")
def sprott_p(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.a * y + z, -x + y**2, x + y


@field("SprottQ")
def sprott_q(p: Any, u: Any) -> Any:
    x, y, z = u
    return -z, x - y, p.a * x + y**2 + p.b * z


@field("SprottR")
def sprott_r(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.a - y, p.b + z, x * y - z


@field("SprottS")
def sprott_s(p: Any, u: Any) -> Any:
    x, y, z = u
    return -x - 4 * y, x + z**2, 1 + x


@field("SprottMore")
def sprott_more(p: Any, u: Any) -> Any:
    x, y, z = u
    return y, -x - jnp.sign(z) * y, y**2 - jnp.exp(-(x**2))


@field("SprottTorus")
def sprott_torus(p: Any, u: Any) -> Any:
    x, y, z = u
    return y + 2 * x * y + x * z, 1 - 2 * x**2 + y * z, x - x**2 - y**2


@field("SprottJerk")
def sprott_jerk(p: Any, u: Any) -> Any:
    x, y, z = u
    return y, z, -x + y**2 - p.mu * z
