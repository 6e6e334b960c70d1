"""Tests of batchkms.loadtest."""
