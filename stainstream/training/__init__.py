"""From data to a model: networks, distillation, export. Torch lives here."""
