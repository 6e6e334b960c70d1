"""Output formats: one file each, one interface (`batchkms.sinks.base`)."""
