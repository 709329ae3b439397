"""Relatives of the Lorenz equations: quadratic flows with two wings, and models of convection."""

from typing import Any

from jaxcast.dynamics.catalogue.fields import field


@field("LorenzBounded")
def lorenz_bounded(p: Any, u: Any) -> Any:
    x, y, z = u
    slowed = 1 - (x**2 + y**2 + z**2) / p.r**2
    return p.sigma * (y - x) * slowed, (x * (p.rho - z) - y) * slowed, (x * y - p.beta * z) * slowed


@field("LorenzCoupled", components="x1 y1 z1 x2 y2 z2")
def lorenz_coupled(p: Any, u: Any) -> Any:
    x1, y1, z1, x2, y2, z2 = u
    driving = p.sigma * (y1 - x1), x1 * (p.rho1 - z1) - y1, x1 * y1 - p.beta * z1
    driven = p.sigma * (y2 - x2) + p.eps * (x1 - x2), x2 * (p.rho2 - z2) - y2, x2 * y2 - p.beta * z2
    return *driving, *driven


@field("Lorenz84", "Hadley")
def lorenz84(p: Any, u: Any) -> Any:
    x, y, z = u
    return -(y**2) - z**2 - p.a * x + p.a * p.f, x * y - p.b * x * z - y + p.g, p.b * x * y + x * z - z


@field("LorenzStenflo", components="x y z w")
def lorenz_stenflo(p: Any, u: Any) -> Any:
    x, y, z, w = u
    return p.a * (y - x) + p.d * w, x * (p.c - z) - y, x * y - p.b * z, -x - p.a * w


@field("RayleighBenard")
def rayleigh_benard(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.a * (y - x), p.r * y - x * z, x * y - p.b * z


@field("MooreSpiegel")
def moore_spiegel(p: Any, u: Any) -> Any:
    x, y, z = u
    return y, p.a * z, -z + p.eps * y - y * x**2 - p.b * x


@field("VallisElNino")
def vallis_el_nino(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.b * y - p.c * (x + p.p), x * z - y, 1 - z - x * y


@field("AtmosphericRegime")
def atmospheric_regime(p: Any, u: Any) -> Any:
    x, y, z = u
    turning = p.omega + p.alpha * y + p.beta * z
    return p.mu1 * x + p.sigma * x * y, p.mu2 * y + turning * z - p.sigma * x**2, p.mu2 * z - turning * y


@field("RikitakeDynamo")
def rikitake_dynamo(p: Any, u: Any) -> Any:
    x, y, z = u
    return y * z - p.mu * x, x * (z - p.a) - p.mu * y, 1 - x * y


@field("Rucklidge")
def rucklidge(p: Any, u: Any) -> Any:
    x, y, z = u
    return -p.a * x + p.b * y - y * z, x, y**2 - z


@field("ShimizuMorioka")
def shimizu_morioka(p: Any, u: Any) -> Any:
    x, y, z = u
    return y, x * (1 - z) - p.a * y, x**2 - p.b * z


@field("Laser")
def laser(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.a * (y - x) + p.b * y * z**2, x * (p.c + p.d * z**2), p.h * z + p.k * x**2


@field("Chen")
def chen(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.a * (y - x), (p.c - p.a) * x - x * z + p.c * y, x * y - p.b * z


@field("ChenLee")
def chen_lee(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.a * x - y * z, p.b * y + x * z, p.c * z + x * y / 3


@field("LuChen")
def lu_chen(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.a * (y - x), p.c * y - x * z, x * y - p.b * z


@field("LuChenCheng")
def lu_chen_cheng(p: Any, u: Any) -> Any:
    x, y, z = u
    return -p.a * p.b / (p.a + p.b) * x - y * z + p.c, p.a * y + x * z, p.b * z + x * y


@field("QiChen")
def qi_chen(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.a * (y - x) + y * z, x * (p.c - z) + y, x * y - p.b * z


@field("ZhouChen")
def zhou_chen(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.a * x + y * (p.b + z), p.c * y - x * z + p.d * y * z, p.e * z - x * y


@field("WangSun")
def wang_sun(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.a * x + p.q * y * z, p.b * x + p.d * y - x * z, p.e * z + p.f * x * y


@field("Sakarya", "LiuChen")
def sakarya(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.a * x + p.h * y + p.s * y * z, -p.b * y - p.p * x + p.q * x * z, p.c * z - p.r * x * y


@field("DequanLi", "PanXuZhou", "Tsucs2")
def dequan_li(p: Any, u: Any) -> Any:
    x, y, z = u
    return p.a * (y - x) + p.d * x * z, p.k * x + p.f * y - x * z, p.c * z + x * y - p.eps * x**2


@field("BurkeShaw")
def burke_shaw(p: Any, u: Any) -> Any:
    x, y, z = u  # dy/dt has +y, as in dysts; the paper has -y
    return -p.n * (x + y), y - p.n * x * z, p.n * x * y + p.e


@field("NewtonLiepnik")
def newton_liepnik(p: Any, u: Any) -> Any:
    x, y, z = u
    return -p.a * x + y + 10 * y * z, -x - 0.4 * y + 5 * x * z, p.b * z - 5 * x * y


@field("Dadras")
def dadras(p: Any, u: Any) -> Any:
    x, y, z = u
    return y - p.p * x + p.o * y * z, p.r * y - x * z + z, p.c * x * y - p.e * z


@field("PehlivanWei")
def pehlivan_wei(p: Any, u: Any) -> Any:
    x, y, z = u
    return y - y * z, y + y * z - 2 * x, 2 - x * y - y**2
