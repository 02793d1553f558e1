"""The Jupyter Server extension: REST and events."""
