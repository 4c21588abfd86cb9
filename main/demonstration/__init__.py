"""What demo.py does: sources, videos, smoothing, one run from end to end."""
