"""The experiments of the papers, at home: each is a table whose cells are runs of `minibert pretrain` and `finetune`.

cells.py        a cell: the options of one run, and its result as a small JSON file
runner.py       runs the cells that are missing, several at a time
plan.py         how an experiment asks for cells: pre-train, choose a learning rate, fine-tune
catalogue.py    the experiments
report.py       tables with means, standard deviations and paired differences, and pictures
speeds.py       the speeds of models that are compared in turns
parallelism.py  those of LSTM and Transformer; student.py, those of a student and its teacher
"""
