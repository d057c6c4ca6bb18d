"""Formulas as MathML, drawn by the browser itself.

So the site needs no script for them and asks no other host, nothing jumps while a page
loads, and formulas can be copied and read aloud. math-core turns LaTeX into MathML; the
browser needs a font with a MATH table, and that is a cut of STIX Two Math.
"""

from pathlib import Path

import ziamath
from docutils import nodes
from fontTools import subset
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)
latex = LatexToMathML(fancy_error=False)

FONT = Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf"
CUT = "STIXTwoMath-cut.woff2"

# First and last code points of what formulas are written with.
GLYPHS = [
    (0x0020, 0x007E),  # Latin
    (0x00AC, 0x00AC),  # not
    (0x00B1, 0x00B1),  # plus or minus
    (0x00B7, 0x00B7),  # middle dot
    (0x00D7, 0x00D7),  # times
    (0x0300, 0x030C),  # accents over letters
    (0x0391, 0x03F5),  # Greek
    (0x2010, 0x2064),  # dashes, dots, primes, invisible operators
    (0x2100, 0x214F),  # some script and double-struck letters
    (0x2190, 0x22FF),  # arrows, operators
    (0x2308, 0x230B),  # floor and ceiling
    (0x23DE, 0x23DF),  # braces over and under
    (0x27E8, 0x27EB),  # angle brackets
    (0x1D400, 0x1D4CF),  # bold, italic, bold italic and script letters
    (0x1D538, 0x1D56B),  # double-struck letters
    (0x1D6A8, 0x1D755),  # bold, italic and bold italic Greek
    (0x1D7CE, 0x1D7D7),  # bold digits
    (0xFE00, 0xFE00),  # chooses the round shape of a script letter
]


def convert(node: nodes.math | nodes.math_block) -> str:
    """MathML of a formula; one that is wrong is a warning, so it fails the build."""
    tex, display = node.astext(), isinstance(node, nodes.math_block)
    if r"\\" in tex and r"\begin" not in tex:
        tex = rf"\begin{{aligned}}{tex}\end{{aligned}}"
    try:
        return latex.convert_with_local_state(tex, displaystyle=display)
    except LatexError as error:
        logger.warning("formula %r: %s", tex, error, location=node)
        return ""


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(convert(node))
    raise nodes.SkipNode


def visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(convert(node))
    if node["number"]:
        self.body.append(f'<span class="eqno">({node["number"]})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def cut_font(app: Sphinx, exception: Exception | None) -> None:
    """Write the glyphs that formulas need beside the site's other static files."""
    target = Path(app.outdir) / "_static" / CUT
    if exception or app.builder.name != "html" or target.exists():
        return
    options = subset.Options(
        flavor="woff2",
        layout_features=["ssty", "flac", "dtls"],  # the ones that MathML asks for
        hinting=False,
        notdef_outline=True,
        name_IDs=["*"],  # the copyright notice and the licence are among the names
    )
    font = subset.load_font(str(FONT), options)
    cutter = subset.Subsetter(options)
    cutter.populate(
        unicodes=[code for first, last in GLYPHS for code in range(first, last + 1)]
    )
    cutter.subset(font)
    subset.save_font(font, str(target), options)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.connect("build-finished", cut_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
