"""Text from data made safe for each output: names of classes, files and layers, server messages.

Whatever writes an output calls this; nothing else in cnnkit needs to escape text.
"""

import re
from html import escape

# What is shown as an escape: it would control the terminal, break a line, change the direction of
# the text behind it, or be invisible. The invisible ones are Unicode's Default_Ignorable_Code_Point
# except variation selectors, which choose the shape of the character before them. The two joiners
# are how Persian, Hindi and many emoji are written, so they stay behind any character that is not
# ASCII. All else stays as it is: combining marks, spaces of any width, letters of any script.
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029"
    r"\ud800-\udfff"  # bytes of a file name that are not UTF-8
    r"\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    r"\u3164\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
    r"|(?<![^\x00-\x7f\u200c\u200d])[\u200c\u200d]"
)

_MARKDOWN = {char: f"\\{char}" for char in "\\`*_[]|#~$"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_MARKDOWN_CHARACTER = re.compile(f"[{re.escape(''.join(_MARKDOWN))}]")
_MARKDOWN_BLOCK = re.compile(r"^([-+=]|\d+(?=[.)]))")  # a list, or the underline of a heading

_LATEX = {char: f"\\{char}" for char in "{}$&#%_"} | {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # After the end of a row these two would be read as its arguments.
    "[": "{[}",
    "*": "{*}",
}
# Also between characters that TeX's fonts join: --, ``, '', ,, and the Spanish ?` and !`.
_LATEX_CHARACTER = re.compile(
    f"[{re.escape(''.join(_LATEX))}]|(?<=-)(?=-)|(?<=`)(?=`)|(?<=')(?=')|(?<=,)(?=,)|(?<=[?!])(?=`)"
)
# Characters that are an error in pdflatex without further packages; found by trying them all.
_NOT_IN_LATEX = re.compile(
    "[^\x00-\x7f\xa0-\xaa\xac-\xba\xbc-\xcf\xd1-\xdd\xdf-\xef\xf1-\xfd\xff-\u0103\u0106-\u010f"
    "\u0112-\u0117\u011a-\u0125\u0128-\u012d\u0130-\u0137\u0139-\u013e\u0141-\u0148\u014c-\u0165"
    "\u0168-\u0171\u0174-\u017e\u2013\u2014\u2018\u2019\u201c\u201d\u2022\u2026\u20ac\u2122]+"
)
LATEX_OTHER_SCRIPT = r"\otherscript"
LATEX_DEFINITION = (
    rf"\ifdefined\Umathchar\providecommand{LATEX_OTHER_SCRIPT}[2]{{#1}}"
    rf"\else\providecommand{LATEX_OTHER_SCRIPT}[2]{{#2}}\fi"
)
r"""What a document needs if it contains characters that pdflatex does not know.

XeLaTeX and LuaLaTeX, which have `\Umathchar`, print the characters, pdflatex their code points.
"""

# Where a spreadsheet takes text for a formula: at the beginning of a cell, possibly after spaces;
# and after a newline or semicolon, where one that expects semicolons begins another cell. The last
# four are the fullwidth forms. Apostrophes may be in between, so that removing the one that is
# inserted restores the text.
_FORMULA = re.compile(r"(?<![^;\n])(?=([^\S\n]|')*[-=+@\uff0d\uff1d\uff0b\uff20])")


def visible(text: str, kept: str = "") -> str:
    r"""Return a text in which control, direction and invisible characters are escapes: `\x1b`.

    Args:
        text: of any origin; escapes that it already contains stay as they are.
        kept: such characters that stay, such as newlines in a text of many lines.
    """
    return _UNSAFE.sub(lambda found: found[0] if found[0] in kept else _escape(found[0]), text)


def _escape(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # the byte of a file name, as Python represents it
        return rf"\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()


def csv_text(text: str) -> str:
    """Return a text as a cell of a CSV file that no spreadsheet takes for a formula.

    What looks like one gets an apostrophe in front. Newlines stay, as CSV can quote them.
    """
    return _FORMULA.sub("'", visible(text, kept="\n"))


def markdown_text(text: str) -> str:
    """Return a text as Markdown that shows it, on a line of its own or in a table."""
    return _MARKDOWN_CHARACTER.sub(lambda found: _MARKDOWN[found[0]], visible(text))


def markdown_line(text: str) -> str:
    """Return a text as a line of Markdown that begins no list and no heading."""
    return _MARKDOWN_BLOCK.sub(
        lambda found: f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}",
        markdown_text(text).strip(),
    )


def latex_text(text: str) -> str:
    """Return a text as LaTeX that prints it, if need be with `LATEX_DEFINITION`."""
    text = _LATEX_CHARACTER.sub(lambda found: _LATEX.get(found[0], "{}"), visible(text))
    return _NOT_IN_LATEX.sub(_in_other_script, text)


def _in_other_script(found: re.Match[str]) -> str:
    code_points = " ".join(f"U+{ord(char):04X}" for char in found[0])
    return f"{LATEX_OTHER_SCRIPT}{{{found[0]}}}{{{code_points}}}"


def html_text(text: str) -> str:
    """Return a text as HTML that shows it, between tags or in the quotes of an attribute."""
    return escape(visible(text))
