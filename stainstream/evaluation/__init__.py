"""How good models are: pairs of images, the paper's measures, and what they look like."""
