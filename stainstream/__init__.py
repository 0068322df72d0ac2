"""Real-time stain normalization for microscopes and slide scanners."""
