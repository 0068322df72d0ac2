"""Cameras in a process of their own, so that a driver that hangs can be killed."""
