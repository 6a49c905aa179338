"""Measuring: minibert beside the libraries that a user would pick instead, and op by op beside the machine's limits.

workload.py     what is computed: real batches from the default corpus
contenders.py   worker processes that take turns, and ratios within each turn
worker.py       the worker's side
ours.py         the contender minibert
peers.py        the contenders of PyTorch; the one file of the package that imports it
machine.py      the machine's own speed, and its name
work.py         what an op has to compute and to move
profile.py      what each op takes
measure.py      one measurement, from workload to report
report.py       the report: the numbers, and as text
roofline.py     the report as a picture
"""
