"""The judging of predictions, in the order in which they pass.

protocols.py says which choices a number means, predictions.py reads anyone's predictions from a file.
metrics.py collects, batch by batch, what measure.py and contact.py measure; reduce.py averages it into the
numbers that catalogue.py lists; results.py puts them together as metrics.json.
"""
