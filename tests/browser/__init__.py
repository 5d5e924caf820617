"""The data browser in a real Chromium."""
