"""Benchmarks: minibert against the libraries that a user would pick instead, and each op against the machine's limits.

workload.py     what is computed: real batches from the default corpus
contenders.py   worker processes that take turns, and ratios within each turn
worker.py       the worker's side
ours.py         the contender minibert
peers.py        the contenders of PyTorch; the one file of the package that imports it
machine.py      the machine's peak speeds, and its name
work.py         what an op has to compute and to move
profile.py      the time and the work of each op
measure.py      one measurement, from workload to report
report.py       the report, as numbers and as text
roofline.py     the report as a plot
"""
