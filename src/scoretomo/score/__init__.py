"""Denoisers D(x, t): what a noisy image most likely shows. All are plain callables (images, t) → images."""
