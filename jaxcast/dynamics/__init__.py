"""Systems, schedules, and trajectories of them."""
