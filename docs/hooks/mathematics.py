"""Writes equations as MathML, which browsers draw without scripts, fonts or a network."""

import html
import re

from latex2mathml.converter import convert

INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
DISPLAY = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def with_mathml(page: str) -> str:
    """Returns a page's HTML with every equation as MathML."""
    page = DISPLAY.sub(lambda found: f'<div class="equation">{mathml(found[1], "block")}</div>', page)
    return INLINE.sub(lambda found: mathml(found[1], "inline"), page)


def mathml(latex: str, display: str) -> str:
    """Returns one equation as MathML."""
    return convert(html.unescape(latex).strip(), display=display)
