"""Flows of four components, most of them with two positive Lyapunov exponents."""

from typing import Any

from jaxcast.dynamics.catalogue.fields import field

FOUR = "x y z w"


@field("HyperRossler", components=FOUR)
def hyper_rossler(p: Any, u: Any) -> Any:
    x, y, z, w = u
    return -y - z, x + p.a * y + w, p.b + x * z, -p.c * z + p.d * w


@field("HyperLorenz", components=FOUR)
def hyper_lorenz(p: Any, u: Any) -> Any:
    x, y, z, w = u
    return p.a * (y - x) + w, x * (p.c - z) - y, x * y - p.b * z, p.d * w - x * z


@field("HyperCai", components=FOUR)
def hyper_cai(p: Any, u: Any) -> Any:
    x, y, z, w = u
    return p.a * (y - x), p.b * x + p.c * y - x * z + w, y**2 - p.d * z, -p.e * x


@field("HyperBao", components=FOUR)
def hyper_bao(p: Any, u: Any) -> Any:
    x, y, z, w = u
    return p.a * (y - x) + w, p.c * y - x * z, x * y - p.b * z, p.e * x + p.d * y * z


@field("HyperJha", components=FOUR)
def hyper_jha(p: Any, u: Any) -> Any:
    x, y, z, w = u
    return p.a * (y - x) + w, x * (p.b - z) - y, x * y - p.c * z, p.d * w - x * z


@field("HyperQi", components=FOUR)
def hyper_qi(p: Any, u: Any) -> Any:
    x, y, z, w = u
    return (
        p.a * (y - x) + y * z,
        p.b * (x + y) - x * z,
        -p.c * z - p.e * w + x * y,
        -p.d * w + p.f * z + x * y,
    )


@field("Qi", components=FOUR)
def qi(p: Any, u: Any) -> Any:
    x, y, z, w = u
    return p.a * (y - x) + y * z * w, p.b * (x + y) - x * z * w, -p.c * z + x * y * w, -p.d * w + x * y * z


@field("HyperYangChen", components=FOUR)
def hyper_yang_chen(p: Any, u: Any) -> Any:
    x, y, z, w = u
    return p.a * (y - x), x * (p.c - z) + w, x * y - p.b * z, -p.d * x


@field("HyperYan", components=FOUR)
def hyper_yan(p: Any, u: Any) -> Any:
    x, y, z, w = u
    return (
        p.a * (y - x),
        (p.c - p.a) * x - x * z + p.c * y,
        -p.b * z + x * y - y * z + x * z - w,
        -p.d * w + y * z - x * z,
    )


@field("HyperXu", components=FOUR)
def hyper_xu(p: Any, u: Any) -> Any:
    x, y, z, w = u
    return p.a * (y - x) + w, x * (p.b + p.e * z), -p.c * z - x * y, x * z - p.d * y


@field("HyperWang", components=FOUR)
def hyper_wang(p: Any, u: Any) -> Any:
    x, y, z, w = u
    return p.a * (y - x), x * (p.b - z) + w, p.e * x**2 - p.c * z, -p.d * x


@field("HyperPang", components=FOUR)
def hyper_pang(p: Any, u: Any) -> Any:
    x, y, z, w = u
    return p.a * (y - x), p.c * y - x * z + w, x * y - p.b * z, -p.d * (x + y)


@field("HyperLu", components=FOUR)
def hyper_lu(p: Any, u: Any) -> Any:
    x, y, z, w = u
    return p.a * (y - x) + w, p.c * y - x * z, x * y - p.b * z, p.d * w + x * z
