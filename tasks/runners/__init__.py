"""Test runners: how a repository's tests are run and how their report is read."""
