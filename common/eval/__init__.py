"""The judging of predictions, in the order in which they pass.

protocols.py says which choices a number means; predictions.py reads anyone's predictions from a file.
metrics.py collects what measure.py measures of each batch: truth.py has the labels, alignment.py,
placement.py, picture.py and contact.py the errors. counting.py says who counts, reduce.py averages into the
numbers that catalogue.py lists, strata.py over groups of pictures, and results.py makes metrics.json and
per_sample.csv of them.
"""
