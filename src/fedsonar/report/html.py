"""A page of HTML that stands alone: scripts and styles are inside, and nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from fedsonar.report.figures import Plot

_CONFIG = {"displaylogo": False, "responsive": True, "displayModeBar": False}


def render(template: str, title: str, headline: str, plots: Sequence[Plot], **values: Any) -> str:
    """The page that a template of this folder makes.

    Args:
        template: Its file name; it extends ``base.html.j2``.
        title: Heading of the page.
        headline: The sentence under it.
        plots: What is drawn. What could not be drawn comes last, so that it leaves no hole between the others.
        values: What else the template shows.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["tie"] = _tie
    drawn = [(plot, _drawn(plot)) for plot in sorted(plots, key=lambda plot: plot.figure is None)]
    script = _script() if drawn else Markup("")
    return environment.get_template(template).render(
        title=title, headline=headline, plots=drawn, plotly_js=script, **values
    )


def _tie(text: str) -> Markup:
    """`text` escaped, with each percentage and its interval kept on one line."""
    return Markup(re.sub(r"\d[\d.]* %(?: \[[\d., ]+\])?", r'<span class="tie">\g<0></span>', str(escape(text))))


def _script() -> Markup:
    """What draws plots: four megabytes that a page without any can do without, and half a second to load."""
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())


def _drawn(plot: Plot) -> Markup | None:
    if plot.figure is None:
        return None
    # Plotly escapes <, > and / in the JSON that it writes into the script.
    return Markup(
        plot.figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"plot-{plot.key}", config=_CONFIG)
    )
