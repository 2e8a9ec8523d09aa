"""Adapters to other libraries: one module per optional library, which no other module imports.

They share ``lazy`` (a refiner loaded on first use) and ``images`` (image formats of those libraries).
"""
