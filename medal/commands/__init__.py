"""Families of commands; each file registers its own on the application."""
