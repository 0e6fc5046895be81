"""Names that a file system takes and some output would take for more than text."""

import re
import unicodedata

NAMES = (
    "\x1b[31mred\x1b[0m",
    "\x1b]52;c;eA==\x07",
    "\x1b]8;;http:e\x07link",
    "a\nb\n\\input{x}",
    "tab\tx",
    "back\rx",
    "\x7f",
    "c1 \x9b31m \x85 next",
    "\u202eevil\u2066x\u200e\u200f\u061c",
    "line\u2028paragraph\u2029",
    "zero\u200bwidth\ufeff\u2060\xad",
    "ca\u200dt",
    "\U000e0041tag",
    "blank\u3164",
    "$(touch x)",
    "=cmd|' _C calc'!A0",
    " =1+1",
    "'=1",
    "\uff1d1",
    "-1.5",
    "+1",
    "@x",
    "\\input{_etc_passwd}",
    "<script>alert(1)<_script>",
    '" onload="x',
    "&lt;",
    "[red]x[_red]:smile:[link=http:e]y[_link]",
    "![x](javascript:alert(1))",
    "| a | b |",
    "a\\|b\\",
    "`code` *bold* __x__ ~~y~~",
    "# h",
    "- item",
    "1. item",
    "===",
    "$x^2$",
    "$\\frac{",
    "^^M~ -- `` '' ?` <<",
    "%s %d {0}",
    "n" * 255,
    "\N{GRINNING FACE}" * 60,
)
"""Nothing of these may reach an output as it is."""

TEXTS = (
    "日本語クラス",
    "نمی\u200cخواهم",  # noqa: RUF001
    "क्\u200dष",
    "\N{WOMAN}\u200d\N{MICROSCOPE}",
    "\N{HEAVY BLACK HEART}\ufe0f",
    "\u00e9",
    "e\u0301x",  # another form of the one before, which stays another
    "no\xa0break\u3000wide",
    "100 %",
)
"""Names of scripts that have invisible characters of their own, which stay."""

_VISIBLE_FORMATS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2"
_VISIBLE_FORMATS += "\U000110bd\U000110cd"
_JOINED = re.compile("([^\x00-\x7f\u200c\u200d])[\u200c\u200d]")


def commands_in(text: str) -> set[str]:
    """Return the characters of a text that a terminal does not just show; line ends are none."""
    text = _JOINED.sub(r"\1", text.replace("\n", "")).translate(
        dict.fromkeys(map(ord, _VISIBLE_FORMATS))
    )
    kinds = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return {sign for sign in text if unicodedata.category(sign) in kinds or sign in "\u3164\u115f"}
