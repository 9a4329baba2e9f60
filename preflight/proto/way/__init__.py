"""Ways: what a packet or a request has to pass, who saw it where, and where it died."""
