"""What is shown while work goes on: progress, time estimates, watch."""
