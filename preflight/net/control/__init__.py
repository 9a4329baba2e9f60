"""The control plane's client, and what writes to it: enrolment, membership, taking back what was left."""
