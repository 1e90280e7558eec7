"""Tests of the architecture families."""
