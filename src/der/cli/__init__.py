"""The console command `der`."""
