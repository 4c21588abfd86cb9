"""Everything that draws and prints.

vis.py lays meshes, skeletons and captions on pictures; figures.py makes panels of predictions with it;
plots.py draws curves and the error per joint. Of one evaluation, report.py makes the tables with table.py
and prints them, and page.py puts the same tables and the figures into report.html.
"""
