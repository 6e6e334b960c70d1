"""What a run leaves on disk: the partial output, its manifest."""
