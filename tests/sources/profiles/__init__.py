"""Tests of the profiles; beside them a sample of each export, with nothing real in it."""
