"""The Populi control plane's protocol: URL, bodies, enrolment and membership as state machines."""
