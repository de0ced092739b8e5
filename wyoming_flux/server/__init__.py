"""Speaking Wyoming."""
