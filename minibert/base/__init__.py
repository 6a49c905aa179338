"""What every package may use: counted random numbers, files, progress bars, notes on options."""
