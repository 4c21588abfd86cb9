"""What the predictor returns: numbers, also as pictures, files, a datagram, a page to turn."""
