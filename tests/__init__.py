"""Tests of vla, mirroring its tree."""
