"""Containerised steps; each folder is one component."""
