"""Benchmarks: minibert against the libraries that a user would pick instead, and ops against the machine's limits.

workload.py     the workload: real batches from the default corpus
contenders.py   worker processes that take turns, and the ratios of their speeds within each turn
worker.py       the worker's side
ours.py         the contender minibert
peers.py        the contenders of PyTorch; the one file of the package that imports it
machine.py      the machine's name and peak speeds
work.py         the operations and the memory traffic of an op
profile.py      the time and the work of each op
measure.py      one measurement, from workload to report
report.py       the report, as numbers and as text
roofline.py     the report as a plot
"""
