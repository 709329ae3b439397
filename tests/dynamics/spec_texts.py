"""Random texts of systems, schedules and candidates: sound ones, sound ones with small faults, and nonsense."""

import random

NAMES = [
    "lorenz63",
    "lorenz96",
    "rossler",
    "cosine",
    "sum_of_cosines",
    "linear_ramp",
    "piecewise_constant",
    "constant",
    "linspace",
]
KEYS = [
    "sigma",
    "rho",
    "beta",
    "dim",
    "forcing",
    "a",
    "b",
    "c",
    "mean",
    "amplitude",
    "period",
    "phase",
    "amplitudes",
    "periods",
    "phases",
    "start",
    "stop",
    "begin",
    "end",
    "times",
    "values",
    "value",
    "h",
]
NUMBERS = ["28", "-1", "0", "0.5", "1e3", "1e308", "1e309", "-1e999", "nan", "inf", "1e-320", "0x1F", "1_000", "9" * 400, "1j", "True", "None",
           "1e6", "1000001", "8", "\u0663", "\xbd", "0o17", "1.", ".5", "--1", "~1", "not 1", "1/3", "2**9999999", "1 if 1 else 2", "...", "f'{1}'"]  # fmt: skip
NASTY = ["__import__('os').system('true')", "lambda: 1", "open('/dev/null')", "().__class__", "[x for x in [1]]", "{1: 2}", "{1}", "*[1]", "**{}",
         "a := 1", "b'28'", "'28'", "\"rho\"", "\0", "\x1b[31m", "\n", "\t", "\ud800", "\xe9", "\U0001d7da\U0001d7e0", "\u017figma=1", "#", ";", "\\", "`", "$(true)", "@", "🌀", "\u202e"]  # fmt: skip
STARTS = ["lorenz63(rho=cosine(mean=38, amplitude=-10, period=1.577132))", "lorenz63(rho=linspace(28, 48, 11))", "rossler(c=[5.7, 6])",
          "lorenz96(dim=12, forcing=sum_of_cosines(mean=8, amplitudes=[1, 0.1], periods=[3, 4.5], phases=[0, 1]))", "lorenz63",
          "rossler(c=piecewise_constant(times=[10, 20], values=[5.7, 4, 9]), a=linear_ramp(start=0.2, stop=0.3, begin=0, end=400))"]  # fmt: skip
DEEP = [
    ("(", ")"),
    ("[", "]"),
    ("lorenz63(rho=", ")"),
    ("-", ""),
    ("cosine(mean=", ", amplitude=1, period=1)"),
    ("{", "}"),
    ("not ", ""),
    ("a.", ""),
]


def random_text(draw: random.Random) -> str:
    """One text; a fault is likelier than not."""
    kind = draw.random()
    if kind < 0.55:
        return _spoilt(draw, draw.choice(STARTS), draw.randint(0, 3))
    if kind < 0.85:
        return _call(draw, 0)
    if kind < 0.97:
        pieces = [*NAMES, *KEYS, *NUMBERS, *NASTY, "(", ")", "[", "]", "=", ",", " ", "."]
        return "".join(draw.choice(pieces) for _ in range(draw.randint(0, 12)))
    before, after = draw.choice(DEEP)
    depth = draw.choice([50, 150, 1000, 15_000])
    return draw.choice(["", "lorenz63(rho="]) + before * depth + "1" + after * draw.choice([depth, depth - 1])


def _spoilt(draw: random.Random, text: str, num_faults: int) -> str:
    for _ in range(num_faults):
        at = draw.randint(0, len(text))
        cut = draw.randint(0, 3)
        new = draw.choice(
            [
                "",
                text[at : at + 1],
                draw.choice(NUMBERS),
                draw.choice(NASTY),
                draw.choice(KEYS),
                draw.choice("()[]=,. "),
            ]
        )
        text = text[:at] + new + text[at + cut :]
    return text


def _call(draw: random.Random, depth: int) -> str:
    arguments = []
    for _ in range(draw.randint(0, 4)):
        value = (
            draw.choice(NUMBERS)
            if draw.random() < 0.6 or depth > 3
            else draw.choice([_call(draw, depth + 1), _list(draw), draw.choice(NASTY)])
        )
        arguments.append(f"{draw.choice(KEYS)}={value}" if draw.random() < 0.9 else value)
    return f"{draw.choice(NAMES)}({', '.join(arguments)})"


def _list(draw: random.Random) -> str:
    if draw.random() < 0.4:
        return f"linspace({draw.choice(NUMBERS)}, {draw.choice(NUMBERS)}, {draw.choice(NUMBERS)})"
    return f"[{', '.join(draw.choice(NUMBERS) for _ in range(draw.randint(0, 5)))}]"
