"""Many nodes at once: who measures whom, and when; delivery by Ansible; failures as data."""
