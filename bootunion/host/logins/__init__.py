"""Roots of their own for users, from login on, and for services."""
