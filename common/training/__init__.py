"""Training below the loop: the step on the device, its CUDA graph, moving averages, snapshots of a run."""
