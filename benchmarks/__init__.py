"""What batchkms costs and yields, measured beside its peers in one run."""
