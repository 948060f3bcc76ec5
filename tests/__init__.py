"""Tests, filed by what they are about; `environment` has the real things that they run against."""
