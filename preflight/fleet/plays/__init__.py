"""The plays that Ansible runs, as YAML next to this file."""
