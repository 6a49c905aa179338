"""Benchmarks: minibert compared with the libraries it would replace, and each op compared with the hardware's limits.

workload.py     the workload: real batches from the default corpus
contenders.py   the contenders: worker processes that take turns, and the ratios of their speeds within each turn
worker.py       the program that each worker process runs
ours.py         the minibert contender
peers.py        the PyTorch contenders; the only file in the package that imports PyTorch
machine.py      a description of the machine, and its measured peak speeds
work.py         the operation count and memory traffic of an op call
profile.py      the running time and operation count of each op
measure.py      one complete benchmark, from workload to report
report.py       the report, as a dictionary and as text
roofline.py     a roofline plot of the report
"""
