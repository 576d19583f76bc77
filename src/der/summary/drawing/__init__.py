"""Figures as PNG files: draws der.summary.charts.description with matplotlib."""
