"""Tests of the input formats, on real bytes and real files."""
