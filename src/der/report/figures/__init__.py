"""The page's interactive figures: der.summary.charts.description as plotly's JSON, without any drawing."""
