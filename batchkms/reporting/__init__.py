"""What a run says about itself: progress while it goes on, a summary at the end."""
