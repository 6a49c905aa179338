class Counts:
    pass
