"""What a run knows before it looks at the network: what the file may say, where values come from, a first file."""
