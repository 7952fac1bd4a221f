"""HTML pages that load no other files: this package's templates, and plots as SVG in a page's colours."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from importlib import resources
from typing import TYPE_CHECKING, Any

import jinja2

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Stands for the page's own text colour while a plot is drawn, see `drawing`.
INK = "#010203"


def render(template: str, **values: Any) -> str:
    """A page as HTML text; all values are escaped."""
    return environment().get_template(template).render(**values)


def environment() -> jinja2.Environment:
    """Renders this package's templates, and templates that include them."""
    loader = jinja2.FunctionLoader(_template)
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


def _template(name: str) -> str:
    return (resources.files("zads") / "templates" / name).read_text()


def drawing() -> AbstractContextManager[None]:
    """Matplotlib's settings for a plot that becomes an SVG in the page's own colours (see `svg`)."""
    import matplotlib as mpl  # not in the programs' images, whose pages have no plots

    mpl.use("Agg")
    context: AbstractContextManager[None] = mpl.rc_context(
        {
            "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "grid.color": INK,
            "xtick.color": INK, "ytick.color": INK, "svg.hashsalt": "zads", "svg.fonttype": "none",
        }
    )  # fmt: skip
    return context


def svg(figure: Figure, style: str = "") -> str:
    """A figure that was made within `drawing`, as SVG without background, in the colour of the text around it.

    ``style`` is CSS that the SVG carries.
    """
    buffer = io.StringIO()
    # No metadata, since that contains web addresses, and a page should have none.
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    return text.replace(">", f"><style>{style}</style>", 1) if style else text
