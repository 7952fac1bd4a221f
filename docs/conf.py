"""Sphinx' configuration of the documentation's site, which scripts/docs_site.py builds."""

project = "ZADS"
extensions = ["myst_parser", "sphinx.ext.graphviz"]
myst_heading_anchors = 4
graphviz_output_format = "svg"
highlight_language = "text"  # for blocks that name no language
html_theme = "furo"
html_title = "ZADS"
html_copy_source = False
html_show_sphinx = False
# Highlighting is a help and not a check: examples hold shell, properties and output of programs.
suppress_warnings = ["misc.highlighting_failure"]
