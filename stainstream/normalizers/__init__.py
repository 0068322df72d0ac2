"""What becomes of a color: methods that know no device."""
