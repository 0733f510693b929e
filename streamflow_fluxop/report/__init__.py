"""Pictures and tables of a plan: in the terminal, as SVG and PNG, as an HTML page."""
