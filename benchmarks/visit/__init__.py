"""The stages of benchmarks/gpu_visit.py, which measures everything about a GPU in one command.

record.py       what every stage appends to: one file of results
runner.py       a process for each stage, with a time limit
sizes.py        real sizes, and tiny ones for a rehearsal on the emulator
check.py        is it correct: compilation, each op against float64, training, compute-sanitizer, the tests
inputs.py       the arguments of each op
measure.py      how fast: ceilings, kernels, whole steps, a real pre-training
timing.py       seconds from events, kernels from a profiler, a timeline as a picture
peers.py        the same steps in PyTorch
report.py       the tables
"""
