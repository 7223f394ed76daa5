"""The report's page as a reader meets it: real clicks and keys in headless Chromium."""
