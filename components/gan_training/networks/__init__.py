"""Generators and discriminators, one module a pair."""
