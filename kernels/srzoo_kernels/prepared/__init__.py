"""Launches that are planned and compiled once, and then repeated."""
