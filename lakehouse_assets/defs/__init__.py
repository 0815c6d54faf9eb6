"""The assets, jobs, schedules and sensors of this code location."""
