"""Saving: state dicts and checkpoint files, to continue training exactly where it was."""
