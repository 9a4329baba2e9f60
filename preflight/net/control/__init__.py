"""The control plane's client, and what writes to it: enrolment, membership, removal of rows that killed runs left."""
