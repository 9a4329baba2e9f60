"""A virtual machine for the lab, with a kernel that this host may lack: Debian's, with WireGuard, VRF and netem."""
