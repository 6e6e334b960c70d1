"""Input formats: one file each, one interface (`batchkms.sources.base`)."""
