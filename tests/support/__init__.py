"""Helpers of the tests, once; they know `wyoming_flux` from outside only."""
